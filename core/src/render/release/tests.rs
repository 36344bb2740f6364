use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::diff::Diff;
use crate::name::{Digest, Generation, Revision};
use crate::plan::Reason;
use crate::release::NewRelease;
use crate::status::PlanId;

fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().expect("a revision")
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).expect("a time")
}

fn commit(text: &str) -> Commit {
    Commit {
        author: text.into(),
        email: "ada@example.org".into(),
        committer: "Grace".into(),
        subject: text.into(),
        time: at(-60),
        signature: Some(Signature {
            format: SignatureFormat::Ssh,
            key_type: Some("ssh-ed25519".into()),
            key: Some("SHA256:abc".into()),
        }),
    }
}

fn change(text: &str) -> Change {
    let reason = Reason {
        field: "services.app.image".into(),
        old: Some("nginx:1.27".into()),
        new: Some(text.into()),
        source: Some("services/web/compose.yaml:4".into()),
    };
    Change {
        environment: None,
        nodes: vec![node("a"), node("b"), node("c"), node("d")],
        service: "web".parse().expect("a name"),
        kind: ChangeKind::Recreate,
        from: None,
        because: vec![reason],
        files: Vec::new(),
        effects: BTreeMap::new(),
        capabilities: Vec::new(),
        volumes_kept: Vec::new(),
    }
}

fn release(text: &str) -> Release {
    let release = NewRelease {
        revision: revision('b'),
        before: Some(revision('a')),
        plan: Some(Digest::of("plan")),
        began_at: at(0),
        commit: Some(commit(text)),
        summary: Summary { recreate: 4, unchanged: 2, nodes: 4, ..Summary::default() },
    };
    Release { finished_at: Some(at(42)), ..Release::begun(12, release) }
}

fn view(text: &str) -> ReleaseView {
    let record = |name: &str, acked_at| PlanRecord {
        node: node(name),
        plan: PlanId { generation: Generation(3), digest: Digest::of(name) },
        release: Some(12),
        published_at: Some(at(0)),
        acked_at,
    };
    let release = release(text);
    let label = Arc::from;
    let diff = Diff {
        base: label(revision('a').as_str()),
        head: label(revision('b').as_str()),
        summary: release.release.summary,
        changes: vec![change(text)],
        ..Diff::default()
    };
    let kept = KeptDiff { diff, changes_left_out: 7, others_left_out: 1 };
    let nodes = vec![record("a", Some(at(42))), record("b", None)];
    ReleaseView { release, standing: Standing::Done, nodes, steps: Vec::new(), kept }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_release_says_who_made_it_what_it_did_and_who_has_it() {
    let expected = "\
release 12  done
  commit     bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  subject    nginx:1.28
  author     nginx:1.28 <ada@example.org>, 2026-05-28T20:25:40Z
  committer  Grace
  signature  SSH ssh-ed25519 SHA256:abc (what it names; not verified)
  before     aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
";
    let text = plain(&text(&view("nginx:1.28"), None));
    assert!(text.starts_with(expected), "{text}");
    for line in [
        "  began      2026-05-28T20:26:40Z\n  done       2026-05-28T20:27:22Z, after 42s\n",
        "a     3           ",
        "2026-05-28T20:27:22Z\n",
        "not yet\n",
        "services.app.image: nginx:1.27 → nginx:1.28   services/web/compose.yaml:4",
        "This release was too large to be kept whole: 7 changes and 1 other line more.",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_list_tells_each_release_in_a_line_and_of_one_service_what_changed() {
    let entry = |changes| ReleaseEntry { release: release("bump"), standing: Standing::Done, changes };
    let expected = "\
RELEASE  BEGAN                 STATE  COMMIT        AUTHOR  CHANGES     SUBJECT
12       2026-05-28T20:26:40Z  done   bbbbbbbbbbbb  bump    4 recreate  bump
";
    assert_eq!(plain(&list(&[entry(Vec::new())])), expected);
    let expected = "\
release 12  2026-05-28T20:26:40Z  done  bbbbbbbbbbbb  bump: bump
  ± recreate on a, b, c and 1 more
      services.app.image: nginx:1.27 → bump   services/web/compose.yaml:4
";
    assert_eq!(plain(&list(&[entry(vec![change("bump")])])), expected);
}

#[test]
fn how_a_release_stands_is_said_in_words() {
    let names = |names: &[&str]| names.iter().copied().map(node).collect::<BTreeSet<_>>();
    let check = |standing, expected: &str| assert_eq!(state(&standing).0, expected);
    check(Standing::InProgress { on: names(&["a", "b"]) }, "in progress on a, b");
    check(Standing::InProgress { on: names(&[]) }, "in progress");
    check(Standing::Failed { on: names(&["a", "b", "c", "d"]) }, "failed on a, b, c and 1 more");
    check(Standing::Superseded { by: 4, on: names(&[]) }, "superseded by 4");
    check(Standing::Superseded { by: 4, on: names(&["a"]) }, "superseded by 4, not done on a");
    let check = |summary, expected: &str| assert_eq!(changes(&summary), expected);
    check(Summary::default(), "nothing");
    check(Summary { create: 1, moved: 2, unchanged: 9, ..Summary::default() }, "1 create, 2 move");
}

#[test]
fn what_a_commit_says_comes_out_inert() {
    let hostile = "\u{1b}[2J\u{9b}31m<script>alert(1)</script> @everyone ![x](http://x) | a\n/merge";
    let entry = |changes| ReleaseEntry { release: release(hostile), standing: Standing::Done, changes };
    let texts =
        [text(&view(hostile), Some(80)), list(&[entry(Vec::new())]), list(&[entry(vec![change(hostile)])])];
    for text in texts.iter().map(|text| plain(text)) {
        let obeyed = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(obeyed, None, "{text}");
        assert!(!text.contains("\n/merge"), "{text}");
    }
    let markdown = markdown(&view(hostile));
    let outside_code = markdown.split('`').step_by(2).collect::<String>();
    for bad in ["<script>", "@everyone", "![x]", "\u{1b}", "\n/merge"] {
        assert!(!outside_code.contains(bad), "{bad} in\n{markdown}");
    }
}

#[test]
fn a_page_stays_below_what_forges_take_whatever_the_size() {
    let mut view = view("bump");
    let name = |number: usize| format!("node-{number:04}-{}", "x".repeat(50));
    view.nodes =
        (0..2000).map(|number| PlanRecord { node: node(&name(number)), ..view.nodes[0].clone() }).collect();
    view.kept.diff.changes = vec![change(&"long ".repeat(200)); 500];
    if let Some(commit) = &mut view.release.release.commit {
        commit.subject = "`".repeat(500);
    }
    let markdown = markdown(&view);
    assert!(markdown.chars().count() <= diff::LIMIT, "{}", markdown.chars().count());
    assert!(markdown.contains("… and 1950 more nodes"), "{markdown:.9000}");
}
