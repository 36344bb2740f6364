use super::*;
use crate::diff::ChangeKind;
use crate::name::Digest;

fn told(kind: ChangeKind, fields: &[&str]) -> Told {
    Told { kind, fields: fields.iter().map(|field| Arc::from(*field)).collect(), containers: 1 }
}

#[test]
fn both_plans_are_told_side_by_side_and_nothing_in_them_is_obeyed() {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect();
    let fields = ["image", "a", "b", "c", "\u{1b}[2J", "e", "f"];
    let moved = Reason { field: "stored plan".into(), old: Some("3".into()), new: None, source: None };
    let difference = Difference {
        asked: Digest::of("asked"),
        now: Some(Digest::of("now")),
        is_remembered: true,
        revision: None,
        changes: vec![
            Otherwise {
                nodes: names(&["a", "b", "c", "d", "e"]),
                service: "web".parse().expect("a name"),
                shown: Some(told(ChangeKind::Recreate, &fields)),
                now: None,
            },
            Otherwise {
                nodes: names(&["a"]),
                service: "new".parse().expect("a name"),
                shown: None,
                now: Some(told(ChangeKind::Create, &[])),
            },
        ],
        nodes: [("a".parse().expect("a name"), vec![moved])].into(),
    };
    let plain = anstream::adapter::strip_str(&text(&difference)).to_string();
    let expected = format!(
        "\
asked for  {}
now        {}

What would be done otherwise than it was shown
  - web on a, b, c and 2 more
      shown: recreate, 1 container touched: image, a, b, c, ·[2J and 2 more
      now:   nothing
  + new on a
      shown: nothing
      now:   create, 1 container touched

What moved under it
  a
      stored plan: 3 → none
",
        Digest::of("asked"),
        Digest::of("now"),
    );
    assert_eq!(plain, expected);
}

#[test]
fn a_plan_that_nobody_remembers_is_told_as_that() {
    let difference = Difference {
        asked: Digest::of("asked"),
        now: None,
        is_remembered: false,
        revision: Some("1".repeat(40).parse().expect("a revision")),
        changes: Vec::new(),
        nodes: std::collections::BTreeMap::new(),
    };
    let text = text(&difference);
    assert!(text.contains("is not remembered") && text.contains("another commit: 111111111111"), "{text}");
}
