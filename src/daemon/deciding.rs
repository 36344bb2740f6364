//! Decisions of people, in the state machine: taken one at a time, durable before they are answered, and counted.
//!
//! A pass is published only over all decisions that there are ([`Published::Unaware`](crate::store::Published)), so whoever
//! was told that a hold stands can rely on it, also while a pass was under way and with other daemons over the store.
//!
//! What is refused, is refused before anything is written, with what to do instead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gitops_core::decision::{
    Awaiting, AwaitingView, Decision, Decisions, Held, Hold, MAX_HOLDS, Part, Vote, is_author,
};
use gitops_core::name::OperatorName;
use gitops_core::release::Commit;
use gitops_core::yaml::suggestion;
use jiff::Timestamp;

use super::happened;
use super::state::{Effect, State, Ticket, backoff};
use crate::api::control::{Answer, Ballot};
use crate::store::{Decided, NewEvent};

/// The fewest digits by which a plan is named: what people type, and hardly ever two plans that wait at once.
const MIN_DIGITS: usize = 6;

/// What is being decided.
#[derive(Debug, Default)]
pub(super) struct Deciding {
    /// How many publications and decisions there were, as far as this daemon knows them all.
    known: u64,
    running: Option<Pending>,
    /// Bounded by the connections of those who wait.
    waiting: VecDeque<(Pending, NewEvent)>,
    /// Votes of people of whom it is not known yet whether they wrote the commit.
    voting: BTreeMap<Ticket, Vote>,
    /// Holds whose time was over when somebody last looked, and of which that is told.
    expired: BTreeSet<u64>,
}

#[derive(Debug)]
struct Pending {
    /// None where nobody waits.
    ticket: Option<Ticket>,
    decision: Decision,
}

impl Deciding {
    /// With so many decisions in the store.
    pub(super) fn knowing(known: u64) -> Self {
        Self { known, ..Self::default() }
    }

    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// This daemon published something, and nothing had been written after `version`.
    pub(super) fn published_after(&mut self, version: u64) {
        self.known = self.known.max(version + 1);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Forgets what waits, and returns who asked.
    pub(super) fn abandon(&mut self) -> Vec<Ticket> {
        let waiting = self.waiting.drain(..).filter_map(|(pending, _)| pending.ticket);
        waiting.chain(std::mem::take(&mut self.voting).into_keys()).collect()
    }
}

impl State {
    /// What waits for approval, with how it stands.
    pub(super) fn approvals(&self) -> Vec<AwaitingView> {
        let view = |awaiting: &Awaiting| AwaitingView::new(awaiting.clone(), &self.decisions.votes);
        self.awaiting.iter().map(view).collect()
    }

    /// Begins a hold, or says why not.
    pub(super) fn hold(&mut self, ticket: Ticket, hold: Hold, now: Timestamp) -> Option<Answer> {
        let hold = Hold { number: 0, since: now, ..hold };
        if let Err(why) = self.check_hold(&hold, now) {
            return Some(Answer::Unfit(why));
        }
        let event = happened::held(&hold, now);
        self.decide(Some(ticket), Decision::Begin(hold), event);
        None
    }

    fn check_hold(&self, hold: &Hold, now: Timestamp) -> Result<(), String> {
        if !hold.is_in_force(now) {
            return Err("the hold would be over before it began: name a later time".to_owned());
        }
        if self.decisions.in_force(now).count() >= MAX_HOLDS {
            return Err(format!("{MAX_HOLDS} holds are in force, and no more can be: end some of them"));
        }
        let is_same = |other: &&Hold| match (&other.what, &hold.what) {
            (Held::Pin { .. }, Held::Pin { .. }) => true,
            (Held::Cordon { .. } | Held::Drain { .. }, what) => other.what == *what,
            (Held::Lock | Held::Suspend { .. } | Held::Pin { .. }, _) => false,
        };
        if let Some(other) = self.decisions.in_force(now).find(is_same) {
            let Hold { number, what, owner, .. } = other;
            return Err(format!("{what} by hold {number} of {owner} already: end that first"));
        }
        self.check_names(&hold.what)
    }

    /// That what is held is there, as far as the definitions are known.
    fn check_names(&self, what: &Held) -> Result<(), String> {
        let Some(definitions) = self.in_force.as_ref().or(self.definitions.as_ref()) else { return Ok(()) };
        let catalog = &definitions.catalog;
        let unknown = |kind: &str, name: &str, known: Vec<&str>| {
            let help = suggestion(name, known.iter().copied(), "`gitops status` lists what there is");
            match known.contains(&name) {
                true => Ok(()),
                false => Err(format!("there is no {kind} `{name}`: {help}")),
            }
        };
        match what {
            Held::Lock | Held::Pin { .. } => Ok(()),
            Held::Suspend { on: Part::Service(service) } => {
                let known = catalog.services.keys().map(|name| name.as_str()).collect();
                unknown("service", service.as_str(), known)
            }
            Held::Suspend { on: Part::Environment(environment) } => {
                let known = catalog.settings.environments.keys().map(|name| name.as_str()).collect();
                unknown("environment", environment.as_str(), known)
            }
            Held::Suspend { on: Part::Node(node) } | Held::Cordon { node } | Held::Drain { node, .. } => {
                // One that is no longer defined may still hold something.
                let known = catalog.nodes.keys().chain(self.plans.keys()).map(|name| name.as_str()).collect();
                unknown("node", node.as_str(), known)
            }
        }
    }

    /// Ends a hold, or says why not.
    pub(super) fn end_hold(
        &mut self,
        ticket: Ticket,
        number: u64,
        by: &OperatorName,
        now: Timestamp,
    ) -> Option<Answer> {
        let Some(hold) = self.decisions.holds.iter().find(|hold| hold.number == number) else {
            return Some(Answer::NoHold(number));
        };
        let event = happened::released(hold, by, now);
        self.decide(Some(ticket), Decision::End { number, by: by.as_str().into(), at: now }, event);
        None
    }

    /// Takes a vote, or says why not. Who agrees must not have written the commit: that is read first.
    pub(super) fn vote(
        &mut self,
        ticket: Ticket,
        ballot: Ballot,
        now: Timestamp,
    ) -> Result<Option<Effect>, Answer> {
        let Ballot { plan, by, roles, approves, reason } = ballot;
        let awaiting = self.awaited(&plan, now).map_err(Answer::NotAwaited)?;
        let vote = Vote {
            plan: awaiting.plan,
            revision: awaiting.revision.clone(),
            changes: awaiting.changes.clone(),
            by: by.as_str().into(),
            roles: roles.iter().map(|role| role.as_str().into()).collect(),
            approves,
            reason,
            at: now,
        };
        if !approves || awaiting.author_may {
            self.cast(ticket, vote, now);
            return Ok(None);
        }
        let revision = vote.revision.clone();
        self.deciding.voting.insert(ticket, vote);
        Ok(Some(Effect::ReadCommit(ticket, revision)))
    }

    /// The changes that are meant, or what to do instead.
    fn awaited(&self, plan: &str, now: Timestamp) -> Result<&Awaiting, String> {
        let digits = plan.strip_prefix("sha256:").unwrap_or(plan);
        let short = |awaiting: &Awaiting| format!("`{}`", awaiting.plan.short());
        let waiting: Vec<String> = self.awaiting.iter().map(short).collect();
        let waiting = match waiting.is_empty() {
            true => "nothing waits for approval".to_owned(),
            false => format!("what waits now is plan {}: see `gitops approvals`", waiting.join(", ")),
        };
        let shown: String = digits.chars().take(64).collect();
        if digits.len() < MIN_DIGITS {
            return Err(format!("`{shown}` names no plan: give at least {MIN_DIGITS} digits; {waiting}"));
        }
        let mut meant = self.awaiting.iter().filter(|awaiting| awaiting.plan.hex().starts_with(digits));
        let Some(awaiting) = meant.next() else {
            return Err(format!(
                "no changes wait under plan `{shown}`: it changed, or was decided; {waiting}"
            ));
        };
        if meant.next().is_some() {
            return Err(format!("several plans begin with `{shown}`: give more digits; {waiting}"));
        }
        if awaiting.until.is_some_and(|until| until <= now) {
            let why = "the time in which it could be approved is over: push the change again";
            return Err(format!("plan `{shown}` waits no longer: {why}"));
        }
        Ok(awaiting)
    }

    /// Who wrote the commit that somebody agrees to is known.
    pub(super) fn author_read(
        &mut self,
        ticket: Ticket,
        commit: Result<Commit, String>,
        now: Timestamp,
    ) -> Option<Effect> {
        let vote = self.deciding.voting.remove(&ticket)?;
        let refusal = match commit {
            Err(why) => Some(Answer::NoRevision(format!("the commit of the changes cannot be read: {why}"))),
            Ok(commit) if is_author(&vote.by, &commit.author, &commit.email) => {
                Some(Answer::OwnChange(vote.revision.clone()))
            }
            Ok(_) => self.awaited(&vote.plan.hex(), now).err().map(Answer::NotAwaited),
        };
        match refusal {
            Some(answer) => Some(Effect::Answer(ticket, answer)),
            None => {
                self.cast(ticket, vote, now);
                None
            }
        }
    }

    fn cast(&mut self, ticket: Ticket, vote: Vote, now: Timestamp) {
        let event = happened::voted(&vote, now);
        self.decide(Some(ticket), Decision::Vote(vote), event);
    }

    /// Begins the release again that failed and was undone, or says why not.
    pub(super) fn retry(&mut self, ticket: Ticket, by: &OperatorName, now: Timestamp) -> Option<Answer> {
        let Some(revision) = self.deployed.clone().filter(|_| self.underway.undo.is_some()) else {
            return Some(Answer::Unfit("no release was undone, so there is nothing to try again".to_owned()));
        };
        let event = happened::retried(&revision, by, now);
        self.decide(Some(ticket), Decision::Retry(revision), event);
        None
    }

    fn decide(&mut self, ticket: Option<Ticket>, decision: Decision, event: NewEvent) {
        self.deciding.waiting.push_back((Pending { ticket, decision }, event));
    }

    /// Writes down what waits, one after the other: so the number of a decision tells whether this daemon missed one.
    pub(super) fn start_decision(&mut self) -> Option<Effect> {
        if self.deciding.running.is_some() {
            return None;
        }
        let (pending, event) = self.deciding.waiting.pop_front()?;
        let decision = pending.decision.clone();
        self.deciding.running = Some(pending);
        Some(Effect::Decide(Box::new((decision, event))))
    }

    pub(super) fn decided(
        &mut self,
        result: Result<Option<Decided>, String>,
        now: Timestamp,
    ) -> Option<Effect> {
        let Pending { ticket, decision } = self.deciding.running.take()?;
        let answer = match result {
            Ok(Some(decided)) => {
                self.numbered(std::slice::from_ref(&decided.event));
                self.take_in(decision, decided, now)
            }
            Ok(None) => self.nothing_to_decide(&decision, now),
            Err(_) => {
                // Whether it was written is not known before the store was read.
                self.look_again(now);
                if let Decision::Expire(number) = decision {
                    self.deciding.expired.remove(&number);
                }
                Answer::NotStored
            }
        };
        ticket.map(|ticket| Effect::Answer(ticket, answer))
    }

    /// What is durable counts.
    fn take_in(&mut self, decision: Decision, decided: Decided, now: Timestamp) -> Answer {
        let is_read = decided.version <= self.deciding.known;
        if decided.version == self.deciding.known + 1 {
            self.deciding.known = decided.version;
        } else if !is_read {
            // Something was written that this daemon has not seen.
            self.look_again(now);
        }
        self.want_pass("somebody decided something");
        // What was read from the store in the meantime has it already.
        let decisions = if is_read { &mut Decisions::default() } else { Arc::make_mut(&mut self.decisions) };
        let held = decided.hold.as_ref().map(|hold| hold.what.clone());
        let answer = match (decision, decided.hold) {
            (Decision::Begin(_), Some(hold)) => {
                decisions.begin(hold.clone());
                Answer::Held(Box::new(hold))
            }
            (Decision::End { number, .. }, Some(hold)) => {
                decisions.holds.retain(|hold| hold.number != number);
                Answer::Held(Box::new(hold))
            }
            (Decision::Retry(_), _) => {
                if !is_read {
                    self.begin_again();
                }
                Answer::Done
            }
            (Decision::Vote(vote), _) => {
                decisions.vote(vote.clone());
                self.voted(&vote)
            }
            _ => Answer::Done,
        };
        self.follow(held.as_ref());
        answer
    }

    /// What a hold that begins or ends asks of the rest: where nodes are chosen, or which revision is wanted, may be
    /// another now.
    fn follow(&mut self, held: Option<&Held>) {
        match held {
            Some(Held::Cordon { .. } | Held::Drain { .. }) => {
                self.definitions = None;
                self.resume();
            }
            Some(Held::Pin { .. }) => self.reading.wake(),
            Some(Held::Lock | Held::Suspend { .. }) | None => {}
        }
    }

    fn voted(&self, vote: &Vote) -> Answer {
        let awaiting = self.awaiting.iter().find(|awaiting| awaiting.plan == vote.plan);
        match awaiting {
            Some(awaiting) => {
                Answer::Voted(Box::new(AwaitingView::new(awaiting.clone(), &self.decisions.votes)))
            }
            None => Answer::NotAwaited("the vote is kept, and the changes do not wait any more".to_owned()),
        }
    }

    /// Somebody else ended the hold, or told of it.
    fn nothing_to_decide(&mut self, decision: &Decision, now: Timestamp) -> Answer {
        match decision {
            Decision::End { number, .. } => {
                self.look_again(now);
                Answer::NoHold(*number)
            }
            _ => Answer::Done,
        }
    }

    /// Has the store read before anything is planned.
    fn look_again(&mut self, now: Timestamp) {
        self.reload_at = Some(now + backoff(self.store_failures));
        self.store_failures += 1;
    }

    /// What the store has. It may have been read just before something was written: then once more.
    pub(super) fn learn(&mut self, decisions: Decisions, version: u64, now: Timestamp) {
        self.decisions = Arc::new(decisions);
        self.forget_holds(now);
        if std::mem::replace(&mut self.deciding.known, version) > version {
            self.look_again(now);
        }
    }

    /// Lets go of holds that nobody needs to be told of any more.
    pub(super) fn forget_holds(&mut self, now: Timestamp) {
        if self.decisions.holds.iter().any(|hold| !hold.is_shown(now)) {
            Arc::make_mut(&mut self.decisions).holds.retain(|hold| hold.is_shown(now));
        }
        let known: BTreeSet<u64> = self.decisions.holds.iter().map(|hold| hold.number).collect();
        self.deciding.expired.retain(|number| known.contains(number));
    }

    /// When the next hold is over.
    pub(super) fn next_expiry_at(&self) -> Option<Timestamp> {
        if self.reload_at.is_some() {
            return None;
        }
        let untold = self.decisions.holds.iter().filter(|hold| !self.deciding.expired.contains(&hold.number));
        untold.filter_map(|hold| hold.until).min()
    }

    /// Tells of holds whose time is over, and lets what they held go on.
    pub(super) fn tick_decisions(&mut self, now: Timestamp) {
        if self.reload_at.is_some() {
            return;
        }
        let is_over = |hold: &&Hold| !hold.is_in_force(now) && !self.deciding.expired.contains(&hold.number);
        let over: Vec<Hold> = self.decisions.holds.iter().filter(is_over).cloned().collect();
        for hold in over {
            self.deciding.expired.insert(hold.number);
            self.decide(None, Decision::Expire(hold.number), happened::expired(&hold, now));
            self.want_pass("a hold is over");
        }
    }
}
