//! Deploying by hand, and only what was seen.

use super::*;

fn by_hand() -> Policy {
    Policy { deploy: Deploy::Manual, ..policy() }
}

/// What a pass over `letter` comes to, with its id.
fn outcome(letter: char, generation: u64) -> (Outcome, Digest) {
    let outcome = Outcome { plans: vec![plan("n", generation, None)], ..Outcome::default() };
    let id = outcome.id(&rev(letter));
    (outcome, id)
}

fn sync(plan: Option<Digest>) -> Request {
    Request::Sync { accept_rewind: false, plan }
}

fn published() -> Event {
    Event::Published(Ok(Published::Done(Vec::new())))
}

/// With `a` deployed, and `b` seen and waiting.
fn waiting() -> Case {
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::under(by_hand(), snapshot, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Waiting, "source.moved source.waiting"));
    case
}

/// A round of the operator, up to the pass.
fn look(case: &mut Case, ticket: Ticket, plan: Option<Digest>, expected: &str) {
    case.ask(ticket, sync(plan), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), expected);
}

#[test]
fn by_hand_a_new_revision_waits_and_is_read_once() {
    let mut case = waiting();
    let message = case.state.fleet().source.message.expect("why");
    assert!(message.contains("`gitops sync` deploys it"), "{message}");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");
    // What is deployed goes on.
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    look(&mut case, 2, None, "2: b is Ok, pass over b");
    case.check(Event::Passed(outcome('b', 1).0, None), "publish 1 plans, deploying b");
    case.check(published(), "keep b");
    assert_eq!(case.told(), "node.joined release.finished");
    // And what was synced goes on by itself.
    case.report(3, "x", &status("o", "x", None), "record 1, 3: received, pass over b");
}

#[test]
fn by_hand_also_the_first_revision_waits_and_one_with_mistakes_is_shown() {
    let mut case = Case::under(by_hand(), Snapshot::default(), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "");
    assert_eq!(case.source(), SourceState::Waiting);
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "load b");
    case.check(Event::Loaded(Ok(Err(mistakes()))), "");
    assert_eq!(case.source(), SourceState::Invalid);
    case.ask(1, sync(None), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "1: b is Invalid");
}

#[test]
fn a_plan_that_is_what_was_asked_for_is_deployed_and_then_answered() {
    let mut case = waiting();
    let (outcome, id) = outcome('b', 1);
    look(&mut case, 1, Some(id), "pass over b");
    case.check(Event::Passed(outcome, None), "publish 1 plans, deploying b");
    case.check(published(), "keep b, 1: b is Ok");
    assert_eq!(case.state.fleet().source.deployed, Some(rev('b')));
    assert_eq!(case.source(), SourceState::Ok);
    case.report(2, "x", &status("n", "x", None), "record 1, 2: received, pass over b");
}

#[test]
fn a_plan_that_is_another_by_now_changes_nothing_and_is_told() {
    let mut case = waiting();
    look(&mut case, 1, Some(Digest::of("seen")), "pass over b");
    // What is wanted meanwhile is not forgotten.
    case.report(2, "x", &status("n", "x", None), "record 1, 2: received");
    case.check(Event::Passed(outcome('b', 1).0, None), "1: b is another plan, pass over a");
    assert_eq!((case.source(), &*case.told()), (SourceState::Waiting, "node.joined sync.refused"));
    assert_eq!(case.state.fleet().source.deployed, Some(rev('a')));
    assert!(case.state.plans.is_empty());
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");
}

#[test]
fn of_many_who_ask_each_is_answered_by_what_it_asked_for() {
    let mut case = waiting();
    let (outcome, id) = outcome('b', 1);
    case.check(Event::Wake, "fetch");
    case.ask(1, sync(Some(Digest::of("seen"))), "");
    case.ask(2, sync(Some(id)), "");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Passed(outcome, None), "1: b is another plan, publish 1 plans, deploying b");
    case.check(published(), "keep b, 2: b is Ok");
}

#[test]
fn who_wants_it_whatever_it_does_gets_it_beside_one_who_does_not() {
    let mut case = waiting();
    case.check(Event::Wake, "fetch");
    case.ask(1, sync(Some(Digest::of("seen"))), "");
    case.ask(2, sync(None), "");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Passed(outcome('b', 1).0, None), "1: b is another plan, publish 1 plans, deploying b");
    case.check(published(), "keep b, 2: b is Ok");
}

#[test]
fn a_plan_of_what_is_deployed_already_needs_nothing_published() {
    let mut case = Case::deployed();
    let nothing = Outcome::default().id(&rev('a'));
    case.ask(1, sync(Some(nothing)), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "1: a is Ok");
    case.ask(2, sync(Some(Digest::of("old"))), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "2: a is another plan");
    assert_eq!(case.source(), SourceState::Ok);
}

#[test]
fn where_pushes_deploy_themselves_a_refused_plan_waits_for_the_next_look_only() {
    let mut case = Case::deployed();
    look(&mut case, 1, Some(Digest::of("seen")), "pass over b");
    case.check(Event::Passed(outcome('b', 1).0, None), "1: b is another plan, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
}

#[test]
fn what_another_daemon_published_meanwhile_makes_it_another_plan() {
    let mut case = waiting();
    let (first, id) = outcome('b', 1);
    look(&mut case, 1, Some(id), "pass over b");
    case.check(Event::Passed(first, None), "publish 1 plans, deploying b");
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let plans = BTreeMap::from([(node("n"), plan("n", 4, None))]);
    let snapshot = Snapshot { plans, deployed: Some(rev('a')), ..Snapshot::default() };
    case.reloaded(snapshot, "pass over b");
    let touched = gitops_core::reconcile::preview::Touched {
        from: Some(PlanId::of(&plan("n", 4, None))),
        gets: None,
        held: BTreeMap::new(),
        accepted: None,
        undone: BTreeSet::new(),
    };
    let touched = [(node("n"), touched)].into();
    let second = Outcome { plans: vec![plan("n", 5, None)], touched, ..Outcome::default() };
    case.check(Event::Passed(second, None), "1: b is another plan, pass over a");
}

#[test]
fn a_trial_ends_with_the_store_with_another_revision_and_with_the_daemon() {
    let begun = || {
        let mut case = waiting();
        let (outcome, id) = outcome('b', 1);
        look(&mut case, 1, Some(id), "pass over b");
        case.check(Event::Passed(outcome, None), "publish 1 plans, deploying b");
        case
    };
    let mut case = begun();
    case.check(Event::Published(Err("disk full".to_owned())), "1: not stored");
    case.at(1).check(Event::Tick, "reload");
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    case.reloaded(snapshot, "pass over a");

    let mut case = begun();
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let snapshot = Snapshot { deployed: Some(rev('c')), ..Snapshot::default() };
    case.reloaded(snapshot, "1: b is another plan, load c");

    let mut case = begun();
    case.check(Event::Shutdown, "1: stopping");
    case.check(published(), "keep b");
    assert!(case.state.is_stopped());
}

#[test]
fn a_store_that_fails_during_a_look_does_not_end_it() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Passed(outcome('a', 1).0, None), "publish 1 plans");
    case.ask(2, sync(None), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Published(Err("disk full".to_owned())), "");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "2: b is Ok");
}

/// With `a` deployed by hand, and not in the mirror at the start.
fn forgetful() -> Case {
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::under(by_hand(), snapshot, "load a");
    case.check(Event::Loaded(Err("the mirror is empty".to_owned())), "fetch");
    case
}

#[test]
fn by_hand_what_is_deployed_goes_on_although_it_could_not_be_read_at_the_start() {
    let mut case = forgetful();
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
    assert_eq!(case.source(), SourceState::Ok);
    assert!(case.state.in_force.is_some());
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
}

#[test]
fn by_hand_what_is_deployed_is_read_at_the_next_look_where_a_newer_revision_waits() {
    let mut case = forgetful();
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "");
    assert_eq!(case.source(), SourceState::Waiting);
    case.check(Event::Wake, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
}

#[test]
fn what_waits_here_and_is_deployed_by_another_daemon_waits_no_longer() {
    let mut case = waiting();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Passed(outcome('a', 1).0, None), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let snapshot = Snapshot { deployed: Some(rev('b')), ..Snapshot::default() };
    case.reloaded(snapshot, "load b");
    case.check(Event::Loaded(Err("not fetched".to_owned())), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    assert_eq!(case.source(), SourceState::Ok);
}

#[test]
fn a_plan_of_what_is_deployed_and_was_not_read_yet_is_what_is_planned_from_then_on() {
    let mut case = forgetful();
    let nothing = Outcome::default().id(&rev('a'));
    case.ask(1, sync(Some(nothing)), "");
    case.check(Event::Fetched(Err("no route to host".to_owned())), "load a");
    case.check(Event::Loaded(Err("the mirror is empty".to_owned())), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "1: a is Ok");
    case.report(2, "x", &status("n", "x", None), "record 1, 2: received, pass over a");
}
