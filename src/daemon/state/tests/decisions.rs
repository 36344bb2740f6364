//! Decisions of people: what is refused, what counts from when, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use gitops_core::decision::{GuardedChange, Held, Hold, Needed, Part, plan_id};
use gitops_core::fleet::SourceState;
use gitops_core::planner::{Underway, Undo};
use gitops_core::release::Commit;

use super::*;
use crate::api::control::Ballot;

fn hold(what: Held, until: Option<i64>) -> Hold {
    let (reason, owner) = ("maintenance".into(), "ada".into());
    Hold { number: 0, what, reason, owner, since: at(0), until: until.map(at) }
}

fn suspended(node: &str) -> Held {
    Held::Suspend { on: Part::Node(super::node(node)) }
}

impl Case {
    /// The decision that was to be written is durable, as the `version`th thing that was written; as a hold with this number, if it is one.
    fn decided(&mut self, version: u64, hold: Option<Hold>, expected: &str) {
        let event = happened::forge(at(self.now), "test", String::new());
        let event = crate::store::Event { id: version - 1, event };
        self.check(Event::Decided(Ok(Some(Decided { hold, version, event }))), expected);
    }

    fn hold(&mut self, ticket: Ticket, what: Held, expected: &str) {
        self.ask(ticket, Request::Hold(Box::new(hold(what, None))), expected);
    }

    fn numbers(&self) -> Vec<u64> {
        self.state.decisions.holds.iter().map(|hold| hold.number).collect()
    }
}

#[test]
fn a_hold_counts_when_it_is_durable_and_the_next_pass_knows_it() {
    let mut case = Case::deployed();
    case.hold(1, Held::Lock, "decide: everything is locked by ada: maintenance");
    case.hold(2, Held::Lock, "");
    assert!(case.numbers().is_empty());
    let first = Some(Hold { number: 1, ..hold(Held::Lock, None) });
    case.decided(2, first, "1: hold 1, pass over a, decide: everything is locked by ada: maintenance");
    assert_eq!(case.numbers(), [1]);
    case.decided(3, Some(Hold { number: 2, ..hold(Held::Lock, None) }), "2: hold 2");
    let by = || "grace".parse().expect("a name");
    case.ask(3, Request::EndHold { number: 7, by: by() }, "3: no hold 7");
    let expected = "decide: grace ended hold 1 of ada (everything is locked: maintenance)";
    case.ask(4, Request::EndHold { number: 1, by: by() }, expected);
    case.decided(4, Some(Hold { number: 1, ..hold(Held::Lock, None) }), "4: hold 1");
    assert_eq!((case.numbers(), case.state.last_event), (vec![2], 3));
}

/// What a pass knew is published with it, so that the store can refuse one that did not know of a hold.
#[test]
fn a_pass_is_published_with_the_decisions_that_it_knew() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n1", "x", None), "record 1, 1: received, pass over a");
    case.hold(2, Held::Lock, "decide: everything is locked by ada: maintenance");
    case.decided(2, Some(Hold { number: 1, ..hold(Held::Lock, None) }), "2: hold 1");
    let plans = vec![plan("n1", 1, None)];
    let effects = step(&mut case.state, Event::Passed(Outcome { plans, ..Outcome::default() }, None), at(0));
    let published = effects.iter().find_map(|effect| match effect {
        Effect::Publish(publication) => publication.version,
        _ => None,
    });
    assert_eq!(published, Some(1), "{effects:?}");
    case.check(Event::Published(Ok(Published::Unaware)), "reload");
    let mut snapshot = Snapshot { deployed: Some(rev('a')), version: 2, ..Snapshot::default() };
    snapshot.decisions.begin(Hold { number: 1, ..hold(Held::Lock, None) });
    case.check(Event::Reloaded(Ok(Box::new(snapshot))), "pass over a");
    assert_eq!((case.numbers(), case.state.deciding.known()), (vec![1], 2));
}

#[test]
fn a_decision_of_another_daemon_has_the_store_read_before_anything_is_planned() {
    let mut case = Case::deployed();
    case.hold(1, Held::Lock, "decide: everything is locked by ada: maintenance");
    case.decided(3, Some(Hold { number: 2, ..hold(Held::Lock, None) }), "1: hold 2");
    assert_eq!(case.state.next_tick(), at(1));
    case.at(1).check(Event::Tick, "reload");
    let mut snapshot = Snapshot { deployed: Some(rev('a')), version: 3, ..Snapshot::default() };
    for number in [1, 2] {
        snapshot.decisions.begin(Hold { number, ..hold(Held::Lock, None) });
    }
    case.check(Event::Reloaded(Ok(Box::new(snapshot))), "pass over a");
    assert_eq!(case.numbers(), [1, 2]);
}

#[test]
fn a_decision_that_was_read_before_its_answer_came_counts_once() {
    let mut case = Case::deployed();
    case.hold(1, Held::Lock, "decide: everything is locked by ada: maintenance");
    let held = Hold { number: 1, ..hold(Held::Lock, None) };
    let mut snapshot = Snapshot { deployed: Some(rev('a')), version: 2, ..Snapshot::default() };
    snapshot.decisions.begin(held.clone());
    case.check(Event::Reloaded(Ok(Box::new(snapshot))), "pass over a");
    case.decided(2, Some(held), "1: hold 1");
    assert_eq!(case.numbers(), [1]);
}

#[test]
fn a_store_that_fails_leaves_the_caller_with_nothing_and_is_read_again() {
    let mut case = Case::deployed();
    case.hold(1, Held::Lock, "decide: everything is locked by ada: maintenance");
    case.check(Event::Decided(Err("the disk is full".to_owned())), "1: not stored");
    assert!(case.numbers().is_empty());
    case.at(1).check(Event::Tick, "reload");
}

#[test]
fn what_cannot_be_held_is_refused_with_what_to_do() {
    let mut case = Case::deployed();
    let nothing = "`gitops status` lists what there is";
    case.hold(1, suspended("n1"), &format!("1: there is no node `n1`: {nothing}"));
    let web = "web".parse().expect("a name");
    let web = Held::Suspend { on: Part::Service(web) };
    case.hold(1, web, &format!("1: there is no service `web`: {nothing}"));
    let production = Held::Suspend { on: Part::Environment("production".parse().expect("a name")) };
    case.hold(1, production, &format!("1: there is no environment `production`: {nothing}"));
    let over = Request::Hold(Box::new(hold(Held::Lock, Some(0))));
    case.ask(1, over, "1: the hold would be over before it began: name a later time");

    let pin = |letter| Held::Pin { revision: rev(letter) };
    case.hold(1, pin('a'), "decide: the fleet is pinned to aaaaaaaaaaaa by ada: maintenance");
    case.decided(2, Some(Hold { number: 1, ..hold(pin('a'), None) }), "1: hold 1, fetch, pass over a");
    let refused = "2: the fleet is pinned to aaaaaaaaaaaa by hold 1 of ada already: end that first";
    case.hold(2, pin('b'), refused);
}

#[test]
fn an_expired_hold_is_told_once_and_what_it_held_goes_on() {
    let mut case = Case::deployed();
    let until = Hold { number: 1, ..hold(Held::Lock, Some(5)) };
    let asked = Request::Hold(Box::new(until.clone()));
    case.ask(1, asked, "decide: everything is locked until 1970-01-12T13:46:45Z by ada: maintenance");
    case.decided(2, Some(until.clone()), "1: hold 1, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.state.next_tick(), at(5));
    let told =
        "the time of hold 1 of ada is over, and it holds no longer (everything is locked: maintenance)";
    case.at(5).check(Event::Tick, &format!("pass over a, decide: {told}"));
    case.decided(3, Some(until.clone()), "");
    case.at(6).check(Event::Tick, "");
    assert_eq!(case.numbers(), [1], "it is shown until somebody ends it");

    // Of a daemon that starts later, the store knows that it was told.
    let mut snapshot = Snapshot { version: 3, ..Snapshot::default() };
    snapshot.decisions.begin(until);
    let mut case = Case::over(snapshot.clone(), "fetch");
    case.at(7).check(Event::Tick, &format!("decide: {told}"));
    case.check(Event::Decided(Ok(None)), "");
    let (state, _) = State::new(policy(), snapshot, at(15 * 24 * 3_600));
    assert_eq!(state.fleet().holds, []);
}

fn waiting(letter: char, until: Option<i64>) -> Awaiting {
    let (revision, changes) = (rev(letter), BTreeSet::<GuardedChange>::new());
    let plan = plan_id(&revision, &changes);
    let needed = Needed { approvals: 2, roles: BTreeSet::new() };
    Awaiting {
        author_may: false,
        plan,
        revision,
        changes,
        because: Vec::new(),
        needed,
        since: at(0),
        until: until.map(at),
    }
}

fn ballot(plan: &str, by: &str, approves: bool) -> Request {
    let (plan, by) = (plan.into(), by.parse().expect("a name"));
    Request::Vote(Box::new(Ballot { plan, by, roles: BTreeSet::new(), approves, reason: None }))
}

fn commit(author: &str) -> Result<Commit, String> {
    let [author, email, committer, subject] = [author, "", "", ""].map(str::to_owned);
    Ok(Commit { author, email, committer, subject, time: at(0), signature: None })
}

#[test]
fn a_vote_counts_for_what_waits_and_not_by_its_author() {
    let mut case = Case::deployed();
    case.state.awaiting = vec![waiting('a', None), waiting('b', None)];
    let [a, b] = [0, 1].map(|place: usize| case.state.awaiting[place].plan.hex());
    case.ask(1, ballot(&a[..6], "ada", true), "who wrote a for 1");
    case.check(Event::CommitRead(1, commit("Ada")), "1: wrote a");
    case.ask(2, ballot(&a, "ada", false), &format!("decide: ada rejected plan {}", &a[..12]));
    case.decided(2, None, "2: 0 for, 1 against, pass over a");
    case.ask(3, ballot(&a[..12], "grace", true), "who wrote a for 3");
    case.check(Event::CommitRead(3, commit("ada")), &format!("decide: grace approved plan {}", &a[..12]));
    case.decided(3, None, "3: 1 for, 1 against");

    let now = format!("what waits now is plan `{}`, `{}`: see `gitops approvals`", &a[..12], &b[..12]);
    let short = format!("4: `{}` names no plan: give at least 6 digits; {now}", &b[..5]);
    case.ask(4, ballot(&b[..5], "grace", true), &short);
    let unknown = format!("4: no changes wait under plan `ffffff`: it changed, or was decided; {now}");
    case.ask(4, ballot("ffffff", "grace", true), &unknown);
    case.ask(5, ballot(&b, "grace", true), "who wrote b for 5");
    case.state.awaiting = Vec::new();
    let gone = "it changed, or was decided; nothing waits for approval";
    case.check(Event::CommitRead(5, commit("ada")), &format!("5: no changes wait under plan `{b}`: {gone}"));
    case.ask(6, ballot(&b, "grace", true), &format!("6: no changes wait under plan `{b}`: {gone}"));

    case.state.awaiting = vec![waiting('b', Some(5))];
    let late = "the time in which it could be approved is over: push the change again";
    case.at(5).ask(7, ballot(&b, "grace", true), &format!("7: plan `{b}` waits no longer: {late}"));
    case.at(4).ask(8, ballot(&b, "grace", true), "who wrote b for 8");
    let unread = "8: the commit of the changes cannot be read: it is gone";
    case.check(Event::CommitRead(8, Err("it is gone".to_owned())), unread);
    case.ask(9, Request::Approvals, "9: 1 wait");
}

#[test]
fn who_waits_for_a_decision_is_told_when_the_daemon_stops() {
    let mut case = Case::deployed();
    case.state.awaiting = vec![waiting('a', None)];
    let a = case.state.awaiting[0].plan.hex();
    case.hold(1, Held::Lock, "decide: everything is locked by ada: maintenance");
    case.hold(2, Held::Lock, "");
    case.ask(3, ballot(&a, "grace", true), "who wrote a for 3");
    case.check(Event::Shutdown, "2: stopping, 3: stopping");
    assert!(!case.state.is_stopped(), "one is being written");
    case.decided(2, Some(Hold { number: 1, ..hold(Held::Lock, None) }), "1: hold 1");
    assert!(case.state.is_stopped());
    case.check(Event::CommitRead(3, commit("ada")), "");
}

#[test]
fn a_release_goes_on_again_before_whoever_asked_for_that_hears_of_it() {
    let mut case = Case::deployed();
    let undo =
        Undo { reason: "it failed".into(), at: at(0), good: BTreeMap::new(), unknown: BTreeSet::new() };
    case.state.underway = Arc::new(Underway { undo: Some(Arc::new(undo)), ..Underway::default() });
    let by = "ada".parse().expect("a name");
    case.ask(1, Request::Retry { by }, "decide: ada began the release of aaaaaaaaaaaa again");
    case.decided(2, None, "1: done, pass over a");
    let Underway { undo, attempts, .. } = &*case.state.underway;
    assert!((undo.is_none(), *attempts) == (true, 1), "{undo:?}");
    assert_eq!(case.state.source_status().state, SourceState::Ok);
}
