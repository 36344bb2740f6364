//! What a comparison says of small repositories, in the words of the text form.

use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::catalog;
use crate::tree::Tree;

/// A repository, checked and made concrete.
struct Repository {
    catalog: Catalog,
    desired: Desired,
}

const SETTINGS: (&str, &str) = ("gitops.toml", "format = 1\nname = \"t\"\n");

fn repository(files: &[(&str, &str)]) -> Repository {
    let files = [SETTINGS].iter().chain(files).map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let (catalog, found) = catalog::load(&Arc::new(Tree::from_files(files)), None);
    assert_eq!(found, []);
    let (desired, found) = Desired::build(&catalog, None, None);
    assert_eq!(found, [], "the files above are right");
    Repository { catalog, desired }
}

impl Repository {
    fn side(&self, label: &str) -> Side<'_> {
        Side { label: label.into(), catalog: &self.catalog, desired: &self.desired }
    }
}

fn diff(old: &Repository, new: &Repository) -> Diff {
    compare(&old.side("old"), &new.side("new"), &Scope::at(Timestamp::UNIX_EPOCH))
}

fn with_fields(value: &str, fields: usize) -> Repository {
    let environment: String = (0..fields).map(|n| format!("      K{n}: {value}\n")).collect();
    let compose = format!("services:\n  a:\n    image: i\n    environment:\n{environment}");
    repository(&[
        ("nodes/n.yaml", "node: n"),
        ("services/s/service.yaml", "{service: s, place: {nodes: [n]}}"),
        ("services/s/compose.yaml", &compose),
    ])
}

#[test]
fn every_change_is_said_and_the_first_thousand_with_their_lines() {
    let (old, new) =
        (with_fields("a", reasons::MAX_SOURCES + 50), with_fields("b", reasons::MAX_SOURCES + 50));
    let because = &diff(&old, &new).changes[0].because;
    assert_eq!(because.len(), reasons::MAX_SOURCES + 50);
    assert_eq!(because[0].source.as_deref(), Some("services/s/compose.yaml:5"));
    assert_eq!(because.iter().filter(|reason| reason.source.is_some()).count(), reasons::MAX_SOURCES);
}

#[test]
fn a_name_that_no_side_knows_is_told() {
    let repository = with_fields("a", 1);
    let (service, node, environment) =
        ("s".parse().expect("a name"), "n".parse().expect("a name"), "x".parse().expect("a name"));
    let all = Selection { service: Some(&service), node: Some(&node), environment: Some(&environment) };
    assert_eq!(all.unknown(&[&repository.catalog]).as_deref(), Some("environment `x`"));
    assert_eq!(Selection { environment: None, ..all }.unknown(&[&repository.catalog]), None);
    assert_eq!(all.unknown(&[]).as_deref(), Some("service `s`"));
}

#[test]
fn what_only_the_change_itself_asks_to_ignore_is_told() {
    let with = |label: &str, ignore: &str| {
        let service = format!("{{service: s, place: {{nodes: [n]}}{ignore}}}");
        let compose = format!("services: {{a: {{image: i, labels: {{build: '{label}'}}}}}}");
        repository(&[
            ("nodes/n.yaml", "node: n"),
            ("services/s/service.yaml", &service),
            ("services/s/compose.yaml", &compose),
        ])
    };
    let ignore = ", ignore: [{path: services.a.labels.build, reason: a stamp}]";
    let lines = |old: &Repository, new: &Repository| diff(old, new).changes[0].because.len();
    assert_eq!(lines(&with("1", ignore), &with("2", ignore)), 0);
    assert_eq!(lines(&with("1", ""), &with("2", ignore)), 1);
}

/// A repository of three nodes, with these services: name, nodes, image.
fn placed(services: &[(&str, &str, &str)]) -> Repository {
    let nodes = ["a", "b", "c"].map(|node| (format!("nodes/{node}.yaml"), format!("node: {node}")));
    let mut files: Vec<(String, String)> = nodes.into();
    for (name, nodes, image) in services {
        let service = format!("{{service: {name}, place: {{nodes: [{nodes}]}}}}");
        let compose =
            format!("services: {{app: {{image: {image}, volumes: ['data:/data']}}}}\nvolumes: {{data: }}\n");
        files.push((format!("services/{name}/service.yaml"), service));
        files.push((format!("services/{name}/compose.yaml"), compose));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    repository(&files)
}

/// `kind service nodes <- old name, old nodes`.
fn told(diff: &Diff) -> Vec<String> {
    let names = |nodes: &[NodeName]| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(",");
    let one = |change: &Change| {
        let kind = format!("{:?}", change.kind).to_lowercase();
        let from = change.from.as_ref().map(|from| {
            let service = from.service.as_ref().map_or("", ServiceName::as_str);
            format!(" <- {service} {}", names(&from.nodes))
        });
        format!("{kind} {} {}{}", change.service, names(&change.nodes), from.unwrap_or_default())
    };
    diff.changes.iter().map(one).collect()
}

#[test]
fn what_moves_or_is_renamed_is_no_loss() {
    let check = |old: &[(&str, &str, &str)], new: &[(&str, &str, &str)], expected: &[&str]| {
        assert_eq!(told(&diff(&placed(old), &placed(new))), expected, "{old:?} {new:?}");
    };
    check(&[("s", "a", "i:1")], &[("s", "a", "i:1")], &[]);
    check(&[("s", "a", "i:1")], &[("s", "b", "i:1")], &["move s b <-  a"]);
    check(&[("s", "a, b", "i:1")], &[("s", "b, c", "i:1")], &["move s c <-  a"]);
    check(&[("s", "a", "i:1")], &[("s", "a, b", "i:2")], &["recreate s a", "create s b"]);
    check(&[("s", "a, b", "i:1")], &[("s", "a", "i:1")], &["remove s b"]);
    check(&[("s", "a, b", "i:1")], &[("t", "a, b", "i:1")], &["move t a,b <- s "]);
    check(&[("s", "a", "i:1")], &[("t", "b", "i:1")], &["move t b <- s a"]);
    check(&[("s", "a", "i:1")], &[("t", "a", "other:1")], &["remove s a", "create t a"]);
    check(
        &[("s", "a", "i:1"), ("t", "a", "j:1")],
        &[("u", "a", "j:1"), ("v", "a", "i:1")],
        &["move u a <- t ", "move v a <- s "],
    );
}

#[test]
fn the_same_change_on_many_nodes_is_one() {
    let (old, new) = (placed(&[("s", "a, b, c", "i:1")]), placed(&[("s", "a, b, c", "i:2")]));
    let diff = diff(&old, &new);
    assert_eq!(told(&diff), ["recreate s a,b,c"]);
    assert_eq!((diff.summary.recreate, diff.summary.nodes, diff.summary.unchanged), (3, 3, 0));
    assert!(matches!(&*diff.risks, [Risk::Restart { nodes: 3, seconds: None, .. }]), "{:?}", diff.risks);
}

#[test]
fn what_is_not_selected_is_not_looked_at() {
    let old = placed(&[("s", "a, b", "i:1"), ("t", "b", "j:1")]);
    let new = placed(&[("s", "a, b", "i:2"), ("t", "b", "j:2")]);
    let (service, node) = ("s".parse().expect("a name"), "b".parse().expect("a name"));
    let check = |selection: &Selection<'_>, expected: &[&str]| {
        let scope = Scope { selection, ..Scope::at(Timestamp::UNIX_EPOCH) };
        assert_eq!(told(&compare(&old.side("old"), &new.side("new"), &scope)), expected);
    };
    check(&Selection { service: Some(&service), ..Selection::default() }, &["recreate s a,b"]);
    check(&Selection { node: Some(&node), ..Selection::default() }, &["recreate s b", "recreate t b"]);
    let (old, new) = (placed(&[("s", "a", "i:1")]), placed(&[("s", "b", "i:1")]));
    let selection = Selection { node: Some(&node), ..Selection::default() };
    let scope = Scope { selection: &selection, ..Scope::at(Timestamp::UNIX_EPOCH) };
    assert_eq!(told(&compare(&old.side("old"), &new.side("new"), &scope)), ["move s b <-  a"]);
}

#[test]
fn gates_stop_what_they_name() {
    let stopped = |old: &[(&str, &str, &str)], new: &[(&str, &str, &str)]| {
        let diff = diff(&placed(old), &placed(new));
        diff.stopped_by(&Gate::ALL).into_iter().map(Gate::as_str).collect::<Vec<_>>()
    };
    assert_eq!(stopped(&[("s", "a", "i:1")], &[("s", "a", "i:1"), ("t", "a", "j:1")]), [""; 0]);
    assert_eq!(stopped(&[("s", "a", "i:1")], &[("s", "a", "i:2")]), ["recreate"]);
    assert_eq!(stopped(&[("s", "a", "i:1"), ("t", "a", "j:1")], &[("s", "a", "i:1")]), ["remove"]);
    assert_eq!(stopped(&[("s", "a", "i:1")], &[("s", "b", "i:1")]), ["remove", "recreate"]);
}

/// A service of one container or two, of which the second keeps data.
fn with_second(is_there: bool) -> Repository {
    let second = "  db: {image: j, volumes: ['data:/data']}\nvolumes: {data: }\n";
    let compose = format!("services:\n  app: {{image: i}}\n{}", if is_there { second } else { "" });
    repository(&[
        ("nodes/n.yaml", "node: n"),
        ("services/s/service.yaml", "{service: s, place: {nodes: [n]}}"),
        ("services/s/compose.yaml", &compose),
    ])
}

#[test]
fn a_container_that_goes_with_its_data_is_a_removal() {
    let diff = diff(&with_second(true), &with_second(false));
    assert_eq!(told(&diff), ["update s n"]);
    assert_eq!(diff.stopped_by(&Gate::ALL), BTreeSet::from([Gate::Remove]));
    assert!(diff.risks.iter().any(|risk| matches!(risk, Risk::VolumesLeft { .. })), "{:?}", diff.risks);
}

#[test]
fn a_document_survives_the_wire() {
    let diff = diff(&placed(&[("s", "a", "i:1"), ("t", "a", "j:1")]), &placed(&[("s", "b", "i:2")]));
    let json = serde_json::to_string(&diff).expect("JSON");
    assert_eq!(serde_json::from_str::<Diff>(&json).expect("its own form"), diff);
}
