//! Other daemons over the same store, and a clock that is set.

use gitops_core::event::NewEvent;

use super::*;
use crate::store;

fn numbered(ids: std::ops::RangeInclusive<u64>) -> Vec<store::Event> {
    let event = |id| store::Event {
        id,
        event: NewEvent {
            at: at(0),
            kind: "sync.refused".into(),
            revision: None,
            node: None,
            service: None,
            message: "no".into(),
        },
    };
    ids.map(event).collect()
}

#[test]
fn what_another_daemon_wrote_is_read_with_the_next_look_at_the_source() {
    let mut case = Case::deployed();
    case.others_write = true;
    case.check(Event::Wake, "fetch, peek after 0");
    case.check(Event::Peeked(Ok(0)), "");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    case.check(Event::Wake, "fetch, peek after 0");
    case.check(Event::Peeked(Ok(3)), "reload");
    let plans = BTreeMap::from([(node("n"), plan("n", 4, None))]);
    let snapshot = Snapshot { plans, deployed: Some(rev('a')), last_event: 3, ..Snapshot::default() };
    case.reloaded(snapshot, "pass over a");
    assert_eq!(case.state.plans[&node("n")].generation, Generation(4));
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    case.check(Event::Wake, "fetch, peek after 3");
}

#[test]
fn a_gap_in_the_numbers_of_events_tells_of_another_daemon() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Done(numbered(2..=3)))), "reload");
}

#[test]
fn an_agent_that_speaks_to_another_daemon_holds_the_node_here_too() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.others_write = true;
    case.at(20).check(Event::Wake, "fetch, peek after 0");
    case.check(Event::Peeked(Ok(1)), "reload");
    let last = ReportedNode { status: status("n", "y", None), heard_at: at(19) };
    let reported = Reported { nodes: BTreeMap::from([(node("n"), last)]) };
    let snapshot = Snapshot { reported, deployed: Some(rev('a')), last_event: 1, ..Snapshot::default() };
    case.reloaded(snapshot, "pass over a");
    case.report(2, "x", &status("n", "x", None), "2: host-of-y since ever");
}

#[test]
fn a_later_start_of_an_agent_that_spoke_to_another_daemon_holds_the_node_although_a_copy_was_heard_here_since()
 {
    // Beside when the later start was heard, the copy here, and what it is told: the lease of the one goes on, or is over.
    for (heard_at, copy_at, expected) in
        [(19, 20, "2: a copy of host-of-x since ever"), (19, 49, "record 1, 2: received")]
    {
        let mut case = Case::deployed();
        let copy = status("n", "x 1-1", None);
        case.at(copy_at).report(1, "x 1-1", &copy, "record 1, 1: received, pass over a");
        case.check(Event::Passed(Outcome::default(), None), "");
        case.others_write = true;
        case.check(Event::Wake, "fetch, peek after 0");
        case.check(Event::Peeked(Ok(1)), "reload");
        let last = ReportedNode { status: status("n", "x 2-1", None), heard_at: at(heard_at) };
        let reported = Reported { nodes: BTreeMap::from([(node("n"), last)]) };
        let snapshot = Snapshot { reported, deployed: Some(rev('a')), last_event: 1, ..Snapshot::default() };
        case.reloaded(snapshot, "pass over a");
        case.report(2, "x 1-1", &copy, expected);
    }
}

#[test]
fn a_clock_that_is_set_back_moves_what_is_to_come_along() {
    const DAY: i64 = 86_400;
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    let left = case.state.next_tick().duration_since(at(0));
    case.at(-DAY).check(Event::Tick, "");
    assert_eq!(case.state.next_tick().duration_since(at(-DAY)), left, "nothing is due later than it was");
    case.report(2, "y", &status("n", "y", None), &format!("2: host-of-x since {}", -DAY));
    case.at(30 - DAY).report(3, "y", &status("n", "y", None), "record 1, 3: received, pass over a");
}

#[test]
fn what_was_heard_by_a_clock_that_was_ahead_holds_no_node_for_ever() {
    let last = ReportedNode { status: status("n", "x", None), heard_at: at(86_400) };
    let reported = Reported { nodes: BTreeMap::from([(node("n"), last)]) };
    let mut case = Case::over(Snapshot { reported, ..Snapshot::default() }, "fetch");
    case.report(1, "y", &status("n", "y", None), "1: host-of-x since ever");
    case.at(30).report(2, "y", &status("n", "y", None), "record 1, 2: received");
}
