//! Looking at the source: what is held, what is invalid, what is tried again.

use super::*;

#[test]
fn a_rewind_is_held_until_it_is_accepted() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to a");
    case.check(Event::Compared(Ok(false)), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Held, "source.moved source.held"));
    let message = case.state.fleet().source.message.expect("why");
    assert!(message.contains("gitops sync --accept-rewind"), "{message}");

    case.ask(1, Request::Sync { accept_rewind: false, plan: None }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "1: f is Held");
    case.ask(2, Request::Sync { accept_rewind: true, plan: None }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "load f");
    case.check(Event::Loaded(Ok(Ok(definitions('f')))), "2: f is Ok, pass over f");
    case.check(Event::Passed(Outcome::default(), None), "publish 0 plans, deploying f");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep f");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.recovered release.finished"));
}

#[test]
fn a_held_rewind_is_forgotten_when_the_branch_comes_back() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to a");
    case.check(Event::Compared(Ok(false)), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!(
        (case.source(), &*case.told()),
        (SourceState::Ok, "source.moved source.held source.recovered")
    );
}

#[test]
fn what_mends_an_accepted_rewind_needs_no_second_word() {
    let mut case = Case::deployed();
    case.ask(1, Request::Sync { accept_rewind: true, plan: None }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('e')))), "load e");
    case.check(Event::Loaded(Ok(Err(mistakes()))), "1: e is Invalid");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to e");
    case.check(Event::Compared(Ok(true)), "load f");
}

#[test]
fn an_invalid_commit_keeps_the_last_good_definitions() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Err(mistakes()))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Invalid, "source.moved source.invalid"));
    assert_eq!(case.state.fleet().diagnostics, mistakes());
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");

    case.told.clear();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('c')))), "compare c to a");
    case.check(Event::Compared(Ok(true)), "load c");
    case.check(Event::Loaded(Ok(Ok(definitions('c')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.moved source.recovered"));
}

#[test]
fn a_source_that_does_not_answer_is_stale_and_tried_again_with_growing_pauses() {
    let mut case = Case::deployed();
    case.at(100).check(Event::Wake, "fetch");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        case.check(Event::Fetched(Err("no route to host".to_owned())), "");
        let next = case.state.next_tick();
        pauses.push(next.duration_since(at(case.now)).as_secs_f64().round() as i64);
        case.now = next.as_second() - 1_000_000 + 1;
        case.check(Event::Tick, "fetch");
    }
    assert!(pauses.is_sorted() && pauses[0] == 1 && (27..=33).contains(&pauses[6]), "{pauses:?}");
    assert_eq!((case.source(), &*case.told()), (SourceState::Stale, "source.stale"));
    let source = case.state.fleet().source;
    assert_eq!((source.checked_at, source.message.as_deref()), (Some(at(0)), Some("no route to host")));
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.recovered"));
}

#[test]
fn the_source_is_polled_and_each_interval_differs() {
    let mut case = Case::deployed();
    let mut spans = Vec::new();
    for _ in 0..20 {
        let next = case.state.next_tick();
        spans.push(next.duration_since(at(case.now)).as_millis());
        case.now = next.as_second() - 1_000_000 + 1;
        case.check(Event::Tick, "fetch");
        case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    }
    assert!(spans.iter().all(|span| (26_000..=33_000).contains(span)), "{spans:?}");
    spans.sort_unstable();
    spans.dedup();
    assert!(spans.len() > 10, "{spans:?}");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_polling() {
    let mut case = Case::deployed();
    case.at(-86_400).check(Event::Tick, "");
    case.at(33 - 86_400).check(Event::Tick, "fetch");
}

#[test]
fn a_sync_during_a_look_waits_for_the_next_one() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.ask(1, Request::Sync { accept_rewind: false, plan: None }, "");
    case.ask(2, Request::Sync { accept_rewind: false, plan: None }, "");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "1: a is Ok, 2: a is Ok");
}

#[test]
fn an_empty_repository_says_what_to_do() {
    let mut case = Case::new();
    case.check(Event::Fetched(Ok(None)), "");
    let message = case.state.fleet().source.message.expect("why");
    assert!(message.contains("push one"), "{message}");
}

#[test]
fn what_was_compared_with_an_older_base_is_compared_again() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Passed(Outcome::default(), None), "publish 0 plans, deploying b");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('c')))), "compare c to a");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep b");
    case.check(Event::Compared(Ok(true)), "compare c to b");
    case.check(Event::Compared(Ok(true)), "load c");
}
