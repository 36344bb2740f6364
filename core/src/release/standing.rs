//! How a release stands, in one word and with the nodes that it is about.
//!
//! Computed whenever somebody asks. Only one fact of it is stored, because it cannot be found out later: when every node
//! had acknowledged the release for the first time. A node that fails after that is a matter of the node, which
//! `gitops status` tells, and no longer of the release.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlanRecord, Release};
use crate::fleet::{InstanceState, NodeState, NodeView};
use crate::name::NodeName;

/// How a release stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Standing {
    /// The newest, and some nodes are not there yet.
    InProgress {
        /// Those.
        on: BTreeSet<NodeName>,
    },
    /// The newest, and steps of it failed. They are tried again, so it may still come to its end.
    Failed {
        /// Where.
        on: BTreeSet<NodeName>,
    },
    /// It failed, and these nodes do not have what ran before it yet.
    Undoing {
        /// Those that are heard.
        on: BTreeSet<NodeName>,
        /// Those that are not: nothing is known of them.
        unreachable: BTreeSet<NodeName>,
    },
    /// It failed, and every node that is heard has what ran before it.
    Undone {
        /// Nodes that it touched and that are not heard: they follow when they are back.
        unreachable: BTreeSet<NodeName>,
    },
    /// Every node has acknowledged it.
    Done,
    /// A newer release came before every node had.
    Superseded {
        /// The newer one.
        by: u64,
        /// Nodes that never acknowledged their plan of this one, as far as its plans are kept.
        on: BTreeSet<NodeName>,
    },
}

/// How `release` stands, of which `newest` is the greatest number. `plans` are the newest plans of its nodes under it,
/// `nodes` how the fleet stands now.
pub fn standing(release: &Release, newest: u64, plans: &[PlanRecord], nodes: &[NodeView]) -> Standing {
    let unacked = plans.iter().filter(|record| record.acked_at.is_none());
    if release.failed.is_some() {
        return undone(plans, nodes);
    }
    if release.finished_at.is_some() {
        return Standing::Done;
    }
    if release.number < newest {
        let on = unacked.map(|record| record.node.clone()).collect();
        return Standing::Superseded { by: release.number + 1, on };
    }
    let mut on: BTreeSet<NodeName> = unacked.map(|record| record.node.clone()).collect();
    on.extend(nodes.iter().filter(|node| waits(node)).map(|node| node.node.clone()));
    let fails = |node: &&NodeView| node.state == NodeState::Failing && on.contains(&node.node);
    let failed: BTreeSet<NodeName> = nodes.iter().filter(fails).map(|node| node.node.clone()).collect();
    match (failed.is_empty(), on.is_empty()) {
        (false, _) => Standing::Failed { on: failed },
        (true, false) => Standing::InProgress { on },
        // Only that it is done is not written down yet.
        (true, true) => Standing::Done,
    }
}

/// How far a release is undone: a node has what ran before when it has acknowledged the newest plan that it got. One that
/// is not heard may have got none since.
fn undone(plans: &[PlanRecord], nodes: &[NodeView]) -> Standing {
    let is_silent = |node: &NodeName| {
        let view = nodes.iter().find(|view| view.node == *node);
        view.is_none_or(|view| matches!(view.state, NodeState::Stale | NodeState::Never))
    };
    // Between the failure and the plans that undo it, what failed stands as it was acknowledged.
    let fails = |node: &NodeName| {
        let view = nodes.iter().find(|view| view.node == *node);
        let mut instances = view.into_iter().flat_map(|view| view.instances.iter());
        instances.any(|one| one.state == InstanceState::Failed && one.since.is_some())
    };
    let (silent, heard): (Vec<_>, Vec<_>) = plans.iter().partition(|record| is_silent(&record.node));
    let unreachable: BTreeSet<NodeName> = silent.into_iter().map(|record| record.node.clone()).collect();
    let open = heard.into_iter().filter(|record| record.acked_at.is_none() || fails(&record.node));
    let on: BTreeSet<NodeName> = open.map(|record| record.node.clone()).collect();
    if on.is_empty() { Standing::Undone { unreachable } } else { Standing::Undoing { on, unreachable } }
}

/// Whether the planner holds something back there.
fn waits(node: &NodeView) -> bool {
    node.instances.iter().any(|instance| instance.state == InstanceState::Waiting)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{Failed, NewRelease};
    use super::*;
    use crate::diff::Summary;
    use crate::fleet::InstanceView;
    use crate::name::{Digest, Generation};
    use crate::status::PlanId;

    fn name(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    fn release(finished: bool) -> Release {
        let release = NewRelease {
            revision: "a".repeat(40).parse().expect("a revision"),
            before: None,
            plan: None,
            began_at: Timestamp::UNIX_EPOCH,
            commit: None,
            summary: Summary::default(),
        };
        Release { finished_at: finished.then_some(Timestamp::UNIX_EPOCH), ..Release::begun(3, release) }
    }

    fn plan(node: &str, acked: bool) -> PlanRecord {
        PlanRecord {
            node: name(node),
            plan: PlanId { generation: Generation(1), digest: Digest::of(node) },
            release: Some(3),
            published_at: None,
            acked_at: acked.then_some(Timestamp::UNIX_EPOCH),
        }
    }

    fn view(node: &str, state: NodeState) -> NodeView {
        NodeView::bare(name(node), state)
    }

    #[test]
    fn how_a_release_stands_follows_from_its_plans_and_from_what_came_after() {
        let names = |names: &[&str]| names.iter().copied().map(name).collect::<BTreeSet<_>>();
        let plans = [plan("a", true), plan("b", false)];
        let check = |finished, newest, nodes: &[NodeView], expected: Standing| {
            assert_eq!(standing(&release(finished), newest, &plans, nodes), expected);
        };
        let pending = [view("b", NodeState::Pending)];
        let failing = [view("a", NodeState::Failing), view("b", NodeState::Failing)];
        check(false, 3, &pending, Standing::InProgress { on: names(&["b"]) });
        check(false, 3, &failing, Standing::Failed { on: names(&["b"]) });
        check(false, 5, &failing, Standing::Superseded { by: 4, on: names(&["b"]) });
        check(true, 3, &failing, Standing::Done);
        assert_eq!(standing(&release(false), 3, &plans[..1], &failing), Standing::Done);
        check(true, 5, &failing, Standing::Done);
        let failed = |nodes: &[NodeView]| {
            let failed = Failed { at: Timestamp::UNIX_EPOCH, reason: "x".into(), services: BTreeSet::new() };
            standing(&Release { failed: Some(failed), ..release(false) }, 3, &plans, nodes)
        };
        let heard = [view("a", NodeState::Ok), view("b", NodeState::Pending)];
        let on = Standing::Undoing { on: names(&["b"]), unreachable: names(&[]) };
        assert_eq!(failed(&heard), on, "`b` has not acknowledged its newest plan");
        let silent = [view("a", NodeState::Ok), view("b", NodeState::Stale)];
        assert_eq!(failed(&silent), Standing::Undone { unreachable: names(&["b"]) });
        let instance = |since| InstanceView {
            since,
            ..InstanceView::bare("web".parse().expect("a name"), InstanceState::Failed)
        };
        let fails = |since| NodeView { instances: [instance(since)].into(), ..view("a", NodeState::Failing) };
        let on = Standing::Undoing { on: names(&["a"]), unreachable: names(&["b"]) };
        assert_eq!(
            failed(&[fails(Some(Timestamp::UNIX_EPOCH)), silent[1].clone()]),
            on,
            "`a` is to be undone"
        );
        let done = Standing::Undone { unreachable: names(&["b"]) };
        assert_eq!(
            failed(&[fails(None), silent[1].clone()]),
            done,
            "the release did not touch what fails on `a`"
        );
    }
}
