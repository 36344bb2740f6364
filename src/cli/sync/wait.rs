//! Waiting for a roll-out: what has not happened yet, in plain words.

use gitops_core::fleet::{
    FleetStatus, InstanceState, InstanceView, NodeState, NodeView, SourceState, SourceStatus,
};
use gitops_core::name::Revision;
use gitops_core::render::{inert, span};
use jiff::Timestamp;

/// Reasons that are told; of more, their number.
const TOLD: usize = 3;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Instances that are as the revision wants them.
    pub(super) done: usize,
    /// Of so many.
    pub(super) all: usize,
    /// What is missing; nothing when all is done.
    pub(super) waits: Vec<String>,
}

impl Stand {
    pub(super) fn of(fleet: &FleetStatus, revision: &Revision, now: Timestamp) -> Self {
        let instances = || fleet.nodes.iter().flat_map(|node| node.instances.iter());
        let mut waits = Vec::new();
        if !is_planned(&fleet.source, revision) {
            waits.push(format!("the daemon has not made plans of {} yet", revision.short()));
        }
        waits.extend(fleet.nodes.iter().filter(|node| !is_done(node)).flat_map(|node| node_waits(node, now)));
        Self {
            done: instances().filter(|instance| is_well(instance)).count(),
            all: instances().count(),
            waits,
        }
    }

    /// `web on edge-1 is applying: …; and 2 more`
    pub(super) fn reasons(&self) -> String {
        let mut told: Vec<String> = self.waits.iter().take(TOLD).cloned().collect();
        if self.waits.len() > TOLD {
            told.push(format!("and {} more", self.waits.len() - TOLD));
        }
        told.join("; ")
    }
}

/// The answer to the request comes before the plans do. Where a newer revision was pushed meanwhile, that one counts.
pub(super) fn is_planned(source: &SourceStatus, revision: &Revision) -> bool {
    let is_newest = source.state == SourceState::Ok && source.deployed == source.newest;
    is_newest || source.deployed.as_ref() == Some(revision)
}

fn is_done(node: &NodeView) -> bool {
    matches!(node.state, NodeState::Ok | NodeState::Undefined)
}

fn is_well(instance: &InstanceView) -> bool {
    matches!(instance.state, InstanceState::Healthy | InstanceState::Stopped | InstanceState::Drifted)
}

fn node_waits(node: &NodeView, now: Timestamp) -> Vec<String> {
    let name = &node.node;
    match (node.state, node.heard_at) {
        (NodeState::Never, _) | (NodeState::Stale, None) => {
            return vec![format!("{name} was never heard: does its agent run?")];
        }
        (NodeState::Stale, Some(at)) => {
            return vec![format!("{name} was last heard {} ago", span(now.duration_since(at)))];
        }
        _ => {}
    }
    if let Some(refusal) = &node.refused {
        return vec![format!("{name} refuses its plan: {}", inert(&refusal.message))];
    }
    if let Some(problem) = node.host.as_ref().and_then(|host| host.problem.as_ref()) {
        return vec![format!("{name}: {}", inert(problem))];
    }
    let waits: Vec<String> = node
        .instances
        .iter()
        .filter(|instance| !is_well(instance) && instance.state != InstanceState::Orphan)
        .map(|instance| instance_waits(node, instance))
        .collect();
    if waits.is_empty() {
        vec![format!("the agent of {name} has not reported on its newest plan yet")]
    } else {
        waits
    }
}

fn instance_waits(node: &NodeView, instance: &InstanceView) -> String {
    let state = match instance.state {
        InstanceState::Waiting => "has to wait",
        InstanceState::Pending => "is not begun",
        InstanceState::Applying => "is being made",
        InstanceState::Failed => "failed and is tried again",
        InstanceState::Removing => "is being removed",
        InstanceState::Drifted => "was changed by others",
        InstanceState::Healthy | InstanceState::Stopped | InstanceState::Unknown | InstanceState::Orphan => {
            "is not known"
        }
    };
    let what = format!("{} on {} {state}", instance.service, node.node);
    match instance.message.as_deref().and_then(|message| message.lines().next()) {
        Some(message) => format!("{what}: {}", inert(message)),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(digit: &str) -> Revision {
        digit.repeat(40).parse().expect("a revision")
    }

    fn fleet(deployed: &str, nodes: Vec<NodeView>) -> FleetStatus {
        let source = SourceStatus {
            url: "/r".into(),
            branch: "main".into(),
            state: SourceState::Ok,
            deployed: Some(revision(deployed)),
            newest: Some(revision("b")),
            checked_at: None,
            message: None,
        };
        let (holds, awaiting) = (Vec::new(), Vec::new());
        FleetStatus { source, release: None, nodes, diagnostics: Vec::new(), holds, awaiting }
    }

    fn node(name: &str, state: NodeState, instances: Vec<InstanceView>) -> NodeView {
        NodeView { instances: instances.into(), ..NodeView::bare(name.parse().expect("a name"), state) }
    }

    fn instance(service: &str, state: InstanceState, message: Option<&str>) -> InstanceView {
        let message = message.map(str::to_owned);
        InstanceView { message, ..InstanceView::bare(service.parse().expect("a name"), state) }
    }

    #[test]
    fn what_is_waited_for_is_said_in_plain_words() {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().expect("a time");
        let stand = |fleet: &FleetStatus| Stand::of(fleet, &revision("b"), now);
        let well = || instance("web", InstanceState::Healthy, None);
        let done = stand(&fleet("b", vec![node("edge-1", NodeState::Ok, vec![well()])]));
        assert_eq!(done, Stand { done: 1, all: 1, waits: Vec::new() });

        let check = |fleet: FleetStatus, expected: &str| assert_eq!(stand(&fleet).reasons(), expected);
        check(fleet("a", Vec::new()), "the daemon has not made plans of bbbbbbbbbbbb yet");
        let pending = |instances| fleet("b", vec![node("edge-1", NodeState::Pending, instances)]);
        check(
            pending(vec![well(), instance("api", InstanceState::Applying, Some("app is starting\nmore"))]),
            "api on edge-1 is being made: app is starting",
        );
        check(pending(vec![well()]), "the agent of edge-1 has not reported on its newest plan yet");
        let five = ["a", "b", "c", "d", "e"].map(|name| instance(name, InstanceState::Pending, None));
        check(
            pending(five.into()),
            "a on edge-1 is not begun; b on edge-1 is not begun; c on edge-1 is not begun; and 2 more",
        );
        let silent = NodeView {
            heard_at: Some("2026-01-01T00:02:00Z".parse().expect("a time")),
            ..node("edge-1", NodeState::Stale, vec![well()])
        };
        check(fleet("b", vec![silent]), "edge-1 was last heard 3m ago");
        check(
            fleet("b", vec![node("edge-1", NodeState::Never, Vec::new())]),
            "edge-1 was never heard: does its agent run?",
        );
    }
}
