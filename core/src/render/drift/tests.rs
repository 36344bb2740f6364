use super::*;
use crate::fleet::drift::SCHEMA;

fn instance(service: &str, state: DriftState, message: Option<&str>) -> InstanceDrift {
    InstanceDrift {
        service: service.parse().expect("a name"),
        state,
        message: message.map(str::to_owned),
        differences: Vec::new(),
    }
}

fn node(name: &str, age: Option<u64>, instances: Vec<InstanceDrift>) -> NodeDrift {
    NodeDrift {
        node: name.parse().expect("a name"),
        environment: None,
        heard_at: None,
        age_seconds: age,
        is_believed: age.is_some_and(|age| age < 45),
        in_sync: 1,
        instances,
        orphans: Default::default(),
    }
}

fn drift(nodes: Vec<NodeDrift>) -> Drift {
    Drift {
        schema: SCHEMA,
        revision: "1".repeat(40).parse().ok(),
        newest: "2".repeat(40).parse().ok(),
        summary: Summary { in_sync: 3, pending: 1, differs: 1, unknown: 1, orphans: 1, corrected: 0 },
        nodes,
    }
}

fn some() -> Drift {
    let difference = Difference {
        container: "web-app-1".into(),
        field: "image".into(),
        wanted: Some("nginx:1.28".into()),
        found: Some("`rm -rf`\u{1b}[2J<b>@all</b>".into()),
        ..Difference::default()
    };
    let gone = Difference {
        container: "x".into(),
        field: "container".into(),
        wanted: None,
        found: Some("y".into()),
        ..Difference::default()
    };
    let differs = InstanceDrift {
        differences: vec![difference],
        ..instance("web", DriftState::Differs, Some("no such image\nmore"))
    };
    let orphan = InstanceDrift { differences: vec![gone], ..instance("stray", DriftState::Orphan, None) };
    drift(vec![
        node("edge-1", Some(4), vec![orphan, differs]),
        node("edge-2", Some(600), vec![instance("db", DriftState::Unknown, None)]),
        node("edge-3", None, vec![instance("db", DriftState::Pending, Some("waits"))]),
        node("edge-4", Some(1), Vec::new()),
    ])
}

#[test]
fn text_says_of_each_node_how_old_its_word_is_and_what_is_not_as_wanted() {
    let plain = anstream::adapter::strip_str(&text(&some())).to_string();
    assert_eq!(
        plain,
        "\
edge-1  reported 4s ago
  ! orphan stray: is in no plan; it is left alone
      x container: wanted none, found y
  ~ differs web: no such image
      web-app-1 image: wanted nginx:1.28, found `rm -rf`·[2J<b>@all</b>

edge-2  last heard 10m ago, too long to say how it stands
  ? unknown db

edge-3  never heard
  … pending db: waits

Drift: 1 differ, 1 pending, 1 unknown, 1 orphan, 3 in sync, over 4 nodes, at 111111111111
The newest commit 222222222222 is not deployed: `gitops status` says why.
"
    );
}

#[test]
fn markdown_is_a_table_and_a_list_in_which_nothing_is_obeyed() {
    assert_eq!(
        markdown(&some()),
        "\
| differ | pending | unknown | orphans | in sync |
|---|---|---|---|---|
| 1 | 1 | 1 | 1 | 3 |

**edge-1** (reported 4s ago)

- `stray` orphan: `is in no plan; it is left alone`
  - `x` `container`: wanted `none`, found `y`
- `web` differs: `no such image`
  - `web-app-1` `image`: wanted `nginx:1.28`, found `` `rm -rf`·[2J<b>@all</b> ``

**edge-2** (last heard 10m ago, too long to say how it stands)

- `db` unknown

**edge-3** (never heard)

- `db` pending: `waits`

The newest commit 222222222222 is not deployed: `gitops status` says why.
"
    );
}

#[test]
fn markdown_fits_a_comment_whatever_its_size() {
    let instances = || (0..50).map(|n| instance(&format!("s{n}"), DriftState::Unknown, None)).collect();
    let nodes = (0..200).map(|n| node(&format!("n{n}"), None, instances())).collect();
    let text = markdown(&drift(nodes));
    assert!(text.len() < MAX_MARKDOWN, "{}", text.len());
    assert!(text.contains("Left out for want of room: "), "{}", &text[text.len() - 200..]);
}
