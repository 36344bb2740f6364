use serde_json::json;

use super::*;
use crate::docker::rows::row;

const NODE_NAME: &str = "n1";
const A: &str = "a";
const B: &str = "b";

fn digest(of: &str) -> Digest {
    Digest::of(of)
}

fn spec(rule: u32, config: &str, files: Option<&str>) -> ContainerSpec {
    let config = gitops_core::plan::ContainerDigest { rule, digest: digest(config) };
    ContainerSpec { config, files: files.map(digest), replicas: 1, completes: false }
}

/// Compose services `a` and `b`; `a` reads a file.
fn step() -> Ensure {
    let model = json!({"services": {"a": {"image": "i"}, "b": {"image": "i"}}});
    Ensure {
        service: "web".parse().unwrap(),
        project: "web".into(),
        digest: digest("instance"),
        state: RunState::Running,
        model: gitops_core::plan::Model::from_canonical(model.to_string()),
        files: BTreeMap::new(),
        containers: BTreeMap::from([(A.into(), spec(1, "a", Some("f"))), (B.into(), spec(1, "b", None))]),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    }
}

fn node() -> NodeName {
    NODE_NAME.parse().unwrap()
}

/// A row as the engine would list it, with these labels.
fn listed(compose_service: &str, status: &str, ours: &BTreeMap<String, String>) -> Row {
    let state = match status.split(' ').next() {
        Some("Up") if status.contains("Paused") => "paused",
        Some("Up") => "running",
        Some(word) => &word.to_lowercase(),
        None => "created",
    };
    let mut labels = json!({"com.docker.compose.service": compose_service});
    labels
        .as_object_mut()
        .unwrap()
        .extend(ours.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    let name = format!("/web-{compose_service}-1");
    let summary = json!({"Id": name, "Names": [name], "State": state, "Status": status, "Labels": labels});
    row(serde_json::from_value(summary).unwrap()).unwrap()
}

/// What runs after `step` was applied.
fn running(step: &Ensure) -> Vec<Row> {
    let labels = labels(&node(), step, &[], &Record::default());
    labels.iter().map(|(name, labels)| listed(name, "Up 2 hours", labels)).collect()
}

fn record(step: &Ensure) -> Record {
    Record { services: applied(step), ..Record::default() }
}

#[test]
fn a_project_is_ours_or_it_is_said_whose_it_is() {
    let check = |labels: &[(&str, &str)], expected: Option<&str>| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let rows = [running(&step()), vec![listed("x", "Up 2 hours", &labels)]].concat();
        let why = foreign(&node(), &"web".parse().unwrap(), "web", &rows);
        match expected {
            None => assert_eq!(why, None),
            Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{why:?}"),
        }
    };
    check(&[(NODE, "n1"), (SERVICE, "web")], None);
    check(&[(NODE, "n2"), (SERVICE, "web")], Some("belongs to node `n2` (container `web-x-1`)"));
    check(&[(NODE, "n1"), (SERVICE, "api")], Some("belongs to service `api`"));
    check(&[], Some("that gitops did not make (`web-x-1`)"));
    check(&[(SERVICE, "web")], Some("that gitops did not make"));
    check(&[(NODE, "n1")], Some("that gitops did not make"));
    check(&[(NODE, "n1"), (SERVICE, "-")], Some("that gitops did not make"));
}

#[test]
fn labels_name_node_service_and_what_the_container_is_made_from() {
    let check = |on_file_change, expected: bool| {
        let step = Ensure { on_file_change, ..step() };
        let labels = labels(&node(), &step, &[], &Record::default());
        let mut ours = BTreeMap::from([
            (NODE.to_owned(), "n1".to_owned()),
            (SERVICE.to_owned(), "web".to_owned()),
            (CONFIG.to_owned(), format!("1:{}", digest("a"))),
        ]);
        ours.extend(expected.then(|| (FILES.to_owned(), digest("f").to_string())));
        assert_eq!(labels[A], ours);
        assert!(!labels[B].contains_key(FILES));
    };
    check(OnFileChange::Recreate, true);
    check(OnFileChange::Restart, false);
    check(OnFileChange::Nothing, false);
}

#[test]
fn a_label_of_another_rule_is_kept_where_nothing_else_changed() {
    let old = step();
    let mut new = step();
    new.containers.insert(A.into(), spec(2, "a by rule 2", Some("f")));
    let rows = running(&old);
    let config = |rows: &[Row], record: &Record| labels(&node(), &new, rows, record)[A][CONFIG].clone();
    let (kept, fresh) = (format!("1:{}", digest("a")), format!("2:{}", digest("a by rule 2")));
    assert_eq!(config(&rows, &record(&old)), kept);
    assert_eq!(config(&rows, &Record::default()), kept, "a lost record restarts nothing");
    assert_eq!(config(&[], &record(&old)), fresh, "nothing runs");
    let mut changed = record(&old);
    changed.services.get_mut(A).unwrap().model = digest("another model");
    assert_eq!(config(&rows, &changed), fresh);
    // Of two replicas that differ at least one is recreated whatever the label says.
    let mut ours = labels(&node(), &old, &[], &Record::default())[A].clone();
    ours.insert(CONFIG.to_owned(), format!("1:{}", digest("older")));
    let mixed = [rows.clone(), vec![listed(A, "Up 2 hours", &ours)]].concat();
    assert_eq!(config(&mixed, &record(&old)), fresh);
}

#[test]
fn a_label_of_files_is_kept_with_one_of_another_rule_unless_a_file_was_replaced() {
    let old = step();
    let mut new = step();
    new.containers.insert(A.into(), spec(2, "a by rule 2", Some("f by rule 2")));
    let files = |record: &Record| labels(&node(), &new, &running(&old), record)[A].get(FILES).cloned();
    assert_eq!(files(&record(&old)), Some(digest("f").to_string()));
    let pending = Record { pending: true, ..record(&old) };
    assert_eq!(files(&pending), Some(digest("f by rule 2").to_string()));
}

#[test]
fn a_label_of_the_same_rule_is_never_kept() {
    let old = step();
    let mut new = step();
    new.containers.insert(A.into(), spec(1, "changed", Some("g")));
    let labels = labels(&node(), &new, &running(&old), &record(&old));
    assert_eq!(labels[A][CONFIG], format!("1:{}", digest("changed")));
    assert_eq!(labels[A][FILES], digest("g").to_string());
}

#[test]
fn a_label_of_files_is_kept_until_the_container_is_made_anew() {
    let old = step();
    let mut new = Ensure { on_file_change: OnFileChange::Restart, ..step() };
    let files = |step: &Ensure| labels(&node(), step, &running(&old), &record(&old))[A].get(FILES).cloned();
    assert_eq!(files(&new), Some(digest("f").to_string()));
    new.containers.insert(A.into(), spec(1, "changed", Some("f")));
    assert_eq!(files(&new), None);
}

#[test]
fn compose_is_called_only_for_what_is_wrong() {
    let step = step();
    let ours = labels(&node(), &step, &[], &Record::default());
    let check = |what: &str, step: &Ensure, rows: &[Row], expected: &[Verb]| {
        assert_eq!(calls(step, &ours, rows, true), expected, "{what}");
    };
    let with = |name: &str, status: &str| {
        let mut rows = running(&step);
        rows.retain(|row| *row.container.service != *name);
        rows.push(listed(name, status, &ours[name]));
        rows
    };
    let without = |name: &str| {
        running(&step).into_iter().filter(|row| *row.container.service != *name).collect::<Vec<_>>()
    };
    let only = |name: &str| vec![Arc::from(name)];

    check("all is well", &step, &running(&step), &[]);
    assert_eq!(calls(&step, &ours, &running(&step), false), [Verb::Up], "what Compose reads changed");
    check("one was killed", &step, &with(A, "Exited (137) 2 seconds ago"), &[Verb::Restart(only(A))]);
    check("one was paused", &step, &with(A, "Up 2 hours (Paused)"), &[Verb::Restart(only(A))]);
    check("one was never started", &step, &with(A, "Created"), &[Verb::Restart(only(A))]);
    check("one is in a restart loop", &step, &with(A, "Restarting (1) 2 seconds ago"), &[]);
    check("one was removed", &step, &without(A), &[Verb::UpOnly(only(A))]);
    check("one is dead", &step, &with(A, "Dead"), &[Verb::UpOnly(only(A))]);
    check("one too many", &step, &[running(&step), without(A)].concat(), &[Verb::UpOnly(only(B))]);
    check("all were removed", &step, &[], &[Verb::Up]);
    let orphan = listed("gone", "Up 2 hours", &ours[A]);
    check("one is no longer named", &step, &[running(&step), vec![orphan.clone()]].concat(), &[Verb::Up]);
    let one_off = Row { one_off: true, ..orphan };
    check("one was run by hand", &step, &[running(&step), vec![one_off]].concat(), &[]);
    let mut other = ours[A].clone();
    other.insert(CONFIG.to_owned(), format!("1:{}", digest("other")));
    let changed = [without(A), vec![listed(A, "Up 2 hours", &other)]].concat();
    check("one was made from something else", &step, &changed, &[Verb::UpOnly(only(A))]);

    let mut job = step.clone();
    job.containers.get_mut(A).unwrap().completes = true;
    check("a job ended well", &job, &with(A, "Exited (0) 2 hours ago"), &[]);
    check("a job failed", &job, &with(A, "Exited (1) 2 hours ago"), &[Verb::Restart(only(A))]);
    let mut pair = step.clone();
    pair.containers.get_mut(A).unwrap().replicas = 2;
    let half = [running(&step), vec![listed(A, "Exited (137) 2 hours ago", &ours[A])]].concat();
    check("one of two was killed", &pair, &half, &[Verb::UpOnly(only(A))]);

    let stopped = Ensure { state: RunState::Stopped, ..step.clone() };
    let ended = [listed(A, "Created", &ours[A]), listed(B, "Exited (0) 2 hours ago", &ours[B])];
    check("it should not run and does", &stopped, &running(&step), &[Verb::Create, Verb::Stop]);
    check("it should not run and does not", &stopped, &ended, &[]);
    check("it should run and does not", &step, &ended, &[Verb::Up]);
}

#[test]
fn what_compose_reads_is_its_file_and_environment_files() {
    let base = |model: &str, files: &[(&str, &str)]| {
        let mut step = step();
        step.model = gitops_core::plan::Model::from_canonical(model);
        let file = |content: &str| gitops_core::plan::FileRef {
            digest: digest(content),
            size: 1,
            executable: false,
        };
        step.files = files.iter().map(|(path, content)| (Arc::from(*path), file(content))).collect();
        fingerprint(&step, "the file")
    };
    let differs =
        |model: &str| base(model, &[("x/e", "1"), ("f", "1")]) != base(model, &[("x/e", "2"), ("f", "1")]);
    assert!(differs(r#"{"services": {"a": {"env_file": "./x/e"}}}"#));
    assert!(differs(r#"{"services": {"a": {"env_file": ["f", "x/e"]}}}"#));
    assert!(differs(r#"{"services": {"a": {"env_file": [{"path": "./x/e", "required": false}]}}}"#));
    assert!(differs(r#"{"services": {"a": {"label_file": "./x/e"}}}"#));
    assert!(!differs(r#"{"services": {"a": {"env_file": "./f", "volumes": ["./x/e:/e"]}}}"#));
    assert!(!differs(r#"{"services": {}}"#));
    assert_ne!(fingerprint(&step(), "one"), fingerprint(&step(), "two"));
}

#[test]
fn containers_are_due_for_a_restart_while_their_files_are_not_the_applied_ones() {
    let restart = Ensure { on_file_change: OnFileChange::Restart, ..step() };
    let due = |step: &Ensure, record: &Record| due_for_restart(step, record).into_iter().collect::<Vec<_>>();
    assert_eq!(due(&restart, &record(&restart)), [] as [Arc<str>; 0]);
    let mut changed = restart.clone();
    changed.containers.get_mut(A).unwrap().files = Some(digest("g"));
    assert_eq!(due(&changed, &record(&restart)), [Arc::from(A)]);
    assert_eq!(due(&changed, &Record::default()), [Arc::from(A)]);
    let stopped = Ensure { state: RunState::Stopped, ..changed.clone() };
    assert_eq!(due(&stopped, &record(&restart)), [] as [Arc<str>; 0]);
    let nothing = Ensure { on_file_change: OnFileChange::Nothing, ..changed };
    assert_eq!(due(&nothing, &record(&restart)), [] as [Arc<str>; 0]);
}
