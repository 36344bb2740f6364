//! What is told to the forge: when, how often, and what becomes of it where that does not work.

use gitops_core::diff::Summary;
use gitops_core::fleet::{InstanceState, InstanceView, NodeState, NodeView};
use gitops_core::release::{NewRelease, Release};
use gitops_core::review;

use super::*;
use crate::store::outbox::{Errand, Task};

const DAY: i64 = 24 * 60 * 60;

fn with_forge() -> Policy {
    // No poll comes while a test waits.
    Policy { forge: Some("gitops/deploy".into()), poll: SignedDuration::from_hours(10_000), ..policy() }
}

/// With `a` deployed to no nodes, and told of.
fn reviewing() -> Case {
    let mut case = Case::under(with_forge(), Snapshot::default(), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "publish 0 plans, deploying a");
    let published = Event::Published(Ok(Published::Done(Vec::new())));
    case.check(published, "keep a, status of a: Success in force on 0 nodes");
    case.check(Event::Ended(Ok(None)), "");
    assert_eq!(case.stored(), "");
    case.told();
    case
}

fn away(seconds: Option<i64>) -> Event {
    Event::Ended(Err(Setback::Away(seconds.map(SignedDuration::from_secs), "it is out of order".to_owned())))
}

fn failed() -> Event {
    Event::Ended(Err(Setback::Failed("not there yet".to_owned())))
}

#[test]
fn a_hint_is_durable_when_it_is_answered_and_leads_to_one_review() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    assert_eq!(case.stored(), "review/7");
    case.ask(2, Request::Review(7), "2: done");
    case.ask(3, Request::Review(7), "3: done");
    let news = Event::Ended(Ok(Some((rev('b'), "pull request 7: nothing changes".to_owned()))));
    case.check(news, "review 7");
    assert_eq!((&*case.told(), &*case.stored()), ("review.written", "review/7"));
    case.check(Event::Ended(Ok(None)), "");
    assert_eq!((&*case.told(), &*case.stored()), ("", ""));
}

#[test]
fn one_errand_runs_at_a_time_and_who_waits_longest_is_next() {
    let mut case = reviewing();
    case.ask(1, Request::Review(9), "1: done, review 9");
    case.at(1).ask(2, Request::Review(8), "2: done");
    case.at(2).ask(3, Request::Review(7), "3: done");
    case.check(Event::Ended(Ok(None)), "review 8");
    case.check(Event::Ended(Ok(None)), "review 7");
    case.check(Event::Ended(Ok(None)), "");
    case.check(Event::Ended(Ok(None)), "");
}

#[test]
fn a_forge_that_is_away_is_waited_for_and_holds_nothing_else() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    case.check(away(Some(60)), "");
    assert_eq!(case.told(), "forge.failed");
    case.at(1).ask(2, Request::Review(8), "2: done");
    case.report(3, "x", &status("n", "x", None), "record 1, 3: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Passed(Outcome::default(), None), "publish 0 plans, deploying b");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep b");
    case.told();
    assert_eq!(case.state.next_tick(), at(31), "for the node that may fall silent");
    case.heartbeat(4, "x", &status("n", "x", None), "record 1, 4: received");
    case.at(59).check(Event::Tick, "pass over b");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.told();
    case.at(60).check(Event::Tick, "review 7");
    case.check(away(None), "");
    assert_eq!(case.told(), "", "that it is away is told once");
    // 4 seconds, and then another one has its turn.
    case.at(63).check(Event::Tick, "");
    case.at(64).check(Event::Tick, "review 8");
    case.check(Event::Ended(Ok(None)), "status of b: Success in force on 0 nodes");
    assert_eq!(case.told(), "forge.recovered");
    case.check(Event::Ended(Ok(None)), "review 7");
    case.check(Event::Ended(Ok(None)), "");
    assert_eq!((&*case.told(), &*case.stored()), ("", ""));
}

#[test]
fn a_forge_that_names_a_time_that_has_passed_here_is_asked_ever_less_often() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    let mut times = Vec::new();
    for _ in 0..6 {
        case.check(away(Some(0)), "");
        let next = case.state.next_errand_at().expect("it waits").as_second() - 1_000_000;
        case.at(next).check(Event::Tick, "review 7");
        times.push(next);
    }
    assert_eq!(times, [2, 6, 14, 30, 62, 126]);
}

#[test]
fn what_does_not_work_is_tried_with_growing_pauses_for_a_week() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    case.check(failed(), "");
    assert_eq!(case.told(), "forge.failed");
    let mut times = Vec::new();
    while case.stored() == "review/7" {
        let next = case.state.next_errand_at().expect("it waits").as_second() - 1_000_000;
        case.at(next).check(Event::Tick, &tick(next));
        times.push(next);
        case.check(failed(), "");
    }
    assert_eq!(times[..6], [2, 6, 14, 30, 62, 126]);
    let last = *times.last().expect("some");
    assert!((7 * DAY..=7 * DAY + 3600).contains(&last), "{last}");
    assert!(times.is_sorted_by(|a, b| a < b && b - a <= 3600), "{times:?}");
    assert_eq!(case.told(), "forge.dropped");
    case.at(last + 7200).ask(2, Request::Review(7), "2: done, review 7");
}

/// What else comes at that time.
fn tick(seconds: i64) -> String {
    if seconds >= 3600 { "prune, review 7".to_owned() } else { "review 7".to_owned() }
}

/// The daemon ends, and begins again with what is stored.
fn restarted(case: Case, now: i64, expected: &str) -> Case {
    let snapshot = Snapshot { deployed: Some(rev('a')), outbox: case.stored, ..Snapshot::default() };
    let stored = snapshot.outbox.clone();
    let (state, effects) = State::new(with_forge(), snapshot, at(now));
    let mut case = Case { state, now, told: Vec::new(), stored, full_disk: false, others_write: false };
    assert_eq!(case.describe(effects), "load a");
    let loaded = Event::Loaded(Ok(Ok(definitions('a'))));
    case.check(loaded, &format!("fetch, pass over a{expected}"));
    case
}

/// How long the errand that is next waits.
fn waits(case: &Case) -> i64 {
    case.state.next_errand_at().expect("it waits").as_second() - 1_000_000 - case.now
}

#[test]
fn an_errand_that_ends_the_daemon_each_time_is_given_up_and_the_others_go_on() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    case.ask(2, Request::Review(8), "2: done");
    case = restarted(case, 0, ", review 8");
    case.check(Event::Ended(Ok(None)), "");
    for pause in [2, 4, 8, 16] {
        assert_eq!(waits(&case), pause);
        let next = case.now + pause;
        case.at(next).check(Event::Tick, "review 7");
        assert_eq!(case.told(), "");
        case = restarted(case, next, "");
    }
    let last = case.now + waits(&case);
    case.at(last).check(Event::Tick, "");
    assert_eq!((&*case.told(), &*case.stored()), ("forge.dropped", ""));
    case.ask(1, Request::Review(7), "1: done, review 7");
}

#[test]
fn only_starts_in_a_row_that_never_ended_count() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    for _ in 0..10 {
        case.check(failed(), "");
        let next = case.now + waits(&case);
        case.at(next).check(Event::Tick, &tick(next));
    }
    let errand = &case.stored["review/7"];
    assert_eq!((errand.attempts, errand.unended), (10, 1));
}

#[test]
fn an_errand_begins_when_that_is_durable_and_as_it_was_asked_for_last() {
    let mut case = reviewing();
    let effects = step(&mut case.state, Event::Asked(1, Request::Review(7)), at(0));
    let [Effect::Record { outbox, .. }] = &*effects else { panic!("{effects:?}") };
    assert!(matches!(&outbox["review/7"], Change::Put(errand) if errand.unended == 1), "{outbox:?}");
    // Asked for anew while that is being written: the older one is not begun.
    case.check(Event::Asked(2, Request::Review(7)), "");
    case.check(Event::Recorded(Ok(Vec::new())), "1: done, 2: done, review 7");
    case.check(Event::Ended(Ok(None)), "");
    assert_eq!(case.stored(), "");
}

#[test]
fn what_cannot_be_done_at_all_is_dropped_unless_it_is_asked_anew() {
    let hopeless = || Event::Ended(Err(Setback::Hopeless("there is no such pull request".to_owned())));
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    case.ask(2, Request::Review(7), "2: done");
    case.check(hopeless(), "review 7");
    assert_eq!((&*case.told(), &*case.stored()), ("", "review/7"));
    case.check(hopeless(), "");
    assert_eq!((&*case.told(), &*case.stored()), ("forge.dropped", ""));
}

#[test]
fn what_waited_at_the_stop_is_taken_up_after_the_start() {
    let said = review::Status::new(review::State::Success, "gitops/deploy", "in force");
    let tasks = [Task::Review(7), Task::Status { revision: rev('a'), status: said }];
    let errands = tasks.map(|task| (task.key(), Errand { attempts: 9, ..Errand::new(task, at(-100)) }));
    let snapshot = Snapshot { outbox: errands.into(), ..Snapshot::default() };
    let mut without = Case::over(snapshot.clone(), "fetch");
    without.check(Event::Fetched(Ok(None)), "");
    assert_eq!(without.stored(), format!("review/7 status/{}", rev('a')), "there is no forge to tell");

    let mut case = Case::under(with_forge(), snapshot, "fetch, status of a: Success in force");
    case.check(Event::Ended(Ok(None)), "");
    // What a pull request changes is known when the branch is.
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a, review 7");
    case.check(Event::Ended(Ok(None)), "");
    assert_eq!(case.stored(), "");
}

#[test]
fn a_hint_that_cannot_be_kept_is_refused_and_one_that_no_forge_is_set_for_does_nothing() {
    let mut case = Case::deployed();
    case.ask(1, Request::Review(7), "1: done");
    assert_eq!(case.stored(), "");

    let mut case = reviewing();
    case.full_disk = true;
    case.ask(1, Request::Review(7), "1: not stored");
    case.full_disk = false;
    case.at(4).check(Event::Tick, "review 7");
    case.full_disk = true;
    case.check(Event::Ended(Ok(None)), "");
    case.full_disk = false;
    case.at(8).check(Event::Tick, "");
    assert_eq!(case.stored(), "", "the newest word on it is that it is done");

    for number in 1..=1000 {
        case.state.ask_errand(Task::Review(number), at(4));
    }
    case.ask(2, Request::Review(1001), "2: full, review 1");
    case.ask(3, Request::Review(1000), "3: done");
}

#[test]
fn a_stop_begins_no_errand() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    case.ask(2, Request::Review(8), "2: done");
    case.check(Event::Shutdown, "");
    assert!(case.state.is_stopped(), "an errand is not waited for");
    case.check(Event::Ended(Ok(None)), "");
    case.ask(3, Request::Review(9), "3: stopping");
    assert_eq!(case.stored(), "review/8");
}

fn view(state: NodeState, instance: InstanceState) -> NodeView {
    let plan = Some(PlanId::of(&plan("n", 1, None)));
    let web = InstanceView {
        message: Some("canary-of-a-secret".to_owned()),
        ..InstanceView::bare("web".parse().expect("a name"), instance)
    };
    NodeView {
        plan,
        accepted: plan.filter(|_| state != NodeState::Pending),
        instances: [web].into(),
        ..NodeView::bare(node("n"), state)
    }
}

/// A pass that finds the one node so.
fn passed(state: NodeState, instance: InstanceState) -> Event {
    Event::Passed(Outcome { nodes: vec![view(state, instance)], ..Outcome::default() }, None)
}

/// Deploys `next`, which descends; the pass finds the node so.
fn deploy(case: &mut Case, next: char, found: Event, expected: &str) {
    let (before, short) = (case.state.deployed.clone().expect("deployed"), next);
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev(next)))), &format!("compare {short} to {}", &before.as_str()[..1]));
    case.check(Event::Compared(Ok(true)), &format!("load {short}"));
    case.check(Event::Loaded(Ok(Ok(definitions(next)))), &format!("pass over {short}"));
    case.check(found, &format!("publish 0 plans, deploying {short}"));
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), &format!("keep {short}{expected}"));
}

/// The next pass finds the node so.
fn look(case: &mut Case, found: Event, expected: &str) {
    case.state.want_pass("a test");
    let pass = format!("pass over {}", &case.state.deployed.as_ref().expect("deployed").as_str()[..1]);
    case.check(Event::Tick, &pass);
    case.check(found, expected);
}

#[test]
fn a_release_is_told_as_it_goes_and_once() {
    use InstanceState::{Applying, Failed, Healthy};
    let mut case = reviewing();
    deploy(
        &mut case,
        'b',
        passed(NodeState::Pending, Applying),
        ", status of b: Pending on its way to 1 of 1 node",
    );
    case.check(Event::Ended(Ok(None)), "");
    look(&mut case, passed(NodeState::Pending, Applying), "");
    look(&mut case, passed(NodeState::Failing, Failed), "status of b: Failure web failed on node n");
    case.check(Event::Ended(Ok(None)), "");
    look(&mut case, passed(NodeState::Pending, Applying), "");
    look(&mut case, passed(NodeState::Failing, Failed), "");
    look(&mut case, passed(NodeState::Ok, Healthy), "status of b: Success in force on 1 node");
    case.check(Event::Ended(Ok(None)), "");
    look(&mut case, passed(NodeState::Failing, Failed), "");
    look(&mut case, passed(NodeState::Ok, Healthy), "");
}

#[test]
fn a_status_that_waits_gives_way_to_the_newer_of_its_commit() {
    let mut case = reviewing();
    case.ask(1, Request::Review(7), "1: done, review 7");
    deploy(&mut case, 'b', passed(NodeState::Pending, InstanceState::Applying), "");
    look(&mut case, passed(NodeState::Ok, InstanceState::Healthy), "");
    case.check(Event::Ended(Ok(None)), "status of b: Success in force on 1 node");
    case.check(Event::Ended(Ok(None)), "");
}

#[test]
fn a_release_that_is_replaced_says_so() {
    let mut case = reviewing();
    let pending = || passed(NodeState::Pending, InstanceState::Applying);
    deploy(&mut case, 'b', pending(), ", status of b: Pending on its way to 1 of 1 node");
    case.check(Event::Ended(Ok(None)), "");
    let replaced = "status of b: Pending replaced by another commit before every node had it";
    deploy(&mut case, 'c', pending(), &format!(", {replaced}"));
    case.check(Event::Ended(Ok(None)), "status of c: Pending on its way to 1 of 1 node");
    case.check(Event::Ended(Ok(None)), "");
}

#[test]
fn a_commit_that_cannot_be_deployed_says_why() {
    let mut case = reviewing();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    let invalid =
        "status of b: Failure commit bbbbbbbbbbbb has 1 mistake; the last good plans stand: mend it and push";
    case.check(Event::Loaded(Ok(Err(mistakes()))), invalid);
    case.check(Event::Ended(Ok(None)), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('c')))), "compare c to a");
    let effects = step(&mut case.state, Event::Compared(Ok(false)), at(0));
    let held = case.describe(effects);
    assert!(held.starts_with("status of c: Failure commit cccccccccccc does not descend from"), "{held}");
}

#[test]
fn what_was_deployed_before_the_start_is_told_when_it_came_through() {
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::under(with_forge(), snapshot, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    case.check(passed(NodeState::Stale, InstanceState::Unknown), "");
    look(&mut case, passed(NodeState::Ok, InstanceState::Healthy), "status of a: Success in force on 1 node");
}

#[test]
fn a_release_that_was_done_before_the_start_does_not_fail_after_it() {
    let release = NewRelease {
        revision: rev('a'),
        before: None,
        plan: None,
        began_at: at(-9),
        commit: None,
        summary: Summary::default(),
    };
    let done = Some(Box::new(Release { finished_at: Some(at(-1)), ..Release::begun(1, release) }));
    let snapshot = Snapshot { deployed: Some(rev('a')), release: done, ..Snapshot::default() };
    let mut case = Case::under(with_forge(), snapshot, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    case.check(passed(NodeState::Failing, InstanceState::Failed), "");
    look(&mut case, passed(NodeState::Ok, InstanceState::Healthy), "status of a: Success in force on 1 node");
    case.check(Event::Ended(Ok(None)), "");
    look(&mut case, passed(NodeState::Failing, InstanceState::Failed), "");
}

#[test]
fn what_was_held_or_waited_and_is_accepted_goes_on() {
    let pending = || passed(NodeState::Pending, InstanceState::Applying);
    for (deploy, descends, plan) in [
        (Deploy::Auto, false, false),
        (Deploy::Auto, false, true),
        (Deploy::Manual, true, false),
        (Deploy::Manual, true, true),
    ] {
        let mut case = reviewing();
        case.state.policy.deploy = deploy;
        case.check(Event::Wake, "fetch");
        case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
        step(&mut case.state, Event::Compared(Ok(descends)), at(0));
        step(&mut case.state, Event::Loaded(Ok(Ok(definitions('b')))), at(0));
        step(&mut case.state, Event::Recorded(Ok(Vec::new())), at(0));
        case.check(Event::Ended(Ok(None)), "");
        let id = plan.then(|| Outcome::default().id(&rev('b')));
        case.ask(1, Request::Sync { accept_rewind: true, plan: id }, "fetch");
        case.check(Event::Fetched(Ok(Some(rev('b')))), "load b");
        let answered = if plan { "pass over b" } else { "1: b is Ok, pass over b" };
        case.check(Event::Loaded(Ok(Ok(definitions('b')))), answered);
        case.check(pending(), "publish 0 plans, deploying b");
        let effects = step(&mut case.state, Event::Published(Ok(Published::Done(Vec::new()))), at(0));
        let done = case.describe(effects);
        let expected = "status of b: Pending on its way to 1 of 1 node";
        assert!(done.contains(expected), "{deploy:?} {descends} {plan}: {done}");
    }
}

#[test]
fn a_commit_that_waits_to_be_deployed_by_hand_is_pending_until_the_next_one_does() {
    let policy = Policy { deploy: Deploy::Manual, ..with_forge() };
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::under(policy, snapshot, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    case.check(Event::Passed(Outcome::default(), None), "status of a: Success in force on 0 nodes");
    case.check(Event::Ended(Ok(None)), "");
    let push = |case: &mut Case, letter: char| {
        case.check(Event::Wake, "fetch");
        case.check(Event::Fetched(Ok(Some(rev(letter)))), &format!("compare {letter} to a"));
        case.check(Event::Compared(Ok(true)), &format!("load {letter}"));
        let effects = step(&mut case.state, Event::Loaded(Ok(Ok(definitions(letter)))), at(0));
        case.describe(effects)
    };
    let first = push(&mut case, 'b');
    assert!(first.starts_with("status of b: Pending ") && first.contains("gitops sync"), "{first}");
    case.check(Event::Ended(Ok(None)), "");
    let replaced = push(&mut case, 'c');
    assert_eq!(replaced, "status of b: Pending replaced by another commit before every node had it");
    let effects = step(&mut case.state, Event::Ended(Ok(None)), at(0));
    assert!(case.describe(effects).starts_with("status of c: Pending "), "the newer waits now");
}
