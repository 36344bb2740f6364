//! The journal of a service on a node, as text.

use super::diff::reason_text;
use super::release::moment;
use super::{BOLD, DIM, GOOD, WARN, inert, painted, span};
use crate::release::{Attempt, StepEffect, Trace, TraceStep};

/// The newest first.
pub fn text(trace: &Trace) -> String {
    let steps = trace.steps.iter().enumerate();
    steps.map(|(age, of_age)| step(of_age, age == 0)).collect::<Vec<_>>().join("\n")
}

fn step(step: &TraceStep, is_newest: bool) -> String {
    let record = &step.record;
    let head = format!("generation {}  {}", record.change.generation, effect(record.change.effect));
    let release = record.release.map_or(String::new(), |number| format!("  release {number}"));
    let mut text = format!("{}{release}\n", painted(BOLD, &head));
    if let Some(commit) = &step.commit {
        text.push_str(&format!("  {}: {}\n", inert(&commit.author), inert(&commit.subject)));
    }
    for reason in &step.because {
        text.push_str(&format!("  {}\n", reason_text(reason)));
    }
    let published = record.published_at.map_or("at an unknown time".to_owned(), moment);
    let done = match (record.published_at, record.satisfied_at) {
        (Some(published), Some(done)) => {
            painted(GOOD, &format!("done after {}", span(done.duration_since(published))))
        }
        (None, Some(done)) => painted(GOOD, &format!("done {}", moment(done))),
        (_, None) if is_newest => painted(WARN, "not done yet"),
        (_, None) => painted(WARN, "never done"),
    };
    text.push_str(&format!("  planned {published}, {done}\n"));
    text + &step.attempts.iter().map(attempt).collect::<String>()
}

fn attempt(attempt: &Attempt) -> String {
    let took = attempt.ended_at.duration_since(attempt.began_at);
    let head = format!("{}  {}ms", moment(attempt.began_at), took.as_millis().max(0));
    let mut text = format!("    {}\n", painted(DIM, &head));
    for line in &attempt.lines {
        text.push_str(&format!("      {}\n", inert(line)));
    }
    text
}

fn effect(effect: StepEffect) -> &'static str {
    match effect {
        StepEffect::Nothing => "no container changes",
        StepEffect::Adjust => "adjust",
        StepEffect::Create => "create",
        StepEffect::Restart => "restart",
        StepEffect::Recreate => "recreate",
        StepEffect::Remove => "remove",
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::name::Generation;
    use crate::plan::Reason;
    use crate::release::{StepChange, StepRecord, TraceCommit};

    #[test]
    fn a_journal_says_what_when_how_long_and_why() {
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let (service, node) = ("web".parse().expect("a name"), "edge-1".parse().expect("a name"));
        let change = StepChange {
            wave: 0,
            node,
            service,
            generation: Generation(4),
            digest: None,
            effect: StepEffect::Recreate,
        };
        let record = StepRecord {
            change: change.clone(),
            release: Some(2),
            published_at: Some(at(0)),
            satisfied_at: Some(at(70)),
        };
        let reason = Reason {
            field: "services.web.image".into(),
            old: Some("nginx:1.27".into()),
            new: Some("nginx:1.28".into()),
            source: None,
        };
        let lines = vec!["recreate web-web-1\u{1b}".to_owned()];
        let attempts = vec![Attempt { began_at: at(1), ended_at: at(3), lines }];
        let commit = Some(TraceCommit { author: "Ada".to_owned(), subject: "web: nginx 1.28".to_owned() });
        let step = TraceStep { record, commit, because: vec![reason], attempts };
        let trace = Trace { service: change.service, node: change.node, steps: vec![step] };
        let expected = "\
generation 4  recreate  release 2
  Ada: web: nginx 1.28
  services.web.image: nginx:1.27 → nginx:1.28
  planned 1970-01-01T00:00:00Z, done after 1m
    1970-01-01T00:00:01Z  2000ms
      recreate web-web-1·
";
        assert_eq!(anstream::adapter::strip_str(&text(&trace)).to_string(), expected);
    }
}
