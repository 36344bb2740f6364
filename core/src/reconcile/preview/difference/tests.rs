use super::*;
use crate::diff::Effect;
use crate::name::Generation;

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn change(service: &str, nodes: &[&str], kind: ChangeKind, field: &str) -> Change {
    Change {
        environment: None,
        nodes: nodes.iter().map(|name| node(name)).collect(),
        service: service.parse().expect("a name"),
        kind,
        from: None,
        because: vec![Reason { field: field.into(), old: None, new: None, source: None }],
        files: Vec::new(),
        effects: [("app".into(), Effect::Recreate)].into(),
        capabilities: Vec::new(),
        volumes_kept: Vec::new(),
    }
}

fn touched(generation: u64) -> Touched {
    Touched {
        from: Some(PlanId { generation: Generation(generation), digest: Digest::of("plan") }),
        gets: Some(Digest::of("steps")),
        held: BTreeMap::new(),
        accepted: None,
        undone: ["db".parse().expect("a name")].into(),
    }
}

fn preview(changes: Vec<Change>, touched: impl IntoIterator<Item = (&'static str, Touched)>) -> Preview {
    Preview {
        revision: Some("1".repeat(40).parse().expect("a revision")),
        touched: touched.into_iter().map(|(name, touched)| (node(name), touched)).collect(),
        diff: Diff { changes, plan: Some(Digest::of("now")), ..Diff::default() },
    }
}

fn words(difference: &Difference) -> Vec<String> {
    let told = |told: &Option<Told>| match told {
        Some(Told { kind, fields, .. }) => format!("{kind:?} {}", fields.join(" ")),
        None => "nothing".to_owned(),
    };
    let names = |nodes: &[NodeName]| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(",");
    let side = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("-").to_owned();
    let changes = difference.changes.iter().map(|one| {
        format!("{} on {}: {} / {}", one.service, names(&one.nodes), told(&one.shown), told(&one.now))
    });
    let moved = difference.nodes.iter().flat_map(|(node, reasons)| {
        let word = move |reason: &Reason| {
            format!("{node} {}: {} / {}", reason.field, side(&reason.old), side(&reason.new))
        };
        reasons.iter().map(word)
    });
    changes.chain(moved).collect()
}

fn check(shown: &Preview, now: &Preview, expected: &[&str]) {
    let difference = difference(Digest::of("asked"), Some(shown), now);
    assert_eq!(words(&difference), expected);
    assert_eq!((difference.asked, difference.now), (Digest::of("asked"), Some(Digest::of("now"))));
}

#[test]
fn what_would_be_done_otherwise_is_told_by_service_and_what_moved_by_node() {
    use ChangeKind::{Create, Recreate, Remove};
    let shown = preview(
        vec![
            change("gone", &["a"], Remove, "service"),
            change("same", &["a", "b"], Recreate, "image"),
            change("web", &["a", "b"], Recreate, "image"),
        ],
        [("a", touched(3)), ("b", touched(3))],
    );
    let now = preview(
        vec![
            change("new", &["b"], Create, "service"),
            change("same", &["a"], Recreate, "image"),
            change("same", &["b"], Recreate, "image"),
            change("web", &["a", "b"], Recreate, "environment"),
        ],
        [("a", touched(4)), ("c", touched(3))],
    );
    let id = |generation: u64| format!("{generation} ({})", Digest::of("plan").short());
    let steps = Digest::of("steps").short();
    check(
        &shown,
        &now,
        &[
            "gone on a: Remove service / nothing",
            "new on b: nothing / Create service",
            "web on a,b: Recreate image / Recreate environment",
            &format!("a stored plan: {} / {}", id(3), id(4)),
            &format!("b stored plan: {} / -", id(3)),
            &format!("b steps: {steps} / -"),
            "b not done: db / -",
            &format!("c stored plan: - / {}", id(3)),
            &format!("c steps: - / {steps}"),
            "c not done: - / db",
        ],
    );
    check(&now, &now, &[]);
}

#[test]
fn another_commit_and_a_plan_that_nobody_remembers_are_told() {
    let now = preview(Vec::new(), []);
    let other = Preview { revision: Some("2".repeat(40).parse().expect("a revision")), ..now.clone() };
    assert_eq!(difference(Digest::of("asked"), Some(&other), &now).revision, other.revision);
    assert_eq!(difference(Digest::of("asked"), Some(&now), &now).revision, None);
    let unknown = difference(Digest::of("asked"), None, &now);
    assert_eq!((unknown.is_remembered, unknown.changes.len(), unknown.nodes.len()), (false, 0, 0));
}
