//! A release as it goes on: a tree of its nodes and of what is not done on them, under a bar.

use jiff::Timestamp;

use super::release::state;
use super::status::instance_word;
use super::table::Cell;
use super::{BOLD, DIM, GOOD, WARN, count, inert, painted, span};
use crate::fleet::{InstanceState, InstanceView, NodeView};
use crate::release::{PlanRecord, ReleaseView};

/// How many signs the bar has.
const BAR: usize = 30;

/// The tree, line by line; with a bar above it where it is drawn over and over.
pub fn text(view: &ReleaseView, fleet: &[NodeView], now: Timestamp, has_bar: bool) -> String {
    let Cell(word, style) = state(&view.standing);
    let acked = view.nodes.iter().filter(|record| record.acked_at.is_some()).count();
    let head = painted(BOLD, &format!("release {}", view.release.number));
    let revision = view.release.release.revision.short();
    let mut text = format!("{head}  {}  {revision}\n", painted(style, &word));
    if has_bar {
        text.push_str(&format!("{}\n", bar(acked, view.nodes.len())));
    }
    for record in &view.nodes {
        text.push_str(&node(record, now));
        let views = fleet.iter().filter(|view| view.node == record.node && record.acked_at.is_none());
        text.push_str(&views.flat_map(|view| view.instances.iter()).map(instance).collect::<String>());
    }
    text
}

fn bar(done: usize, all: usize) -> String {
    let filled = done * BAR / all.max(1);
    let (full, empty) = ("█".repeat(filled), "░".repeat(BAR - filled));
    format!("{}{}  {done} of {}", painted(GOOD, &full), painted(DIM, &empty), count(all, "node"))
}

fn node(record: &PlanRecord, now: Timestamp) -> String {
    let since = |at: Timestamp| record.published_at.map(|published| span(at.duration_since(published)));
    let name = record.node.as_str();
    let (word, style, after) = match record.acked_at {
        Some(at) => ("done", GOOD, since(at).map(|span| format!("after {span}"))),
        None => ("in progress", WARN, since(now).map(|span| format!("for {span}"))),
    };
    let after = after.map_or(String::new(), |after| format!(" {after}"));
    format!("{name}  {}{after}\n", painted(style, word))
}

/// What is done is not in the way.
fn instance(view: &InstanceView) -> String {
    if matches!(view.state, InstanceState::Healthy | InstanceState::Stopped | InstanceState::Orphan) {
        return String::new();
    }
    let (word, style) = instance_word(view.state);
    let message = view.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
    let message = if message.is_empty() { String::new() } else { format!("  {}", inert(message)) };
    format!("  {}  {}{message}\n", view.service, painted(style, word))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use crate::diff::{Diff, Summary};
    use crate::fleet::NodeState;
    use crate::name::{Digest, Generation};
    use crate::release::{KeptDiff, NewRelease, Release, Standing};
    use crate::status::PlanId;

    #[test]
    fn a_release_shows_who_is_done_and_what_the_others_wait_for() {
        let began_at = Timestamp::UNIX_EPOCH;
        let at = |seconds| began_at + SignedDuration::from_secs(seconds);
        let record = |name: &str, acked: Option<i64>| PlanRecord {
            node: name.parse().expect("a name"),
            plan: PlanId { generation: Generation(2), digest: Digest::of(name) },
            release: Some(7),
            published_at: Some(began_at),
            acked_at: acked.map(at),
        };
        let revision = "a".repeat(40).parse().expect("a revision");
        let release = NewRelease {
            revision,
            before: None,
            plan: None,
            began_at,
            commit: None,
            summary: Summary::default(),
        };
        let on: BTreeSet<_> = ["edge-2".parse().expect("a name")].into();
        let view = ReleaseView {
            release: Release::begun(7, release),
            standing: Standing::InProgress { on },
            nodes: vec![record("edge-1", Some(4)), record("edge-2", None)],
            kept: KeptDiff::cut(Diff::default()),
        };
        let instance = |service: &str, state, message: Option<&str>| InstanceView {
            service: service.parse().expect("a name"),
            state,
            digest: None,
            message: message.map(str::to_owned),
            running: 0,
            wanted: 1,
            outdated: Vec::new(),
            drift: Vec::new(),
        };
        let instances = [
            instance("db", InstanceState::Healthy, None),
            instance("web", InstanceState::Waiting, Some("db comes first\nmore")),
        ];
        let node = "edge-2".parse().expect("a name");
        let fleet = [NodeView { instances: instances.into(), ..NodeView::bare(node, NodeState::Pending) }];
        let tree = "edge-1  done after 4s\nedge-2  in progress for 1m\n  web  waiting  db comes first\n";
        let shown = |has_bar| {
            let text = text(&view, &fleet, at(61), has_bar);
            let text = anstream::adapter::strip_str(&text).to_string();
            text.split_once('\n').map(|(_, rest)| rest.to_owned()).expect("a head")
        };
        assert_eq!(shown(false), tree);
        let bar = format!("{}{}  1 of 2 nodes\n", "█".repeat(15), "░".repeat(15));
        assert_eq!(shown(true), bar + tree);
    }
}
