//! The words for what a diff holds, the same in every form.

use std::sync::Arc;

use super::super::count;
use crate::diff::{Change, ChangeKind, CostChange, Diff, Effect, Ignored, NewCapability, Risk, Turn};
use crate::name::{EnvironmentName, NodeName, ServiceName};
use crate::plan::Reason;
use crate::sensitive::HIDDEN;

/// `Plan: 2 to create, 1 to update, 1 to recreate, 1 to move, 0 to remove, 37 unchanged, over 3 nodes`.
pub fn summary(diff: &Diff) -> String {
    let crate::diff::Summary { create, update, recreate, moved, remove, unchanged, nodes } = diff.summary;
    format!(
        "Plan: {create} to create, {update} to update, {recreate} to recreate, {moved} to move, {remove} to remove, \
         {unchanged} unchanged, over {}",
        count(nodes, "node"),
    )
}

/// What a field was and is, in words where both are hidden: `(none) → debug`, `(hidden), changed`.
pub(super) fn values(reason: &Reason, shown: impl Fn(&str) -> String) -> String {
    let side = |value: &Option<Arc<str>>| value.as_deref().map_or("(none)".to_owned(), &shown);
    match (reason.old.as_deref(), reason.new.as_deref()) {
        (Some(HIDDEN), Some(HIDDEN)) => format!("{HIDDEN}, changed"),
        _ => format!("{} → {}", side(&reason.old), side(&reason.new)),
    }
}

/// A sign and a verb.
pub(super) fn kind(kind: ChangeKind) -> (&'static str, &'static str) {
    match kind {
        ChangeKind::Create => ("+", "create"),
        ChangeKind::Update => ("~", "update"),
        ChangeKind::Recreate => ("±", "recreate"),
        ChangeKind::Move => ("→", "move"),
        ChangeKind::Remove => ("-", "remove"),
    }
}

/// What happens to the containers of a Compose service: `is recreated`.
pub(super) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Create => "is created",
        Effect::Recreate => "is recreated",
        Effect::Restart => "is restarted",
        Effect::Scale => "changes its number of containers",
        Effect::Switch => "is started or stopped",
        Effect::Remove => "is removed",
    }
}

/// Where a change happens: `edge-1`, or `on 120 nodes (n-000, n-001, n-002 and 117 more)`.
pub(super) fn nodes(nodes: &[NodeName]) -> String {
    match nodes {
        [node] => node.to_string(),
        nodes => format!("on {} ({})", count(nodes.len(), "node"), some(nodes)),
    }
}

/// `a, b, c and 2 more`.
pub(super) fn some<T: std::fmt::Display>(names: &[T]) -> String {
    const MAX: usize = 3;
    let named: Vec<String> = names.iter().take(MAX + 1).map(ToString::to_string).collect();
    match names.len() {
        0..=MAX => named.join(", "),
        4 => named.join(", "),
        more => format!("{} and {} more", named[..MAX].join(", "), more - MAX),
    }
}

/// Where it was before: ` from edge-1`, `, which was web`.
pub(super) fn origin(change: &Change) -> String {
    let Some(from) = &change.from else { return String::new() };
    let name = from.service.as_ref().map(|name| format!(", which was {name}")).unwrap_or_default();
    match from.nodes.as_slice() {
        [] => name,
        nodes => format!("{name} from {}", some(nodes)),
    }
}

/// The environment of a service that names its own: ` in production`.
fn within(environment: Option<&EnvironmentName>) -> String {
    environment.map(|name| format!(" in {name}")).unwrap_or_default()
}

fn across(nodes: usize) -> String {
    if nodes == 1 { String::new() } else { format!(" on {}", count(nodes, "node")) }
}

/// A risk in a sentence without its end.
pub(super) fn risk(risk: &Risk) -> String {
    match risk {
        Risk::Restart { service, containers, nodes, seconds } => {
            restart(service, containers, *nodes, *seconds)
        }
        Risk::Removal { service, nodes, containers, .. } if !containers.is_empty() => {
            format!("{service} loses {}{}", some(containers), across(*nodes))
        }
        Risk::Removal { service, nodes, entirely: true, .. } => {
            format!("{service} is removed{}", across(*nodes))
        }
        Risk::Removal { service, nodes, .. } => {
            format!("{service} is removed from {}, and stays on others", count(*nodes, "node"))
        }
        Risk::VolumesLeft { service, volumes, begins_anew, nodes } => {
            let then = if *begins_anew { "; it begins without what they hold" } else { "" };
            format!("{service} leaves volumes behind{}: {}{then}", across(*nodes), some(volumes))
        }
        Risk::Renamed { from, service } => {
            format!("{from} looks renamed to {service}: its containers are made anew under that name")
        }
        Risk::Capability { service, capability, nodes } => {
            format!("{service} {}{}", self::capability(capability), across(*nodes))
        }
        Risk::Unmet { service, environment, control, enforcement, missing, any_more } => {
            let missing = if missing.is_empty() { String::new() } else { format!(": {}", some(missing)) };
            let within = within(environment.as_ref());
            let any_more = if *any_more { " any more" } else { "" };
            format!("{service} does not meet {control} ({enforcement}){any_more}{within}{missing}")
        }
        Risk::Capacity { node, resource, before, after } => {
            format!("{node} fills up: {resource} {before} % → {after} %")
        }
        Risk::Budget { threshold: 100, cost, budget } => {
            format!("the nodes cost {cost} a month, more than the budget of {budget}")
        }
        Risk::Budget { threshold, cost, budget } => {
            format!("the nodes cost {cost} a month, over {threshold} % of the budget of {budget}")
        }
        Risk::Approval { service, control, rule } => {
            format!("{service} lives by an approval: it need not keep rule {rule} of {control}")
        }
        Risk::Awaits { service, approvals, roles, why, nodes } => {
            let who = service.as_ref().map_or("all of it", |service| service.as_str());
            let across = if service.is_some() { across(*nodes) } else { String::new() };
            format!("{who} waits for {}{across}: {why}", approval(*approvals, roles))
        }
        Risk::Held { service, containers, nodes } => {
            let (across, anew) = (across(*nodes), some(containers));
            format!(
                "{service} is held back{across}: its roll-out makes no container anew, and {anew} would be"
            )
        }
        Risk::Window { service, window, denies, reason, until, nodes } => {
            let until = until.map_or(String::new(), |until| format!(" until {until}"));
            let how = if *denies { "denies changes" } else { "is closed" };
            format!("{service} waits{}: window {window} {how}{until}: {reason}", across(*nodes))
        }
    }
}

/// `an approval`, `2 approvals of ops or lead`.
fn approval(number: usize, roles: &[Arc<str>]) -> String {
    let what = if number == 1 { "an approval".to_owned() } else { format!("{number} approvals") };
    let roles = roles.iter().map(|role| &**role).collect::<Vec<_>>().join(" or ");
    if roles.is_empty() { what } else { format!("{what} of {roles}") }
}

fn restart(service: &ServiceName, containers: &[Arc<str>], nodes: usize, seconds: Option<u64>) -> String {
    let verb = if containers.len() == 1 { "restarts" } else { "restart" };
    let time = seconds.map(|seconds| format!(", about {seconds} s by past releases")).unwrap_or_default();
    format!("{service}: {} {verb}{}{time}", some(containers), across(nodes))
}

/// `uses capability docker-socket (granted by controls/edge.yaml: reads container events, until 2027-01-31)`
pub(super) fn capability(new: &NewCapability) -> String {
    let until = new.until.as_ref().map(|day| format!(", until {day}")).unwrap_or_default();
    let reason = new.reason.as_deref().unwrap_or_default();
    let grant = match &new.granted_by {
        Some(path) => format!("granted by {path}: {reason}{until}"),
        None => "not granted".to_owned(),
    };
    format!("uses capability {} ({grant})", new.capability)
}

/// `payments in production: met → not met`
pub(super) fn turn(turn: &Turn) -> String {
    let side = |side: &Option<Arc<str>>| side.as_deref().unwrap_or("not asked for").to_owned();
    let within = within(turn.environment.as_ref());
    format!("{}{within}: {} → {}", turn.service, side(&turn.before), side(&turn.after))
}

/// `Cost a month: nodes 120.00 → 140.00 EUR; services 80.00 to 120.00 → 95.00 to 140.00 EUR`
pub(super) fn cost(cost: &CostChange) -> String {
    let CostChange { currency, before, after, .. } = cost;
    let services = |cost: &crate::diff::Cost| format!("{} to {}", cost.reserved, cost.used);
    let change = |before: String, after: String| match before == after {
        true => before,
        false => format!("{before} → {after}"),
    };
    format!(
        "Cost a month: nodes {} {currency}; services {} {currency}",
        change(before.nodes.to_string(), after.nodes.to_string()),
        change(services(before), services(after))
    )
}

/// `web: 3 changes of services.app.labels.build are ignored: a build stamp`
pub(super) fn ignored(ignored: &Ignored) -> String {
    let Ignored { service, path, reason, changes } = ignored;
    let verb = if *changes == 1 { "is" } else { "are" };
    format!("{service}: {} of {path} {verb} ignored: {reason}", count(*changes, "change"))
}

/// What is said of a file: `nginx.conf is changed`.
pub(super) fn file(file: &crate::diff::FileChange) -> String {
    use crate::diff::FileChangeKind::{Added, Changed, Mode, Removed};
    let size = |size: Option<u64>| size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
    let mode = match file.executable {
        Some(true) => "can be executed now",
        Some(false) => "cannot be executed any more",
        None => "",
    };
    match file.kind {
        Added => format!("is new{}", size(file.new_size)),
        Changed => {
            let sizes = file.old_size.zip(file.new_size);
            let sizes = sizes.map(|(old, new)| format!(" ({old} bytes → {new} bytes)")).unwrap_or_default();
            let and = if mode.is_empty() { "" } else { " and " };
            format!("changed{sizes}{and}{mode}")
        }
        Mode => mode.to_owned(),
        Removed => format!("is gone{}", size(file.old_size)),
    }
}
