//! How full nodes and environments are, and what everything costs, as text.

use anstyle::Style;

use super::table::{Cell, table};
use super::{BAD, DIM, GOOD, WARN, count, inert, painted};
use crate::capacity::{Capacity, NodeRoom, Total};
use crate::definition::{Bytes, Cpu, Money};
use crate::place::cost::Range;
use crate::place::room::{Fill, Room};

/// How many characters a bar has.
const BAR: usize = 8;
/// Longer names are cut, so that a line fits a terminal.
const NAME: usize = 20;

/// What is reserved and what is left, by environment and by node.
pub fn text(capacity: &Capacity) -> String {
    if capacity.nodes.is_empty() {
        return "no nodes are defined\n".into();
    }
    let mut text = String::new();
    if capacity.environments.iter().any(|environment| environment.environment.is_some()) {
        let rows = capacity.environments.iter().flat_map(|environment| {
            let name =
                environment.environment.as_ref().map_or("(none)".to_owned(), |name| cut(name.as_str()));
            let nodes = count(environment.nodes, "node");
            lines(
                [name, format!("{nodes}, {}", count(environment.room.instances, "instance"))],
                &environment.room,
            )
        });
        text.push_str(&table(["ENVIRONMENT", "", "WHAT", "RESERVED", "FREE"], rows.collect()));
        text.push('\n');
    }
    let rows = capacity.nodes.iter().flat_map(|node| {
        lines([cut(node.node.as_str()), count(node.room.instances, "instance")], &node.room)
    });
    text.push_str(&table(["NODE", "", "WHAT", "RESERVED", "FREE"], rows.collect()));
    text.push_str(&unstated(&capacity.nodes));
    text
}

/// A line for each thing that there is something to tell of; the first begins with what they are about.
fn lines(about: [String; 2], room: &Room) -> Vec<[Cell; 5]> {
    type Amount = fn(u64) -> String;
    let bytes: Amount = |amount| Bytes(amount).to_string();
    let number: Amount = |amount| amount.to_string();
    let fills: [(&str, Fill, Amount); 5] = [
        ("cpu", room.cpu_thousandths, |amount| Cpu(amount).to_string()),
        ("memory", room.memory_bytes, bytes),
        ("disk", room.disk_bytes, bytes),
        ("gpus", room.gpus, number),
        ("slots", room.slots, number),
    ];
    let told = fills.iter().filter(|(_, fill, _)| !fill.is_empty());
    let mut rows: Vec<[Cell; 5]> = told
        .map(|(what, fill, amount)| {
            let [reserved, free] = told_fill(fill, *amount);
            ["".into(), "".into(), (*what).into(), reserved, free]
        })
        .collect();
    if rows.is_empty() {
        rows.push(["".into(), "".into(), "-".into(), Cell("nothing is reserved".into(), DIM), "-".into()]);
    }
    let [name, words] = about;
    (rows[0][0], rows[0][1]) = (name.into(), Cell(words, DIM));
    rows
}

/// `████░░░░ 3.5 of 8` and `4.5`.
fn told_fill(fill: &Fill, amount: fn(u64) -> String) -> [Cell; 2] {
    let Fill { reserved, capacity, free, unmeasured } = *fill;
    if capacity == 0 {
        let all = reserved.saturating_add(unmeasured);
        return [format!("{:BAR$} {}", "", amount(all)).into(), Cell("not stated".into(), DIM)];
    }
    let beside = if unmeasured > 0 { format!(" + {}", amount(unmeasured)) } else { String::new() };
    let text = format!("{} {} of {}{beside}", bar(reserved, capacity), amount(reserved), amount(capacity));
    [Cell(text, style(reserved, capacity)), amount(free).into()]
}

/// Full only where all is reserved, empty only where nothing is.
fn bar(part: u64, whole: u64) -> String {
    let eighths = u128::from(part) * BAR as u128 / u128::from(whole.max(1));
    let full = usize::try_from(eighths).unwrap_or(BAR).clamp(usize::from(part > 0), BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn style(part: u64, whole: u64) -> Style {
    match u128::from(part) * 100 / u128::from(whole.max(1)) {
        0..75 => GOOD,
        75..95 => WARN,
        _ => BAD,
    }
}

fn cut(name: &str) -> String {
    match name.chars().count() {
        ..=NAME => name.to_owned(),
        _ => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}

/// Nodes that say nothing of their capacity.
fn unstated(nodes: &[NodeRoom]) -> String {
    let says_nothing = |node: &&NodeRoom| {
        let Room { cpu_thousandths, memory_bytes, disk_bytes, gpus, .. } = &node.room;
        [cpu_thousandths, memory_bytes, disk_bytes, gpus].iter().all(|fill| fill.capacity == 0)
    };
    let names: Vec<&str> = nodes.iter().filter(says_nothing).map(|node| node.node.as_str()).collect();
    let (verb, whom) = if names.len() == 1 { ("states", "it") } else { ("state", "them") };
    match names.as_slice() {
        [] => String::new(),
        names => format!(
            "\n{} {verb} no capacity, so nothing is ever full there: {}\n  fix: give {whom} `capacity: {{cpu: …, memory: …}}`\n",
            count(names.len(), "node"),
            some(names)
        ),
    }
}

/// The first of many names.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|name| cut(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What everything costs in a month: by service, by project, by environment, and in all.
pub fn costs(capacity: &Capacity) -> String {
    let Capacity { total, .. } = capacity;
    let currency = inert(&capacity.currency);
    if total.unpriced == capacity.nodes.len() {
        return "no node has a price\n  fix: give nodes `price:`, what each costs in a month\n".into();
    }
    let name = |name: Option<&str>| name.map_or("(none)".to_owned(), |name| cut(&inert(name)));
    let mut text = format!("What it costs in a month, in {currency}.\n\n");
    let rows = capacity.services.iter().map(|service| {
        let [low, high] = amounts(service.cost);
        let environment = service.id.environment.as_ref().map_or("-", |name| name.as_str());
        let project = service.project.as_deref().map_or("-".to_owned(), |project| name(Some(project)));
        let service_name = cut(service.id.service.as_str());
        [
            service_name.into(),
            cut(environment).into(),
            project.into(),
            service.instances.to_string().into(),
            low,
            high,
        ]
    });
    let head = ["SERVICE", "ENVIRONMENT", "PROJECT", "INSTANCES", "    LEAST", "     MOST"];
    text.push_str(&table(head, rows.collect()));
    if capacity.projects.iter().any(|project| project.project.is_some()) {
        let rows = capacity.projects.iter().map(|project| {
            let [low, high] = amounts(project.cost);
            [name(project.project.as_deref()).into(), project.services.to_string().into(), low, high]
        });
        text.push_str(&format!(
            "\n{}",
            table(["PROJECT", "SERVICES", "    LEAST", "     MOST"], rows.collect())
        ));
    }
    if capacity.environments.iter().any(|environment| environment.environment.is_some()) {
        let rows = capacity.environments.iter().map(|environment| {
            let [low, high] = amounts(environment.cost);
            let environment_name = environment.environment.as_ref().map(|name| name.as_str());
            [name(environment_name).into(), environment.nodes.to_string().into(), low, high]
        });
        text.push_str(&format!(
            "\n{}",
            table(["ENVIRONMENT", "NODES", "    LEAST", "     MOST"], rows.collect())
        ));
    }
    text.push_str(&in_all(total, &currency));
    text
}

fn amounts(range: Range) -> [Cell; 2] {
    [range.low, range.high].map(|amount| format!("{:>9}", amount).into())
}

fn in_all(total: &Total, currency: &str) -> String {
    let Total { nodes, services, idle, unpriced, budget } = total;
    let free = Money(services.high.0.saturating_sub(services.low.0));
    let mut text = format!("\nThe nodes cost {nodes} {currency} a month:\n");
    for (amount, words) in [
        (services.low, "reserved"),
        (free, "free, on nodes that something runs on"),
        (*idle, "nodes that nothing runs on"),
    ] {
        text.push_str(&format!("{amount:>11}  {words}\n"));
    }
    if let Some(budget) = budget {
        let share = u128::from(nodes.0) * 100 / u128::from(budget.0.max(1));
        let bar = painted(style(nodes.0, budget.0), &bar(nodes.0, budget.0));
        text.push_str(&format!("The budget is {budget} {currency}: {bar} {share} % of it is spent\n"));
    }
    match unpriced {
        0 => {}
        number => text.push_str(&format!("{} no `price`, and is not counted.\n", has(*number))),
    }
    text
}

fn has(number: usize) -> String {
    format!("{} {}", count(number, "node"), if number == 1 { "has" } else { "have" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_or_empty_only_where_the_thing_is() {
        let check = |part, whole, expected: &str| assert_eq!(bar(part, whole), expected, "{part} of {whole}");
        check(0, 8, "░░░░░░░░");
        check(1, 1000, "█░░░░░░░");
        check(35, 80, "███░░░░░");
        check(4, 8, "████░░░░");
        check(999, 1000, "███████░");
        check(8, 8, "████████");
        check(u64::MAX, 1, "████████");
        check(u64::MAX, u64::MAX, "████████");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(21)), format!("{}…", "x".repeat(19)));
    }
}
