//! The journal of a step: what became of a service on one node, when, how long it took, and why.
//!
//! Put together from what is kept: each change of the step with the release that brought it, what that release changed of
//! the service, and what the node's agent wrote down while it made it so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Release, StepRecord};
use crate::diff::Change;
use crate::log::{LogEntry, Speaker};
use crate::name::{NodeName, ServiceName};
use crate::plan::Reason;

/// The journal of a service on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// The service.
    pub service: ServiceName,
    /// The node.
    pub node: NodeName,
    /// What became of it, the newest first.
    pub steps: Vec<TraceStep>,
}

/// One change of the step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceStep {
    /// What changed, and when it was done.
    #[serde(flatten)]
    pub record: StepRecord,
    /// The first line of the commit that brought it, and who wrote it; none where the release is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<TraceCommit>,
    /// What the release changed of the service there, as far as that is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
    /// What the agent did from then until the next change, as far as its lines are kept; the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

/// Whose change it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceCommit {
    /// The author.
    pub author: String,
    /// The first line of the message.
    pub subject: String,
}

/// One try of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// When it began, by the node's clock.
    #[schemars(with = "String")]
    pub began_at: Timestamp,
    /// When its last line was written.
    #[schemars(with = "String")]
    pub ended_at: Timestamp,
    /// What the agent said of it. What Docker Compose printed, `gitops logs` shows.
    pub lines: Vec<String>,
}

/// What is known of releases, by number: each with what it changed of the service.
pub type Brought = BTreeMap<u64, (Release, Vec<Change>)>;

/// Puts the journal together. `steps` stand the newest first, `logs` the oldest first.
pub fn trace(
    service: ServiceName,
    node: NodeName,
    steps: Vec<StepRecord>,
    brought: &Brought,
    logs: &[LogEntry],
) -> Trace {
    let mut next = u64::MAX;
    let mut journal = Vec::with_capacity(steps.len());
    let returns: Vec<bool> =
        (0..steps.len()).map(|index| is_return(&steps[index], &steps[index + 1..])).collect();
    for (record, is_return) in steps.into_iter().zip(returns) {
        let generation = record.change.generation.0;
        let lines = logs.iter().filter(|entry| (generation..next).contains(&entry.line.generation.0));
        let attempts = attempts(lines);
        let release = record.release.and_then(|number| brought.get(&number));
        let commit = release.and_then(|(release, _)| release.release.commit.as_ref());
        let commit = commit
            .map(|commit| TraceCommit { author: commit.author.clone(), subject: commit.subject.clone() });
        let changes = release.into_iter().flat_map(|(_, changes)| changes);
        let here = changes.filter(|change| change.nodes.contains(&node));
        let because = match release.filter(|_| is_return) {
            Some((release, _)) => vec![undone(release)],
            None => here.flat_map(|change| change.because.iter().cloned()).collect(),
        };
        journal.push(TraceStep { record, commit, because, attempts });
        next = generation;
    }
    Trace { service, node, steps: journal }
}

/// Whether its release took back what it had changed: what stood before it is there again.
fn is_return(record: &StepRecord, older: &[StepRecord]) -> bool {
    let is_other = |other: &&StepRecord| other.release != record.release;
    let has_changed = older.first().is_some_and(|last| !is_other(&last));
    let before = older.iter().find(is_other).and_then(|before| before.change.digest);
    record.release.is_some() && has_changed && record.change.digest == before
}

fn undone(release: &Release) -> Reason {
    let failed = release.failed.as_ref().map_or("failed", |failed| &failed.reason);
    Reason { field: "release".into(), old: Some(failed.into()), new: Some("undone".into()), source: None }
}

fn attempts<'a>(lines: impl Iterator<Item = &'a LogEntry>) -> Vec<Attempt> {
    let mut attempts = BTreeMap::<Timestamp, Attempt>::new();
    for LogEntry { line, .. } in lines {
        let none = || Attempt { began_at: line.attempt, ended_at: line.at, lines: Vec::new() };
        let attempt = attempts.entry(line.attempt).or_insert_with(none);
        attempt.ended_at = attempt.ended_at.max(line.at);
        if line.from == Speaker::Agent {
            attempt.lines.push(line.text.clone());
        }
    }
    attempts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{StepChange, StepEffect};
    use super::*;
    use crate::log::LogLine;
    use crate::name::Generation;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn record(generation: u64) -> StepRecord {
        let change = StepChange {
            wave: 0,
            node: "edge-1".parse().expect("a name"),
            service: "web".parse().expect("a name"),
            generation: Generation(generation),
            digest: None,
            effect: StepEffect::Recreate,
        };
        StepRecord { change, release: None, published_at: None, satisfied_at: None }
    }

    fn line(generation: u64, attempt: i64, second: i64, from: Speaker, text: &str) -> LogEntry {
        let line = LogLine {
            service: "web".parse().expect("a name"),
            generation: Generation(generation),
            attempt: at(attempt),
            seq: 1,
            at: at(second),
            from,
            text: text.to_owned(),
        };
        LogEntry { id: 1, node: "edge-1".parse().expect("a name"), line }
    }

    #[test]
    fn an_attempt_belongs_to_the_change_that_was_in_force() {
        let logs = [
            line(2, 10, 11, Speaker::Agent, "too old to be told of"),
            line(3, 20, 20, Speaker::Agent, "recreate"),
            line(3, 20, 25, Speaker::Compose, "Container web Started"),
            line(4, 30, 31, Speaker::Agent, "heal"),
            line(7, 40, 42, Speaker::Agent, "recreate again"),
        ];
        let (service, node) = ("web".parse().expect("a name"), "edge-1".parse().expect("a name"));
        let trace = trace(service, node, vec![record(7), record(3)], &Brought::new(), &logs);
        let told = |step: &TraceStep| {
            let attempt = |attempt: &Attempt| {
                let seconds = attempt.ended_at.duration_since(attempt.began_at).as_secs();
                format!("{} in {seconds}s", attempt.lines.join(", "))
            };
            step.attempts.iter().map(attempt).collect::<Vec<_>>()
        };
        assert_eq!(told(&trace.steps[0]), ["recreate again in 2s"]);
        assert_eq!(told(&trace.steps[1]), ["recreate in 5s", "heal in 1s"]);
    }
}
