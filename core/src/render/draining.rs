//! How far the nodes are that people empty. It follows from who is drained and what is there, so it ends with the drain.

use jiff::Timestamp;

use super::{GOOD, WARN, count, painted};
use crate::decision::Held;
use crate::fleet::{FleetStatus, InstanceState, InstanceView, NodeView};
use crate::name::NodeName;

/// A line for each node that is drained.
pub fn text(fleet: &FleetStatus, now: Timestamp) -> String {
    let holds = fleet.holds.iter().filter(|hold| hold.is_in_force(now));
    let drained = holds.filter_map(|hold| match &hold.what {
        Held::Drain { node, stop } => Some((node, *stop)),
        _ => None,
    });
    let view = |node: &NodeName| fleet.nodes.iter().find(|view| view.node == *node);
    drained.map(|(node, stop)| line(node, stop, view(node))).collect()
}

fn line(node: &NodeName, stop: bool, view: Option<&NodeView>) -> String {
    let there = view.into_iter().flat_map(|view| view.instances.iter()).filter(|instance| is_there(instance));
    let there: Vec<&str> = there.map(|instance| instance.service.as_str()).collect();
    let verb = if there.len() == 1 { "is" } else { "are" };
    let (said, style) = match &there[..] {
        [] => ("done, nothing is left there".to_owned(), GOOD),
        [..] => (format!("{} {verb} still there: {}", count(there.len(), "service"), there.join(", ")), WARN),
    };
    let stay =
        if stop || there.is_empty() { "" } else { "; what can be nowhere else stays without `--stop`" };
    format!("drain of {node}: {}{stay}\n", painted(style, &said))
}

/// What is not its node's any more, and what never came, is not waited for.
fn is_there(instance: &InstanceView) -> bool {
    match instance.state {
        InstanceState::Orphan => false,
        InstanceState::Waiting => instance.running > 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::NodeState;

    fn check(stop: bool, instances: &[(&str, InstanceState, u32)], expected: &str) {
        let node: NodeName = "edge-1".parse().expect("a name");
        let instance = |(service, state, running): &(&str, InstanceState, u32)| InstanceView {
            running: *running,
            ..InstanceView::bare(service.parse().expect("a name"), *state)
        };
        let instances = instances.iter().map(instance).collect();
        let view = NodeView { instances, ..NodeView::bare(node.clone(), NodeState::Ok) };
        let shown = line(&node, stop, Some(&view));
        assert_eq!(
            anstream::adapter::strip_str(&shown).to_string(),
            format!("drain of edge-1: {expected}\n")
        );
    }

    #[test]
    fn a_drain_tells_what_is_still_there_and_when_it_is_done() {
        use InstanceState::{Healthy, Orphan, Removing, Waiting};
        check(true, &[], "done, nothing is left there");
        check(false, &[("old", Orphan, 1), ("new", Waiting, 0)], "done, nothing is left there");
        check(true, &[("web", Removing, 1)], "1 service is still there: web");
        let stays = "2 services are still there: db, web; what can be nowhere else stays without `--stop`";
        check(false, &[("db", Healthy, 1), ("web", Waiting, 1)], stays);
    }
}
