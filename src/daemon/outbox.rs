//! The outbox side of the state machine: which errand is carried out when, and what becomes of it.
//!
//! One errand at a time. What only time can mend (a rate limit, a forge or a repository that is away) is waited out: the
//! whole outbox waits where the forge is the cause, one errand where it is its own. Pauses grow; an errand that is a week
//! old is dropped, and that is told. Nothing else in the daemon waits for any of this, so that a comment that cannot be
//! written holds no deployment.
//!
//! An errand may end the daemon: what it looks at, others wrote. So that it is begun is durable before it is, with a pause
//! for the start after that, and one that never ended is given up.
//!
//! **Invariant:** an errand that was asked for anew while it ran runs once more: what it looked at may be old.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::Revision;
use gitops_core::reconcile::preview::Picture;
use jiff::{SignedDuration, Timestamp};

use super::happened;
use super::state::{Effect, State, Ticket};
use crate::api::control::Answer;
use crate::store::NewEvent;
use crate::store::outbox::{Change, Errand, ErrandKey, MAX_AGE, Outbox, Task};

/// How many errands may wait: more than there are open pull requests. Beyond it, hints are refused.
const MAX_WAITING: usize = 1000;
/// The first pause after a failure; each further one is twice as long, up to an hour.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(2);
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// How often in a row an errand may end with the daemon: a stop may be the reason, a few in a row are not.
const MAX_UNENDED: u32 = 5;

/// What is to be told to the forge, and what runs.
#[derive(Debug, Default)]
pub(super) struct Errands {
    outbox: Outbox,
    /// What runs.
    running: Option<Run>,
    /// The forge is away until then.
    resume_at: Option<Timestamp>,
    /// How often in a row it was away.
    failures: u32,
}

/// An errand that is under way.
#[derive(Debug)]
struct Run {
    /// As it was written down that it is begun.
    errand: Errand,
    /// That is durable. Before it is, it is not begun.
    is_durable: bool,
}

/// A pull request to look at.
#[derive(Debug)]
pub struct Review {
    /// Its number.
    pub number: u64,
    /// The branch whose pull requests are reviewed.
    pub branch: Arc<str>,
    /// The fleet as it is.
    pub picture: Picture,
}

/// Why an errand is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The forge is away, or wants to be left alone for so long.
    Away(Option<SignedDuration>, String),
    /// This one did not work. It may the next time.
    Failed(String),
    /// It cannot be done at all.
    Hopeless(String),
}

impl Setback {
    fn why(&self) -> &str {
        match self {
            Self::Away(_, why) | Self::Failed(why) | Self::Hopeless(why) => why,
        }
    }
}

/// An errand that is done: of which commit, and what was said on it, where that is news.
pub type News = Option<(Revision, String)>;

impl Errands {
    /// As the store has them.
    pub(super) fn new(outbox: Outbox) -> Self {
        Self { outbox, ..Self::default() }
    }

    /// The clock was set. When an errand was asked for stays: that is its version.
    pub(super) fn move_along(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        self.resume_at = self.resume_at.map(&moved);
        self.outbox.values_mut().for_each(|errand| errand.due_at = moved(errand.due_at));
    }

    /// The errand that is due first, of those that can be carried out.
    fn next(&self, can_review: bool) -> Option<(&ErrandKey, &Errand)> {
        let ready =
            |(_, errand): &(&ErrandKey, &Errand)| can_review || !matches!(errand.task, Task::Review(_));
        self.outbox.iter().filter(ready).min_by_key(|(_, errand)| errand.due_at)
    }

    fn pause(&mut self, wanted: Option<SignedDuration>, now: Timestamp) {
        // Also where the forge names a time that has passed on our clock, it is asked ever less often.
        let pause = wanted.unwrap_or_default().max(pause(self.failures)).min(MAX_AGE);
        self.resume_at = Some(now + pause);
        self.failures = self.failures.saturating_add(1);
    }
}

/// 2, 4, 8, … seconds, at most an hour.
fn pause(failures: u32) -> SignedDuration {
    (FIRST_PAUSE * (1 << failures.min(11))).min(MAX_PAUSE)
}

impl State {
    /// Asks for a review. It is sure to happen once it is stored.
    pub(super) fn ask_review(&mut self, ticket: Ticket, number: u64, now: Timestamp) -> Option<Answer> {
        if self.policy.forge.is_none() {
            return Some(Answer::Done);
        }
        let task = Task::Review(number);
        let outbox = &self.errands.outbox;
        if outbox.len() >= MAX_WAITING && !outbox.contains_key(&task.key()) {
            return Some(Answer::Full);
        }
        self.ask_errand(task, now);
        self.recording.ask().wait(ticket);
        None
    }

    /// Asks for an errand. It takes the place of an older one with its key.
    pub(super) fn ask_errand(&mut self, task: Task, now: Timestamp) {
        let older = self.errands.outbox.get(&task.key()).map(|errand| errand.asked_at);
        let mut errand = Errand::new(task, now);
        // Newer than the older one by any clock.
        let next = older.map(|older| older + SignedDuration::from_nanos(1));
        errand.asked_at = next.map_or(now, |next| next.max(now));
        // What is not begun yet need not be.
        self.errands.running.take_if(|run| !run.is_durable && run.errand.task.key() == errand.task.key());
        self.put_errand(errand);
    }

    fn put_errand(&mut self, errand: Errand) {
        let key = errand.task.key();
        self.errands.outbox.insert(key.clone(), errand.clone());
        self.recording.ask().outbox.insert(key, Change::Put(errand));
    }

    /// Writes down that the next errand is begun, if one is due. It begins when that is durable.
    pub(super) fn start_errand(&mut self, now: Timestamp) {
        while self.next_errand_at().is_some_and(|at| at <= now) {
            let Some((_, errand)) = self.errands.next(self.can_review()) else { return };
            let mut errand = errand.clone();
            if errand.unended >= MAX_UNENDED {
                self.give_up(&errand, &format!("{MAX_UNENDED} times the daemon ended before it did"), now);
                continue;
            }
            errand.due_at = now + pause(errand.unended);
            errand.unended += 1;
            self.put_errand(errand.clone());
            self.errands.running = Some(Run { errand, is_durable: false });
        }
    }

    /// Begins the errand of which that is among what was written.
    pub(super) fn begin_errand(
        &mut self,
        written: &BTreeMap<ErrandKey, Change>,
        now: Timestamp,
    ) -> Option<Effect> {
        let run = self.errands.running.as_mut().filter(|run| !run.is_durable && !self.stopping)?;
        let is_written = |put: &Change| matches!(put, Change::Put(errand) if *errand == run.errand);
        run.is_durable = written.get(&run.errand.task.key()).is_some_and(is_written);
        let task = run.is_durable.then(|| run.errand.task.clone())?;
        Some(match task {
            Task::Review(number) => {
                let (branch, picture) = (self.policy.branch.clone(), self.picture(now));
                Effect::Review(Box::new(Review { number, branch, picture }))
            }
            Task::Status { revision, status } => Effect::SetStatus(revision, status),
        })
    }

    /// When the next errand starts, unless one runs.
    pub(super) fn next_errand_at(&self) -> Option<Timestamp> {
        if self.policy.forge.is_none() || self.errands.running.is_some() {
            return None;
        }
        let (_, errand) = self.errands.next(self.can_review())?;
        Some(self.errands.resume_at.map_or(errand.due_at, |at| at.max(errand.due_at)))
    }

    /// A review compares with the definitions of the main branch: not before it is known whether there are any.
    fn can_review(&self) -> bool {
        self.definitions.is_some() || self.reading.has_looked()
    }

    /// An errand ended.
    pub(super) fn ended(&mut self, result: Result<News, Setback>, now: Timestamp) {
        let Some(Run { errand, .. }) = self.errands.running.take() else { return };
        let (key, asked_at) = (errand.task.key(), errand.asked_at);
        let is_newest = self.errands.outbox.get(&key).is_some_and(|errand| errand.asked_at == asked_at);
        let setback = match result {
            Ok(news) => return self.carried_out(key, asked_at, news, now),
            Err(setback) => setback,
        };
        let is_first = match &setback {
            Setback::Away(wanted, _) => {
                self.errands.pause(*wanted, now);
                self.errands.failures == 1
            }
            Setback::Failed(_) => self.errands.outbox.get(&key).is_some_and(|errand| errand.attempts == 0),
            Setback::Hopeless(_) => false,
        };
        if is_first {
            self.tell(happened::forge(
                now,
                "forge.failed",
                format!("{key}: {}; it is tried again", setback.why()),
            ));
        }
        if is_newest {
            self.put_off(key, &setback, now);
        }
    }

    fn carried_out(&mut self, key: ErrandKey, asked_at: Timestamp, news: News, now: Timestamp) {
        if std::mem::take(&mut self.errands.failures) > 0 {
            self.tell(happened::forge(
                now,
                "forge.recovered",
                "the forge takes what it is told again".to_owned(),
            ));
        }
        self.errands.resume_at = None;
        if let Some((revision, message)) = news {
            self.tell(NewEvent {
                revision: Some(revision),
                ..happened::forge(now, "review.written", message)
            });
        }
        self.forget(key, asked_at);
    }

    /// Keeps an errand for later, or drops it for good.
    fn put_off(&mut self, key: ErrandKey, setback: &Setback, now: Timestamp) {
        let Some(mut errand) = self.errands.outbox.get(&key).cloned() else { return };
        if matches!(setback, Setback::Hopeless(_)) || errand.is_too_old(now) {
            return self.give_up(&errand, setback.why(), now);
        }
        // Where the forge is away, another errand has its turn first: what is away may be only what this one asks for.
        let pause =
            if matches!(setback, Setback::Away(..)) { SignedDuration::ZERO } else { pause(errand.attempts) };
        errand.due_at = now + pause;
        errand.attempts = errand.attempts.saturating_add(1);
        errand.unended = 0;
        self.put_errand(errand);
    }

    /// Drops an errand for good.
    fn give_up(&mut self, errand: &Errand, why: &str, now: Timestamp) {
        let key = errand.task.key();
        self.tell(happened::forge(now, "forge.dropped", format!("{key}: {why}; it is not tried again")));
        self.forget(key, errand.asked_at);
    }

    /// Takes an errand out, unless it was asked for anew.
    fn forget(&mut self, key: ErrandKey, asked_at: Timestamp) {
        if self.errands.outbox.get(&key).is_some_and(|errand| errand.asked_at > asked_at) {
            return;
        }
        self.errands.outbox.remove(&key);
        self.recording.ask().outbox.insert(key, Change::Done(asked_at));
    }

    fn tell(&mut self, event: NewEvent) {
        self.recording.ask().events.push(event);
    }
}
