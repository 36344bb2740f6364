//! What people hold, what waits for their approval, and who they are, as text.

use anstyle::Style;
use jiff::Timestamp;

use super::table::{Cell, table};
use super::{DIM, WARN, count, inert, painted, span};
use crate::decision::{AwaitingView, GuardedChange, Held, Hold, KeptHold, Needed, OperatorView, Part};

/// The changes of one plan that are spelled out. `gitops approvals -o json` has them all.
const MAX_CHANGES: usize = 10;

/// Holds as a table.
pub fn holds(holds: &[Hold], now: Timestamp) -> String {
    let rows = holds.iter().map(|hold| row(hold, ends(hold, now), now)).collect();
    table(HEAD, rows)
}

/// Holds as a table, with those that ended.
pub fn kept(holds: &[KeptHold], now: Timestamp) -> String {
    let ends = |KeptHold { hold, ended_at, ended_by }: &KeptHold| match ended_at {
        Some(at) => {
            let by = ended_by.as_deref().map_or(String::new(), |by| format!(" by {}", inert(by)));
            Cell(format!("ended {} ago{by}", span(now.duration_since(*at))), DIM)
        }
        None => ends(hold, now),
    };
    table(HEAD, holds.iter().map(|kept| row(&kept.hold, ends(kept), now)).collect())
}

const HEAD: [&str; 6] = ["HOLD", "WHAT", "BY", "SINCE", "UNTIL", "WHY"];

fn row(hold: &Hold, ends: Cell, now: Timestamp) -> [Cell; 6] {
    [
        hold.number.to_string().into(),
        hold.what.to_string().into(),
        inert(&hold.owner).into(),
        format!("{} ago", span(now.duration_since(hold.since))).into(),
        ends,
        inert(&hold.reason).into(),
    ]
}

fn ends(hold: &Hold, now: Timestamp) -> Cell {
    match hold.until {
        None => "somebody ends it".into(),
        Some(until) if hold.is_in_force(now) => {
            Cell(format!("in {}", span(until.duration_since(now))), Style::new())
        }
        Some(until) => Cell(format!("expired {} ago", span(now.duration_since(until))), WARN),
    }
}

/// The command that ends a hold.
pub fn end_of(hold: &Hold) -> String {
    match &hold.what {
        Held::Lock => "gitops unlock".to_owned(),
        Held::Suspend { on: Part::Service(name) } => format!("gitops resume service {name}"),
        Held::Suspend { on: Part::Node(name) } => format!("gitops resume node {name}"),
        Held::Suspend { on: Part::Environment(name) } => format!("gitops resume environment {name}"),
        Held::Pin { .. } => "gitops unpin".to_owned(),
        Held::Cordon { node } | Held::Drain { node, .. } => format!("gitops node uncordon {node}"),
    }
}

/// What waits for approval, with how each stands and what to do.
pub fn awaiting(awaiting: &[AwaitingView], now: Timestamp) -> String {
    awaiting.iter().map(|view| waiting(view, now)).collect::<Vec<_>>().join("\n")
}

fn waiting(view: &AwaitingView, now: Timestamp) -> String {
    let waits = &view.awaiting;
    let (plan, since) = (waits.plan.short(), span(now.duration_since(waits.since)));
    let head = format!("plan {plan} of commit {} waits for approval since {since}", waits.revision.short());
    let mut text = format!("{}\n", painted(WARN, &head));
    for change in waits.changes.iter().take(MAX_CHANGES) {
        text.push_str(&format!("  {}\n", change_text(change)));
    }
    if waits.changes.len() > MAX_CHANGES {
        text.push_str(&format!("  and {}\n", count(waits.changes.len() - MAX_CHANGES, "more change")));
    }
    for because in &waits.because {
        text.push_str(&format!("  why: {}\n", inert(because)));
    }
    for vote in &view.votes {
        let verb = if vote.approves { "approved" } else { "rejected" };
        let reason = vote.reason.as_ref().map_or(String::new(), |reason| format!(": {}", inert(reason)));
        let ago = span(now.duration_since(vote.at));
        text.push_str(&format!("  {} {verb} it {ago} ago{reason}\n", inert(&vote.by)));
    }
    if let Some(until) = waits.until {
        text.push_str(&format!("  it can be approved until {until:.0}\n"));
    }
    text.push_str(&format!("  {}\n", verdict(view)));
    text.push_str(&format!("  gitops approve {plan}   or   gitops reject {plan}\n"));
    text
}

fn change_text(change: &GuardedChange) -> String {
    let GuardedChange { node, service, from, to } = change;
    match (from, to) {
        (_, None) => format!("{service} goes from {node}"),
        (None, Some(_)) => format!("{service} comes to {node}"),
        (Some(_), Some(_)) => format!("{service} changes on {node}"),
    }
}

/// How the votes stand, in a sentence.
pub fn verdict(view: &AwaitingView) -> String {
    let tally = &view.tally;
    if !tally.rejected_by.is_empty() {
        let names: Vec<String> = tally.rejected_by.iter().map(|name| inert(name)).collect();
        return format!("rejected by {}: nothing is done until they say otherwise", names.join(", "));
    }
    match tally.is_approved() {
        true => "approved: it is done".to_owned(),
        false => format!("still needed: {}", needed(&tally.missing)),
    }
}

fn needed(missing: &Needed) -> String {
    let roles: Vec<String> = missing.roles.iter().map(|role| inert(role)).collect();
    let number = count(missing.approvals.max(roles.len()), "approval");
    match roles.is_empty() {
        true => number,
        false => format!("{number}, each as {}", roles.join(" or ")),
    }
}

/// The operators as a table.
pub fn operators(operators: &[OperatorView], now: Timestamp) -> String {
    let row = |view: &OperatorView| {
        let roles: Vec<&str> = view.roles.iter().map(|role| role.as_str()).collect();
        let roles = if roles.is_empty() { "-".to_owned() } else { roles.join(", ") };
        let since = format!("{} ago", span(now.duration_since(view.since)));
        [view.operator.as_str().into(), roles.into(), view.tokens.to_string().into(), since.into()]
    };
    table(["OPERATOR", "ROLES", "TOKENS", "SINCE"], operators.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use crate::decision::{Awaiting, Vote, plan_id};
    use crate::name::Digest;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_hold_is_told_with_who_why_and_until_when() {
        let since = Timestamp::UNIX_EPOCH;
        let now = since + SignedDuration::from_hours(2);
        let hold = |number, what, until: Option<i64>| Hold {
            number,
            what,
            reason: "new \u{1b}disks".into(),
            owner: "ada".into(),
            since,
            until: until.map(|hours| since + SignedDuration::from_hours(hours)),
        };
        let node = || "edge-1".parse().expect("a name");
        let shown = [
            hold(3, Held::Lock, None),
            hold(4, Held::Drain { node: node(), stop: false }, Some(3)),
            hold(5, Held::Suspend { on: Part::Node(node()) }, Some(1)),
        ];
        let expected = "\
HOLD  WHAT                      BY   SINCE   UNTIL             WHY
3     everything is locked      ada  2h ago  somebody ends it  new ·disks
4     node edge-1 is drained    ada  2h ago  in 1h             new ·disks
5     node edge-1 is suspended  ada  2h ago  expired 1h ago    new ·disks
";
        assert_eq!(plain(&holds(&shown, now)), expected);
        let commands = ["gitops unlock", "gitops node uncordon edge-1", "gitops resume node edge-1"];
        assert_eq!(shown.each_ref().map(end_of), commands);
        let hold = hold(6, Held::Lock, None);
        let ended = KeptHold { hold, ended_at: Some(now), ended_by: Some("grace".into()) };
        assert!(plain(&kept(&[ended], now)).contains("ended 0s ago by grace"));
    }

    #[test]
    fn what_waits_is_told_with_who_said_what_and_who_is_needed() {
        let at = Timestamp::UNIX_EPOCH;
        let change = GuardedChange {
            node: "edge-1".parse().expect("a name"),
            service: "db".parse().expect("a name"),
            from: Some(Digest::of("old")),
            to: None,
        };
        let (revision, changes) = ("a".repeat(40).parse().expect("a revision"), BTreeSet::from([change]));
        let plan = plan_id(&revision, &changes);
        let vote = Vote {
            plan,
            revision: revision.clone(),
            changes: changes.clone(),
            by: "ada".into(),
            roles: BTreeSet::new(),
            approves: true,
            reason: Some("backup is done".into()),
            at,
        };
        let awaiting = Awaiting {
            plan,
            revision,
            changes,
            because: vec!["`db` has volumes".into()],
            needed: Needed { approvals: 1, roles: ["dba".into()].into() },
            since: at,
            until: None,
            author_may: false,
        };
        let short = plan.short();
        let now = at + SignedDuration::from_secs(90);
        let view = AwaitingView::new(awaiting.clone(), std::slice::from_ref(&vote));
        let expected = format!(
            "plan {short} of commit aaaaaaaaaaaa waits for approval since 1m
  db goes from edge-1
  why: `db` has volumes
  ada approved it 1m ago: backup is done
  still needed: 1 approval, each as dba
  gitops approve {short}   or   gitops reject {short}
"
        );
        assert_eq!(plain(&super::awaiting(&[view], now)), expected);
        let no = Vote { approves: false, ..vote.clone() };
        let verdict = |votes: &[Vote]| verdict(&AwaitingView::new(awaiting.clone(), votes));
        assert_eq!(verdict(&[vote.clone(), no]), "rejected by ada: nothing is done until they say otherwise");
        let dba = Vote { by: "grace".into(), roles: ["dba".into()].into(), ..vote.clone() };
        assert_eq!(verdict(&[vote, dba]), "approved: it is done");
    }
}
