//! Questions that are answered beside the loop.

use gitops_core::tree::patch::Patch;

use super::*;
use crate::api::wire::{DiffRequest, Only};

fn against(base: Option<char>) -> Request {
    let changes = Some(Patch::default());
    Request::Diff(Box::new(DiffRequest { base: base.map(rev), changes, ..DiffRequest::default() }))
}

fn drift() -> Request {
    Request::Drift(Only::default())
}

#[test]
fn two_run_a_few_wait_and_the_rest_are_told_to_come_back() {
    let mut case = Case::deployed();
    case.ask(1, drift(), "study 1");
    case.ask(2, against(Some('a')), "study 2");
    for ticket in 3..9 {
        case.ask(ticket, drift(), "");
    }
    case.ask(9, drift(), "9: busy");
    case.check(Event::Studied(1, Answer::Busy), "1: busy, study 3");
    case.ask(10, drift(), "");
    case.check(
        Event::Shutdown,
        "4: stopping, 5: stopping, 6: stopping, 7: stopping, 8: stopping, 10: stopping",
    );
    case.check(Event::Studied(2, Answer::Busy), "2: busy");
}

#[test]
fn changes_are_taken_against_what_is_deployed_and_nothing_else() {
    let mut case = Case::deployed();
    case.ask(1, against(Some('b')), "1: a is deployed");
    case.ask(2, against(None), "2: a is deployed");
    let pushed = DiffRequest { revision: Some(rev('b')), ..DiffRequest::default() };
    case.ask(3, Request::Diff(Box::new(pushed)), "study 3");
    let mut case = Case::new();
    case.ask(4, against(Some('b')), "4: nothing is deployed");
    case.ask(5, against(None), "study 5");
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::over(snapshot, "load a");
    case.ask(6, against(Some('a')), "6: not ready");
}

#[test]
fn what_waited_while_something_was_deployed_is_taken_against_that() {
    let mut case = Case::deployed();
    for ticket in 1..=2 {
        case.ask(ticket, drift(), &format!("study {ticket}"));
    }
    case.ask(3, against(Some('a')), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Studied(1, Answer::Done), "1: done, 3: b is deployed");
}

#[test]
fn how_the_source_stands_is_told_at_once() {
    Case::deployed().ask(1, Request::Source, "1: source");
}
