//! How source, nodes and instances stand, as text.

use anstyle::Style;
use jiff::Timestamp;

use super::decisions;
use super::diagnostics::{self, Form};
use super::table::{Cell, table};
use super::{BAD, DIM, GOOD, WARN, count, draining, drift, inert, painted, span};
use crate::fleet::{
    FleetStatus, InstanceState, InstanceView, NodeState, NodeView, OutdatedImage, Progress, SourceState,
    SourceStatus, Unmet,
};
use crate::status::Difference;

/// The whole picture.
pub fn text(fleet: &FleetStatus, now: Timestamp, form: Form) -> String {
    let mut text = source(&fleet.source, now);
    text.push_str(&fleet.release.as_ref().map_or(String::new(), |release| progress(release, now)));
    if !fleet.diagnostics.is_empty() {
        text.push_str(&format!("\n{}", diagnostics::text(&fleet.diagnostics, form)));
    }
    if !fleet.holds.is_empty() {
        text.push_str(&format!("\n{}{}", decisions::holds(&fleet.holds, now), draining::text(fleet, now)));
    }
    if !fleet.awaiting.is_empty() {
        text.push_str(&format!("\n{}", decisions::awaiting(&fleet.awaiting, now)));
    }
    text.push_str(&format!("\n{}", nodes(&fleet.nodes, now)));
    let rows: Vec<_> = fleet.nodes.iter().flat_map(|node| instance_rows(node, now)).collect();
    if !rows.is_empty() {
        text.push_str(&format!("\n{}", table(["SERVICE", "NODE", "STATE", "FOR", "RUNNING", ""], rows)));
    }
    text.push_str(&details(&fleet.nodes));
    text
}

fn source(source: &SourceStatus, now: Timestamp) -> String {
    let (word, style) = match source.state {
        SourceState::Ok => ("ok", GOOD),
        SourceState::Stale => ("stale", WARN),
        SourceState::Held => ("held", WARN),
        SourceState::Pinned => ("pinned", WARN),
        SourceState::Invalid => ("invalid", BAD),
        SourceState::Failed => ("failed", BAD),
        SourceState::Waiting => ("waiting", WARN),
    };
    let checked =
        source.checked_at.map_or("never reached".to_owned(), |at| format!("checked {} ago", since(at, now)));
    let deployed = source
        .deployed
        .as_ref()
        .map_or("nothing deployed".to_owned(), |revision| format!("deployed {}", revision.short()));
    let newest = source.newest.as_ref().filter(|newest| Some(*newest) != source.deployed.as_ref());
    let newest = newest.map_or(String::new(), |revision| format!(", newest {}", revision.short()));
    let mut text = format!(
        "source {}  {} ({})  {deployed}{newest}, {checked}\n",
        painted(style, word),
        inert(&source.url),
        inert(&source.branch)
    );
    if let Some(message) = &source.message {
        message.lines().for_each(|line| text.push_str(&format!("  {}\n", painted(style, &inert(line)))));
    }
    text
}

fn progress(release: &Progress, now: Timestamp) -> String {
    let Progress { revision, since: began_at, undone, done, changing, failed, waiting } = release;
    let (word, style) = if undone.is_some() { ("being undone", BAD) } else { ("in progress", WARN) };
    let time = began_at.map_or(String::new(), |at| format!(" for {}", since(at, now)));
    let failed = if *failed == 0 { String::new() } else { format!(" ({failed} failed)") };
    format!(
        "release of {}  {}{time}: {done} done, {changing} being made{failed}, {waiting} waiting\n",
        revision.short(),
        painted(style, word)
    )
}

fn since(at: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(at))
}

/// The nodes as a table.
pub fn nodes(nodes: &[NodeView], now: Timestamp) -> String {
    if nodes.is_empty() {
        return "no nodes are defined\n".into();
    }
    let row = |node: &NodeView| {
        let (word, style) = node_word(node.state);
        let generation = |plan: &Option<crate::status::PlanId>| {
            plan.map_or("-".to_owned(), |plan| plan.generation.to_string())
        };
        let heard = node.heard_at.map_or("never".to_owned(), |at| format!("{} ago", since(at, now)));
        let done = node.instances.iter().filter(|instance| is_done(instance)).count();
        [
            node.node.as_str().into(),
            Cell(word.into(), style),
            generation(&node.plan).into(),
            generation(&node.accepted).into(),
            heard.into(),
            format!("{done} of {} as planned", count(node.instances.len(), "instance")).into(),
        ]
    };
    table(["NODE", "STATE", "PLAN", "ACCEPTED", "HEARD", "INSTANCES"], nodes.iter().map(row).collect())
}

/// What the agents say of their machines, as a table.
pub fn hosts(nodes: &[NodeView]) -> String {
    let row = |node: &NodeView| {
        let host = node.host.as_ref()?;
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { inert(text) };
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
        Some([
            node.node.as_str().into(),
            or_dash(&host.name).into(),
            or_dash(node.agent.as_deref().unwrap_or_default()).into(),
            or_dash(&host.docker).into(),
            or_dash(&host.compose).into(),
            host.cpus.to_string().into(),
            gib(host.memory_bytes).into(),
            format!("{} ({} GiB free)", gib(host.disk_bytes), host.disk_free_gib).into(),
        ])
    };
    let rows: Vec<[Cell; 8]> = nodes.iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let table = table(["NODE", "HOST", "AGENT", "DOCKER", "COMPOSE", "CPUS", "MEMORY", "DISK"], rows);
    format!("\n{table}{}", offers(nodes))
}

/// What the machines can do, in the words in which definitions promise it.
fn offers(nodes: &[NodeView]) -> String {
    let row = |node: &NodeView| {
        let offers = &node.host.as_ref()?.capabilities;
        let offers: Vec<String> = offers.iter().map(|offer| inert(offer)).collect();
        (!offers.is_empty()).then(|| [node.node.as_str().into(), offers.join(", ").into()])
    };
    let rows: Vec<[Cell; 2]> = nodes.iter().filter_map(row).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(["NODE", "CAPABILITIES"], rows)) }
}

fn is_done(instance: &InstanceView) -> bool {
    matches!(instance.state, InstanceState::Healthy | InstanceState::Stopped)
}

fn node_word(state: NodeState) -> (&'static str, Style) {
    match state {
        NodeState::Ok => ("ok", GOOD),
        NodeState::Pending => ("pending", WARN),
        NodeState::Failing => ("failing", BAD),
        NodeState::Stale => ("stale", WARN),
        NodeState::Never => ("never seen", WARN),
        NodeState::Undefined => ("undefined", DIM),
    }
}

pub(super) fn instance_word(state: InstanceState) -> (&'static str, Style) {
    match state {
        InstanceState::Healthy => ("healthy", GOOD),
        InstanceState::Stopped => ("stopped", DIM),
        InstanceState::Waiting => ("waiting", WARN),
        InstanceState::Pending => ("pending", WARN),
        InstanceState::Drifted => ("drifted", WARN),
        InstanceState::Applying => ("applying", WARN),
        InstanceState::Failed => ("failed", BAD),
        InstanceState::Removing => ("removing", WARN),
        InstanceState::Unknown => ("unknown", WARN),
        InstanceState::Orphan => ("orphan", DIM),
    }
}

fn instance_rows(node: &NodeView, now: Timestamp) -> Vec<[Cell; 6]> {
    let row = |instance: &InstanceView| {
        let (word, style) = instance_word(instance.state);
        let message = instance.message.as_deref().unwrap_or_default();
        let first = inert(message.lines().next().unwrap_or_default());
        [
            instance.service.as_str().into(),
            node.node.as_str().into(),
            Cell(word.into(), style),
            instance.since.map_or(String::new(), |at| since(at, now)).into(),
            format!("{}/{}", instance.running, instance.wanted).into(),
            first.into(),
        ]
    };
    node.instances.iter().map(row).collect()
}

/// What does not fit into a row: the rest of long messages, refused plans, hosts that cannot work.
fn details(nodes: &[NodeView]) -> String {
    let mut text = String::new();
    for node in nodes {
        if let Some(refusal) = &node.refused {
            let words = format!(
                "{} refused plan {}: {}",
                node.node,
                refusal.plan.generation,
                inert(&refusal.message)
            );
            text.push_str(&format!("\n{}\n", painted(BAD, &words)));
        }
        if let Some(problem) = node.host.as_ref().and_then(|host| host.problem.as_ref()) {
            text.push_str(&format!("\n{}\n", painted(BAD, &format!("{}: {}", node.node, inert(problem)))));
        }
        text.push_str(&promises(node));
        text.push_str(&orphans(node));
        for instance in node.instances.iter() {
            let message = instance.message.as_deref().unwrap_or_default();
            let rest = message.lines().skip(1).map(|line| format!("  {}\n", inert(line)));
            let rest = rest.chain(instance.drift.iter().map(drifted));
            let rest: Vec<String> = rest.chain(instance.outdated.iter().map(outdated)).collect();
            if !rest.is_empty() {
                text.push_str(&format!("\n{} on {}\n{}", instance.service, node.node, rest.concat()));
            }
        }
    }
    text
}

/// What a node's definition promises and its machine does not have.
pub fn promises(node: &NodeView) -> String {
    if node.unmet.is_empty() {
        return String::new();
    }
    let line = |unmet: &Unmet| {
        let found = unmet.found.as_deref().map_or("none".to_owned(), inert);
        format!("  {}: promised {}, found {found}\n", inert(&unmet.field), inert(&unmet.promised))
    };
    let head = painted(WARN, &format!("{} does not have all that its definition promises", node.node));
    let lines: String = node.unmet.iter().map(line).collect();
    format!("\n{head}\n{lines}  fix: mend the machine, or these fields of its definition\n")
}

fn orphans(node: &NodeView) -> String {
    match usize::try_from(node.orphans).unwrap_or(usize::MAX) {
        0 => String::new(),
        number => {
            let containers = count(number, "container");
            let node = &node.node;
            format!(
                "\n{containers} on {node} that no plan made, left alone: `gitops diff --live --node {node}` names them\n"
            )
        }
    }
}

fn drifted(difference: &Difference) -> String {
    format!("  {}\n", inert(&drift::told(difference)))
}

fn outdated(outdated: &OutdatedImage) -> String {
    let OutdatedImage { container, image, runs, now } = outdated;
    let short = |id: &str| inert(id).trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let (container, image) = (inert(container), inert(image));
    format!("  {container} runs {} as {image}, which is {} on the node by now\n", short(runs), short(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_runs_an_older_image_is_told_beside_its_instance() {
        let outdated = OutdatedImage {
            container: "web-app-1".into(),
            image: "shop/web:1".into(),
            runs: format!("sha256:{}", "a".repeat(64)).into(),
            now: format!("sha256:{}", "b".repeat(64)).into(),
        };
        let instance = InstanceView {
            outdated: vec![outdated],
            ..InstanceView::bare("web".parse().expect("a name"), InstanceState::Healthy)
        };
        let node = NodeView {
            instances: [instance].into(),
            ..NodeView::bare("edge-1".parse().expect("a name"), NodeState::Ok)
        };
        let expected = "\nweb on edge-1\n  web-app-1 runs aaaaaaaaaaaa as shop/web:1, \
                        which is bbbbbbbbbbbb on the node by now\n";
        assert_eq!(details(&[node]), expected);
    }
}
