//! Why a service is where it is, as text.

use std::collections::BTreeMap;

use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted};
use crate::definition::{Bytes, Cpu};
use crate::explain::{Asks, Explained, Explanation, Gpus, NodeExplained, Takes, Word};
use crate::place::{Code, Exclusion, Score};

/// Every deployment, each node with its mark: `✓` it runs there, `·` it could, `✗` it cannot.
pub fn text(explanation: &Explanation) -> String {
    let one = |explained| deployment(explanation.service.as_str(), explained);
    explanation.deployments.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn deployment(service: &str, explained: &Explained) -> String {
    let environment = explained.environment.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
    let mut text = format!("{} {}\n", painted(BOLD, &format!("{service}{environment}")), standing(explained));
    text.push_str(&format!("  each instance takes {}\n", takes(&explained.takes)));
    if let Some(cost) = explained.cost {
        let currency = inert(&explained.currency);
        let range = if cost.low == cost.high {
            cost.low.to_string()
        } else {
            format!("{} to {}", cost.low, cost.high)
        };
        text.push_str(&format!("  it costs {range} {currency} a month\n"));
    }
    let width = explained.nodes.iter().map(|node| node.node.as_str().chars().count()).max().unwrap_or(0);
    let width = width.min(MAX_NAME);
    for group in groups(&explained.nodes) {
        text.push_str(&lines(&group, width));
    }
    if let Some(change) = &explained.change {
        text.push_str(&format!(
            "  {} {change}\n",
            painted(WARN, "the smallest change that makes it fit on one more:")
        ));
    }
    text
}

/// Longer names go beyond their column.
const MAX_NAME: usize = 24;

fn standing(explained: &Explained) -> String {
    let placed = explained.placed;
    match explained.asks {
        Asks::Nothing => "runs nowhere: its `place` names no nodes and selects none".into(),
        Asks::Named(0) => "runs nowhere: it names no nodes".into(),
        Asks::Named(wanted) if placed == wanted => {
            format!("runs on the {} that it names", count(wanted, "node"))
        }
        Asks::Named(wanted) => {
            painted(BAD, &format!("names {}, and can run on {placed} of them", count(wanted, "node")))
        }
        Asks::All if placed == 0 => painted(BAD, "is for all nodes that fit, and none does"),
        Asks::All => format!("runs on all nodes that fit: {placed}"),
        Asks::Count(wanted) if placed >= wanted => format!("runs on {}", count(placed, "node")),
        Asks::Count(wanted) if placed == 0 => {
            painted(BAD, &format!("is to run on {}, and fits on none", count(wanted, "node")))
        }
        Asks::Count(wanted) => {
            painted(BAD, &format!("is to run on {}, and fits on {placed}", count(wanted, "node")))
        }
    }
}

fn takes(takes: &Takes) -> String {
    let Takes { cpu_thousandths, memory_bytes, disk_bytes, gpus, slot } = takes;
    let mut words = Vec::new();
    match cpu_thousandths {
        0 => {}
        1000 => words.push("1 core".to_owned()),
        some => words.push(format!("{} cores", Cpu(*some))),
    }
    words.extend((*memory_bytes > 0).then(|| format!("{} of memory", Bytes(*memory_bytes))));
    words.extend((*disk_bytes > 0).then(|| format!("{} of disk", Bytes(*disk_bytes))));
    words.extend(gpus.as_ref().map(gpu_words));
    words.extend(slot.as_ref().map(|slot| match &**slot {
        "any" => "a slot".to_owned(),
        name => format!("slot `{}`", inert(name)),
    }));
    match words.is_empty() {
        true => {
            "nothing that is counted: neither `resources:` nor limits in its Compose files say more".into()
        }
        false => words.join(", "),
    }
}

fn gpu_words(gpus: &Gpus) -> String {
    let number = gpus
        .count
        .map_or("all GPUs".to_owned(), |number| count(usize::try_from(number).unwrap_or(usize::MAX), "GPU"));
    let model = gpus.model.as_ref().map(|model| format!(" of model `{}`", inert(model))).unwrap_or_default();
    let memory = gpus.memory_bytes.map(|bytes| format!(" with {}", Bytes(bytes))).unwrap_or_default();
    format!("{number}{model}{memory}")
}

/// Nodes of which the very same is to be said, one after another.
fn groups(nodes: &[NodeExplained]) -> Vec<Vec<&NodeExplained>> {
    let mut groups: Vec<Vec<&NodeExplained>> = Vec::new();
    let mut excluded: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for node in nodes {
        let new = groups.len();
        let group = match node.verdict {
            Word::Excluded => *excluded.entry(reasons(&node.exclusions)).or_insert(new),
            Word::Chosen | Word::Fits => new,
        };
        match groups.get_mut(group) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    groups
}

/// Of a node that is not meant at all, nothing else is worth saying.
fn reasons(exclusions: &[Exclusion]) -> Vec<String> {
    let is_beside = |one: &&Exclusion| matches!(one.code, Code::NotNamed | Code::Environment);
    let told = match exclusions.iter().find(is_beside) {
        Some(one) => std::slice::from_ref(one),
        None => exclusions,
    };
    told.iter().map(|one| format!("{}: {}", one.code.as_str(), inert(&one.reason))).collect()
}

/// Of as many nodes of one group the names are shown.
const NAMES: usize = 3;

fn lines(group: &[&NodeExplained], width: usize) -> String {
    let first = group[0];
    let (mark, style) = match first.verdict {
        Word::Chosen => ("✓", GOOD),
        Word::Fits => ("·", DIM),
        Word::Excluded => ("✗", BAD),
    };
    let names: Vec<&str> = group.iter().take(NAMES).map(|node| node.node.as_str()).collect();
    let names = match group.len().saturating_sub(NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    };
    let said = match &first.score {
        Some(score) => vec![points(first.verdict, score)],
        None => reasons(&first.exclusions),
    };
    let mark = painted(style, mark);
    if group.len() == 1 {
        let pad = " ".repeat(width.saturating_sub(names.chars().count()));
        let next = format!("\n    {}  ", " ".repeat(width));
        return format!("  {mark} {names}{pad}  {}\n", said.join(&next));
    }
    let said: String = said.iter().map(|line| format!("      {line}\n")).collect();
    format!("  {mark} {names}\n{said}")
}

/// `runs here already; 312 points: preference 300, image 50, load -12, cost -26`.
fn points(verdict: Word, score: &Score) -> String {
    let before = [
        (score.sticky > 0).then(|| "an instance stands here".to_owned()),
        (score.prefer_no_schedule < 0).then(|| "its taints would rather keep it away".to_owned()),
        (score.spread < 0)
            .then(|| format!("{} on nodes like it", count(number(-score.spread), "other instance"))),
    ];
    let added = [
        ("preference", score.preference),
        ("image", score.image),
        ("load", score.load),
        ("cost", score.cost),
    ];
    let parts: Vec<String> =
        added.iter().filter(|(_, part)| *part != 0).map(|(name, part)| format!("{name} {part}")).collect();
    let sum = match parts.is_empty() {
        true => "0 points".to_owned(),
        false => format!("{} points: {}", score.points(), parts.join(", ")),
    };
    let word = if verdict == Word::Fits { Some("fits".to_owned()) } else { None };
    let words: Vec<String> = word.into_iter().chain(before.into_iter().flatten()).chain([sum]).collect();
    words.join("; ")
}

fn number(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
