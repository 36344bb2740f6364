//! How features stand, as text.

use std::collections::BTreeSet;

use anstyle::Style;

use super::table::{Cell, table};
use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted};
use crate::govern::standing::{Asking, Offering, Standing, User};
use crate::name::NodeName;

/// One line for each feature; with a node, what that node has of it.
pub fn list(features: &[&Standing], node: Option<&NodeName>) -> String {
    match node {
        None => {
            let row = |one: &&Standing| {
                let [feature, state, since, owner] = head_cells(one);
                [feature, state, since, owner, Cell::from(on_nodes(one)), used_by(one)]
            };
            table(
                ["FEATURE", "STATE", "SINCE", "OWNER", "NODES", "USED BY"],
                features.iter().map(row).collect(),
            )
        }
        Some(node) => {
            let row = |one: &&Standing| {
                let [feature, state, ..] = head_cells(one);
                let offering = one.nodes.iter().find(|offering| offering.node == *node);
                let here = |user: &&User| user.nodes.contains(node);
                let services = count(one.used_by.iter().filter(here).count(), "service");
                let [offered, lacks] = offering.map_or_else(|| ["-".into(), "-".into()], offering_cells);
                [feature, state, offered, Cell::from(services), lacks]
            };
            table(["FEATURE", "STATE", "HERE", "USED BY", "WHY NOT"], features.iter().map(row).collect())
        }
    }
}

fn head_cells(one: &Standing) -> [Cell; 4] {
    let since = one.since.clone().or_else(|| one.target_version.as_ref().map(|at| format!("for {at}")));
    [
        Cell::from(one.feature.to_string()),
        Cell(one.state.to_owned(), style(one.state)),
        or_dash(since.as_deref()),
        or_dash(one.owner.as_deref()),
    ]
}

fn style(state: &str) -> Style {
    match state {
        "implemented" => GOOD,
        "removed" => BAD,
        _ => WARN,
    }
}

fn or_dash(text: Option<&str>) -> Cell {
    Cell::from(text.map_or_else(|| "-".to_owned(), inert))
}

fn on_nodes(one: &Standing) -> String {
    let offering = one.nodes.iter().filter(|node| node.lacks.is_none()).count();
    if offering == one.nodes.len() {
        return "all".to_owned();
    }
    format!("{offering} of {}", one.nodes.len())
}

fn used_by(one: &Standing) -> Cell {
    let services: BTreeSet<_> = one.used_by.iter().map(|user| &user.service).collect();
    Cell::from(count(services.len(), "service"))
}

fn offering_cells(offering: &Offering) -> [Cell; 2] {
    match &offering.lacks {
        None => [Cell("yes".into(), GOOD), Cell::from("-")],
        Some(lacks) => [Cell("no".into(), BAD), Cell::from(inert(&unmarked(lacks)))],
    }
}

/// Code marks are for sentences; a table has room for the words alone.
fn unmarked(text: &str) -> String {
    text.replace('`', "")
}

/// All that there is to say of one feature.
pub fn text(one: &Standing) -> String {
    let mut text = head(one);
    let nodes: Vec<[Cell; 3]> = one
        .nodes
        .iter()
        .map(|offering| {
            let [offered, lacks] = offering_cells(offering);
            [Cell::from(offering.node.to_string()), offered, lacks]
        })
        .collect();
    if !nodes.is_empty() {
        text.push_str(&format!("\n{}", table(["NODE", "OFFERS IT", "WHY NOT"], nodes)));
    }
    text.push('\n');
    if one.used_by.is_empty() {
        text.push_str("no service uses it\n");
    } else {
        text.push_str(&table(["SERVICE", "ON", "BECAUSE"], one.used_by.iter().map(user).collect()));
    }
    if !one.controls.is_empty() {
        let rows = one.controls.iter().map(asking).collect();
        text.push_str(&format!("\n{}", table(["CONTROL", "WEIGHT", "ASKS", "OF"], rows)));
    }
    text.push('\n');
    match (one.state, one.without_it.is_empty()) {
        ("removed", _) => text.push_str("it was removed\n"),
        (_, true) => text.push_str("if it were removed, nothing would break\n"),
        (_, false) => {
            text.push_str(&format!("{}\n", painted(BOLD, "if it were removed")));
            one.without_it.iter().for_each(|line| text.push_str(&format!("  - {}\n", inert(line))));
        }
    }
    text
}

fn head(one: &Standing) -> String {
    let mut text = painted(BOLD, one.feature.as_str());
    if let Some(name) = &one.name {
        text.push_str(&format!("  {}", inert(name)));
    }
    text.push('\n');
    let state = painted(style(one.state), one.state);
    let fields = [
        ("state", Some(state)),
        ("since", one.since.as_deref().map(inert)),
        ("planned for", one.target_version.as_deref().map(inert)),
        ("goes after", one.remove_after.as_deref().map(inert)),
        ("replaced by", one.replaced_by.as_ref().map(ToString::to_string)),
        ("owner", one.owner.as_deref().map(inert)),
        ("docs", one.docs.as_deref().map(inert)),
        ("defined in", Some(inert(&one.defined))),
        ("needs", (!one.needs.is_empty()).then(|| inert(&one.needs.join(", ")))),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            text.push_str(&format!("  {}  {value}\n", painted(DIM, &format!("{field:<11}"))));
        }
    }
    text
}

fn user(user: &User) -> [Cell; 3] {
    let service = match &user.environment {
        Some(environment) => format!("{} in {environment}", user.service),
        None => user.service.to_string(),
    };
    let because = match &user.path {
        Some(path) => format!("{} has {}", user.place, inert(path)),
        None => format!("{} names it", user.place),
    };
    [Cell::from(service), Cell::from(names(&user.nodes)), Cell::from(inert(&because))]
}

fn asking(asking: &Asking) -> [Cell; 4] {
    let asks = if asking.required { "must be used" } else { "good to use" };
    [
        Cell::from(asking.control.to_string()),
        Cell::from(asking.enforcement),
        Cell::from(asks),
        Cell::from(names(&asking.of)),
    ]
}

/// So many names stand in one cell.
const MAX_NAMES: usize = 5;

fn names<T: ToString>(all: &[T]) -> String {
    let shown: Vec<String> = all.iter().take(MAX_NAMES).map(ToString::to_string).collect();
    match all.len().saturating_sub(MAX_NAMES) {
        _ if all.is_empty() => "-".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
