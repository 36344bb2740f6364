//! The source side of the state machine: look, compare, load; hold a rewind; keep the last good definitions.
//!
//! A *round* is one look at the source with all that follows from it. A request that comes during a round waits for
//! the next one, because the look may already be behind the push that the request is about.

use std::sync::Arc;

use gitops_core::decision::Hold;
use gitops_core::diagnostic::Diagnostic;
use gitops_core::fleet::{SourceState, SourceStatus};
use gitops_core::name::{Digest, Revision};
use gitops_core::reconcile::Definitions;
use jiff::{SignedDuration, Timestamp};

use super::queue::OneSlot;
use super::state::{Effect, Load, State, Ticket, backoff};
use super::trial::Trial;
use crate::api::control::Answer;
use crate::api::wire::Synced;

/// Where the daemon stands with its source.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) rounds: OneSlot<Round>,
    pub(super) stage: Stage,
    /// The deployed definitions are to be loaded before the next look: there are none yet.
    resume: bool,
    /// The newest revision that was seen.
    newest: Option<Revision>,
    /// The revision that is wanted instead, and who holds the fleet there.
    pinned: Option<(Revision, Hold)>,
    /// What is the matter with it.
    pub(super) verdict: Verdict,
    /// A rewind that an operator accepted and that is not deployed yet.
    pub(super) accepted: Option<Revision>,
    /// When the repository last answered.
    checked_at: Option<Timestamp>,
    /// Why it does not answer, or why the revision cannot be read.
    failure: Option<String>,
    failures: u32,
    fetch_at: Timestamp,
    jitter: u64,
}

/// What a round is for.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Who wants the newest revision deployed, whatever that does.
    pub(super) tickets: Vec<Ticket>,
    /// Who wants it deployed only if that is the plan with this id.
    pub(super) demands: Vec<(Ticket, Digest)>,
    accept_rewind: bool,
}

impl Round {
    fn is_asked(&self) -> bool {
        !self.tickets.is_empty() || !self.demands.is_empty()
    }

    /// Who waits for it.
    pub(super) fn everyone(self) -> impl Iterator<Item = Ticket> {
        self.tickets.into_iter().chain(self.demands.into_iter().map(|(ticket, _)| ticket))
    }
}

/// What the running round waits for.
#[derive(Debug)]
pub(super) enum Stage {
    Resuming,
    Fetching,
    Comparing { newest: Revision, base: Revision },
    Loading { newest: Revision, base: Option<Revision> },
    Trying(Trial),
}

/// What is the matter with the newest revision.
#[derive(Debug)]
pub(super) enum Verdict {
    Fine,
    Held(Revision),
    Waiting(Revision),
    Invalid(Revision, Vec<Diagnostic>),
}

impl Reading {
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            rounds: OneSlot::default(),
            stage: Stage::Fetching,
            resume: false,
            newest: None,
            pinned: None,
            verdict: Verdict::Fine,
            accepted: None,
            checked_at: None,
            failure: None,
            failures: 0,
            fetch_at: now,
            jitter: seed,
        }
    }

    /// The clock was set.
    pub(super) fn move_along(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        self.fetch_at = moved(self.fetch_at);
    }

    pub(super) fn next_fetch_at(&self) -> Timestamp {
        self.fetch_at
    }

    /// Whether the newest revision is known and judged.
    pub(super) fn has_looked(&self) -> bool {
        self.checked_at.is_some() && self.rounds.running().is_none()
    }

    pub(super) fn wake(&mut self) {
        self.rounds.ask();
    }

    pub(super) fn sync(&mut self, ticket: Ticket, accept_rewind: bool, plan: Option<Digest>) {
        let round = self.rounds.ask();
        match plan {
            Some(plan) => round.demands.push((ticket, plan)),
            None => round.tickets.push(ticket),
        }
        round.accept_rewind |= accept_rewind;
    }

    /// The revision that was judged last, where it is held, waits or has mistakes.
    pub(super) fn stopped(&self) -> Option<&Revision> {
        match &self.verdict {
            Verdict::Fine => None,
            Verdict::Held(revision) | Verdict::Waiting(revision) | Verdict::Invalid(revision, _) => {
                Some(revision)
            }
        }
    }

    /// Forgets all rounds and returns who waits for them.
    pub(super) fn abandon(&mut self) -> Vec<Ticket> {
        let rounds = [self.rounds.finish(), self.rounds.take_waiting()];
        rounds.into_iter().flatten().flat_map(Round::everyone).collect()
    }

    /// `span`, up to a tenth longer or shorter (splitmix64).
    fn jittered(&mut self, span: SignedDuration) -> SignedDuration {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let permille = (z ^ (z >> 31)) % 201;
        let permille = i32::try_from(permille).expect("less than 201") + 900;
        span / 1000 * permille
    }
}

impl State {
    /// Starts over from the deployed revision: at the start, and when another daemon deployed something.
    pub(super) fn resume(&mut self) {
        self.reading.resume = self.deployed.is_some();
        self.reading.wake();
    }

    pub(super) fn tick_reading(&mut self, now: Timestamp) {
        if self.reading.fetch_at <= now {
            self.reading.wake();
            self.reading.fetch_at = now + self.policy.poll;
        }
    }

    pub(super) fn start_reading(&mut self, now: Timestamp) -> Option<Effect> {
        self.reading.rounds.start()?;
        let (span, resume) = (self.policy.poll, std::mem::take(&mut self.reading.resume));
        self.reading.fetch_at = now + self.reading.jittered(span);
        match self.deployed.clone().filter(|_| resume && self.definitions.is_none()) {
            Some(revision) => {
                self.reading.stage = Stage::Resuming;
                Some(self.load_of(revision, None, true))
            }
            None => Some(self.fetch()),
        }
    }

    fn fetch(&mut self) -> Effect {
        self.reading.stage = Stage::Fetching;
        Effect::Fetch
    }

    pub(super) fn fetched(
        &mut self,
        result: Result<Option<Revision>, String>,
        now: Timestamp,
    ) -> Vec<Effect> {
        if self.reading.rounds.running().is_none() {
            return Vec::new();
        }
        let newest = match result {
            Ok(newest) => newest,
            Err(failure) => return self.read_failed(failure, now),
        };
        self.reading.checked_at = Some(now);
        let Some(newest) = newest else {
            let failure = format!("the branch `{}` has no commit: push one", self.policy.branch);
            self.reading.newest = None;
            return self.read_failed(failure, now);
        };
        self.reading.newest = Some(newest.clone());
        self.reading.pinned =
            self.decisions.pin(now).map(|(revision, hold)| (revision.clone(), hold.clone()));
        let wanted = self.reading.pinned.as_ref().map_or(newest, |(revision, _)| revision.clone());
        self.look_at(wanted)
    }

    /// What the newest revision asks for.
    fn look_at(&mut self, newest: Revision) -> Vec<Effect> {
        let round = self.reading.rounds.running();
        // Who holds the fleet at a revision wants just that, wherever it is in history.
        let is_pinned = self.reading.pinned.as_ref().is_some_and(|(revision, _)| *revision == newest);
        let accept = is_pinned || round.is_some_and(|round| round.accept_rewind);
        let asked = round.is_some_and(Round::is_asked);
        let is_deployed = self.deployed.as_ref() == Some(&newest);
        let known = match &self.reading.verdict {
            // What another daemon deployed meanwhile neither is held nor waits.
            Verdict::Held(_) | Verdict::Waiting(_) if is_deployed => false,
            Verdict::Held(held) => *held == newest && !accept,
            Verdict::Waiting(waiting) => *waiting == newest && !asked,
            Verdict::Invalid(invalid, _) => *invalid == newest,
            Verdict::Fine => false,
        };
        if known {
            return self.read_on();
        }
        if let Some(loaded) = self.definitions.clone().filter(|loaded| loaded.revision == newest) {
            self.reading.verdict = Verdict::Fine;
            return self.take(loaded);
        }
        if accept {
            self.reading.accepted = Some(newest.clone());
        }
        match self.base() {
            Some(base) if base != newest => {
                self.reading.stage = Stage::Comparing { newest: newest.clone(), base: base.clone() };
                vec![Effect::Compare { newest, base }]
            }
            _ => vec![self.load(newest)],
        }
    }

    /// What a new revision must descend from.
    fn base(&self) -> Option<Revision> {
        self.reading.accepted.clone().or_else(|| self.deployed.clone())
    }

    pub(super) fn compared(&mut self, result: Result<bool, String>, now: Timestamp) -> Vec<Effect> {
        if self.reading.rounds.running().is_none() {
            return Vec::new();
        }
        let Stage::Comparing { newest, base } = &self.reading.stage else { return Vec::new() };
        let (newest, stands) = (newest.clone(), Some(base) == self.base().as_ref());
        match result {
            // Something was deployed meanwhile: what was compared no longer holds.
            Ok(_) if !stands => self.look_at(newest),
            Ok(true) => vec![self.load(newest)],
            Ok(false) => {
                self.reading.verdict = Verdict::Held(newest);
                self.read_on()
            }
            Err(failure) => self.read_failed(failure, now),
        }
    }

    fn load(&mut self, newest: Revision) -> Effect {
        self.reading.stage = Stage::Loading { newest: newest.clone(), base: self.base() };
        let is_deployed = self.deployed.as_ref() == Some(&newest);
        self.load_of(newest, self.definitions.clone(), is_deployed)
    }

    fn load_of(&self, revision: Revision, previous: Option<Arc<Definitions>>, is_deployed: bool) -> Effect {
        let (plans, silent, decisions) = (self.plans.clone(), self.stale.clone(), self.decisions.clone());
        Effect::Load(Load { revision, previous, is_deployed, plans, silent, decisions })
    }

    pub(super) fn loaded(
        &mut self,
        result: Result<Result<Arc<Definitions>, Vec<Diagnostic>>, String>,
        now: Timestamp,
    ) -> Vec<Effect> {
        if self.reading.rounds.running().is_none() {
            return Vec::new();
        }
        match &self.reading.stage {
            Stage::Resuming => {
                self.resumed(result);
                vec![self.fetch()]
            }
            Stage::Loading { newest, base } => {
                let (newest, stands) = (newest.clone(), *base == self.base());
                match result {
                    Ok(_) if !stands => self.look_at(newest),
                    Ok(Ok(definitions)) => self.take(definitions),
                    Ok(Err(findings)) => {
                        self.reading.verdict = Verdict::Invalid(newest, findings);
                        self.read_on()
                    }
                    Err(failure) => self.read_failed(failure, now),
                }
            }
            Stage::Fetching | Stage::Comparing { .. } | Stage::Trying(_) => Vec::new(),
        }
    }

    fn resumed(&mut self, result: Result<Result<Arc<Definitions>, Vec<Diagnostic>>, String>) {
        match (result, self.deployed.clone()) {
            (Ok(Ok(definitions)), _) => {
                self.in_force = Some(definitions.clone());
                self.accept(definitions);
            }
            (Ok(Err(findings)), Some(deployed)) => {
                self.reading.verdict = Verdict::Invalid(deployed, findings)
            }
            // The look that follows may fetch it, or find out what else can be planned from.
            (Err(_), _) => self.reading.resume = true,
            (Ok(Err(_)), None) => {}
        }
    }

    fn read_failed(&mut self, failure: String, now: Timestamp) -> Vec<Effect> {
        self.reading.failure = Some(failure);
        let span = backoff(self.reading.failures).min(self.policy.poll);
        self.reading.failures += 1;
        self.reading.fetch_at = now + self.reading.jittered(span);
        self.end_round()
    }

    /// The round ended well: the repository answered and its newest revision is judged.
    pub(super) fn read_on(&mut self) -> Vec<Effect> {
        self.reading.failure = None;
        self.reading.failures = 0;
        self.end_round()
    }

    fn end_round(&mut self) -> Vec<Effect> {
        let round = self.reading.rounds.finish().unwrap_or_default();
        let (revision, source) = (self.reading.newest.clone(), self.source_status());
        let synced = Synced { revision, source, already_at: None };
        let answer = |ticket| Effect::Answer(ticket, Answer::Synced(Box::new(synced.clone())));
        round.everyone().map(answer).collect()
    }

    /// How the source stands. What is the matter with the newest revision goes before a repository that does not
    /// answer: the first needs somebody to act.
    pub(super) fn source_status(&self) -> SourceStatus {
        let reading = &self.reading;
        let (state, message) = match (&reading.verdict, &reading.failure) {
            (Verdict::Held(newest), _) => (SourceState::Held, Some(self.why_held(newest))),
            (Verdict::Waiting(newest), _) => (SourceState::Waiting, Some(why_waiting(newest))),
            (Verdict::Invalid(newest, diagnostics), _) => {
                let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
                let (noun, pronoun) = if errors == 1 { ("mistake", "it") } else { ("mistakes", "them") };
                let short = newest.short();
                let message = format!(
                    "commit {short} has {errors} {noun}; the last good plans stand: mend {pronoun} and push"
                );
                (SourceState::Invalid, Some(message))
            }
            (Verdict::Fine, Some(failure)) => (SourceState::Stale, Some(failure.clone())),
            (Verdict::Fine, None) => match self.why_undone() {
                Some(why) => (SourceState::Failed, Some(why)),
                None => match self.why_pinned() {
                    Some(why) => (SourceState::Pinned, Some(why)),
                    None => (SourceState::Ok, None),
                },
            },
        };
        SourceStatus {
            url: self.policy.url.clone(),
            branch: self.policy.branch.clone(),
            state,
            deployed: self.deployed.clone(),
            newest: reading.newest.clone(),
            checked_at: reading.checked_at,
            message,
        }
    }

    /// The newest commit that was seen.
    pub(super) fn newest(&self) -> Option<&Revision> {
        self.reading.newest.as_ref()
    }

    /// Why the deployed revision is undone, while it is.
    fn why_undone(&self) -> Option<String> {
        let undo = self.underway.undo.as_ref()?;
        let short = self.deployed.as_ref().map_or("nothing", Revision::short);
        let reason = &undo.reason;
        Some(format!(
            "the release of {short} failed and is undone: push a commit that mends it, or begin it again with `gitops retry`\n{reason}"
        ))
    }

    /// Who holds the fleet at the deployed revision, and why.
    fn why_pinned(&self) -> Option<String> {
        let (revision, hold) = self.reading.pinned.as_ref()?;
        let (short, Hold { number, owner, reason, .. }) = (revision.short(), hold);
        Some(format!(
            "the fleet is pinned to {short} by {owner} (hold {number}: {reason}); `gitops unpin` lets it go on"
        ))
    }

    fn why_held(&self, newest: &Revision) -> String {
        let deployed = self.deployed.as_ref().map_or("nothing", Revision::short);
        let newest = newest.short();
        format!(
            "commit {newest} does not descend from the deployed {deployed}: deploy it with `gitops sync --accept-rewind`, or push a commit that descends"
        )
    }

    /// All mistakes of the newest revision where it is invalid, the warnings of what is deployed otherwise.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        match (&self.reading.verdict, &self.definitions) {
            (Verdict::Invalid(_, diagnostics), _) => diagnostics.clone(),
            (_, Some(definitions)) => definitions.findings.clone(),
            (_, None) => Vec::new(),
        }
    }
}

fn why_waiting(newest: &Revision) -> String {
    let newest = newest.short();
    format!(
        "commit {newest} is valid and waits: `gitops diff {newest} --live` shows what it would do, `gitops sync` deploys it"
    )
}
