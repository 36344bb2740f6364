//! What the walk does about what others changed: told, left, or undone, as the terms of the step say.
//!
//! A difference stands from the look that shows it first to the one that shows it no more. Each time the same field of the
//! same container has to be undone again, its streak grows: so nobody is fought for ever, and it is told that somebody, or
//! something, changes it again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{DriftAction, Ensure, NodePlan, Span, Step};
use gitops_core::status::{Container, Difference, DriftOutcome, MAX_DIFFERENCES, first_line};

use super::{Look, Verdict, Walk};
use crate::drift::{Act as Touched, Finding, Pictures, Touch, Undo};
use crate::moment::Moment;
use crate::streak::{Patience, Streak};

/// A container that is killed may be on its way out: `docker rm --force` tells first that it is killed.
const GOES_WITHIN: Duration = Duration::from_millis(300);
/// What is undone is told for this long.
const TOLD_FOR: Duration = Duration::from_secs(3600);

/// What is known of what others changed of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The form of the step that it is about: another one starts with a clean slate.
    form: Option<Digest>,
    /// By container and field.
    entries: BTreeMap<(Arc<str>, Arc<str>), Entry>,
    /// When there is more to be done without an event.
    wake_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Entry {
    difference: Difference,
    streak: Streak,
    /// Not undone before.
    not_before: Duration,
    /// An attempt to undo it has ended.
    tried: bool,
    /// Since when it is no more; none while it stands.
    over_at: Option<Duration>,
}

/// What is to be done about an instance.
enum Drifted {
    /// Nothing: go on as if nobody had changed anything.
    No,
    /// Nothing, and Compose must not be called either: it would put right what is to be left.
    Left(Option<String>),
    /// This.
    Undo { undo: Vec<Undo>, reason: String },
}

impl Walk {
    /// With what was known of containers before.
    #[must_use]
    pub fn with_pictures(self, pictures: Pictures) -> Self {
        Self { pictures, ..self }
    }

    /// What is known of containers, for the disk, if that is not what is there.
    pub fn unsaved_pictures(&mut self) -> Option<Pictures> {
        std::mem::take(&mut self.pictures_changed).then(|| self.pictures.clone())
    }

    /// What others changed, by service, ordered.
    pub fn drift(&self) -> BTreeMap<ServiceName, Vec<Difference>> {
        let differences = |told: &Told| -> Vec<Difference> {
            told.entries.values().map(|entry| entry.difference.clone()).collect()
        };
        let told = self.told.iter().filter(|(_, told)| !told.entries.is_empty());
        told.map(|(service, told)| (service.clone(), differences(told))).collect()
    }

    /// Takes in an event of Docker. What the agent did itself is nobody's act.
    pub fn touched(&mut self, service: Option<ServiceName>, touch: Touch, moment: Moment) {
        let Some(service) = service.or_else(|| self.pictures.service_of(&touch.container).cloned()) else {
            return;
        };
        let is_ours = self.progress.get(&service).is_some_and(|progress| {
            progress.busy.is_some() || progress.ended_at.is_some_and(|ended_at| touch.at <= ended_at)
        });
        if is_ours {
            return;
        }
        if let (Touched::Restart, Some(name)) = (touch.act, self.pictures.name_of(&touch.container)) {
            let difference = Difference {
                by: Some(touch.act.words().into()),
                since: Some(touch.at),
                outcome: Some(DriftOutcome::Passed),
                ..Difference::new(name, "state", Some("running"), Some("restarted"))
            };
            self.told.entry(service).or_default().note(difference, moment.elapsed);
        }
        self.pictures_changed |= self.pictures.touched(touch);
    }

    /// A step has ended: what it left is looked at anew.
    pub(super) fn note_ended(&mut self, step: &Step, is_done: bool) {
        let service = step.service();
        if let Some(told) = self.told.get_mut(service) {
            told.tried();
        }
        if is_done && step.as_ensure().is_some() {
            self.retake.insert(service.clone());
        }
    }

    /// Pictures are kept of what is in place or is to be. That is asked each time and not when a removal has ended: whoever was
    /// killed right then has written down the one, and not the other.
    pub(super) fn forget_pictures(&mut self, plan: &NodePlan) {
        let is_ensured =
            |service: &ServiceName| plan.step(service).is_some_and(|step| step.as_ensure().is_some());
        let record = &self.record;
        self.pictures_changed |=
            self.pictures.keep_only(|service| record.contains_key(service) || is_ensured(service));
    }

    /// What comes of what others changed; none where the step is judged as if nobody had.
    pub(super) fn judge_drift(
        &mut self,
        step: &Step,
        observed: &[Container],
        look: &Look,
        moment: Moment,
    ) -> Option<Verdict> {
        match self.drifted(step, observed, look, moment) {
            Drifted::No => None,
            Drifted::Left(message) => Some(Verdict::Left(message)),
            Drifted::Undo { undo, reason } => {
                let held_up = self.held_up(step.service(), &reason, moment);
                Some(held_up.unwrap_or(Verdict::Correct(undo, reason)))
            }
        }
    }

    /// Compares an instance that is in place with its pictures; takes them where there are none.
    fn drifted(&mut self, step: &Step, observed: &[Container], look: &Look, moment: Moment) -> Drifted {
        let Some(ensure) = step.as_ensure() else { return Drifted::No };
        let service = &ensure.service;
        let is_in_place = self.record.get(service).is_some_and(|applied| applied.digest == ensure.digest);
        let is_changing = self.changes.is_other(service, ensure.digest);
        if !is_in_place || is_changing || look.observation.lost.contains(service) {
            return Drifted::No;
        }
        let seen = &look.observation.pictures;
        if (self.retake.contains(service) || !self.pictures.has(service, ensure.digest))
            && let Some(is_new) = self.pictures.take(service, ensure.digest, observed, seen)
        {
            self.pictures_changed |= is_new;
            self.retake.remove(service);
        }
        let findings = self.pictures.findings(ensure, observed, seen);
        let told = self.told.entry(service.clone()).or_default();
        told.see(ensure, &findings, moment);
        let drifted = told.decide(ensure, &findings, moment);
        if told.entries.is_empty() {
            self.told.remove(service);
        }
        drifted
    }
}

impl Told {
    /// When there is more to be done without an event.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.wake_at
    }

    /// Until it is judged again: what is being changed wakes nobody before it is.
    pub(super) fn sleep(&mut self) {
        self.wake_at = None;
    }

    /// Something that is over already.
    fn note(&mut self, difference: Difference, now: Duration) {
        let entry = Entry::new(difference, now);
        self.entries.insert(entry.key(), Entry { over_at: Some(now), ..entry });
        self.make_room();
    }

    fn tried(&mut self) {
        let standing = self.entries.values_mut().filter(|entry| entry.over_at.is_none());
        let undone = standing.filter(|entry| entry.difference.outcome == Some(DriftOutcome::Correcting));
        undone.for_each(|entry| entry.tried = true);
    }

    /// Takes in what a look shows.
    fn see(&mut self, step: &Ensure, findings: &[Finding], moment: Moment) {
        if self.form.is_some_and(|form| form != step.digest) {
            *self = Self::default();
        }
        self.form = Some(step.digest);
        let now = moment.elapsed;
        let shown: Vec<&Finding> =
            findings.iter().filter(|finding| finding.counts).take(MAX_DIFFERENCES).collect();
        for finding in &shown {
            let mut difference = finding.difference.clone();
            difference.since.get_or_insert(moment.wall);
            let entry = Entry::new(difference, now);
            self.entries.entry(entry.key()).or_insert(entry).stands(&finding.difference, moment);
        }
        let is_shown =
            |entry: &Entry| shown.iter().any(|finding| finding.difference.is_about_same(&entry.difference));
        for entry in self.entries.values_mut().filter(|entry| !is_shown(entry)) {
            entry.is_over(now);
        }
        let is_told = |entry: &Entry| entry.over_at.is_none_or(|at| now.saturating_sub(at) < TOLD_FOR);
        // Of a container that is gone it is not told as well that it does not run.
        let is_gone = |entry: &Entry| {
            let gone = |finding: &&Finding| {
                (&finding.difference.container, &*finding.difference.field)
                    == (&entry.difference.container, "container")
            };
            &*entry.difference.field == "state" && shown.iter().any(gone)
        };
        self.entries.retain(|_, entry| is_told(entry) && !is_gone(entry));
        self.make_room();
    }

    /// What stands is told before what is over.
    fn make_room(&mut self) {
        while self.entries.len() > MAX_DIFFERENCES {
            let over =
                self.entries.iter().find(|(_, entry)| entry.over_at.is_some()).map(|(key, _)| key.clone());
            match over {
                Some(key) => drop(self.entries.remove(&key)),
                None => drop(self.entries.pop_last()),
            }
        }
    }

    fn decide(&mut self, step: &Ensure, findings: &[Finding], moment: Moment) -> Drifted {
        self.wake_at = None;
        if findings.is_empty() {
            return Drifted::No;
        }
        let outcome = match step.terms.drift.action {
            DriftAction::Report => DriftOutcome::Reported,
            DriftAction::CorrectInWindow if !Span::allow(&step.terms.spans, moment.wall) => {
                self.wake_at = opens_at(step, moment);
                DriftOutcome::WaitingForWindow
            }
            DriftAction::Correct | DriftAction::CorrectInWindow => DriftOutcome::Correcting,
        };
        let due = self.settle(outcome, moment.elapsed);
        let is_due = |finding: &&Finding| {
            finding.counts && due.iter().any(|one| one.is_about_same(&finding.difference))
        };
        let undo: Vec<Undo> = findings.iter().filter(is_due).map(|finding| finding.undo.clone()).collect();
        match first_line(&due) {
            Some(reason) => Drifted::Undo { undo, reason: format!("others changed it: {reason}") },
            None if findings.iter().any(Finding::is_about_running) => Drifted::Left(self.message()),
            None => Drifted::No,
        }
    }

    /// Gives everything that stands its outcome. Returns what is to be undone now.
    fn settle(&mut self, outcome: DriftOutcome, now: Duration) -> Vec<Difference> {
        let mut due = Vec::new();
        for entry in self.entries.values_mut().filter(|entry| entry.over_at.is_none()) {
            let waits = outcome == DriftOutcome::Correcting && now < entry.not_before;
            let is_again = waits && entry.streak.is_long(&Patience::DRIFT);
            entry.difference.outcome = Some(if is_again { DriftOutcome::BackingOff } else { outcome });
            if waits {
                self.wake_at = Some(self.wake_at.unwrap_or(entry.not_before).min(entry.not_before));
            } else if outcome == DriftOutcome::Correcting {
                due.push(Difference { outcome: None, ..entry.difference.clone() });
            }
        }
        due
    }

    fn message(&self) -> Option<String> {
        let standing = self.entries.values().filter(|entry| entry.over_at.is_none());
        first_line(standing.map(|entry| &entry.difference))
    }
}

impl Entry {
    fn new(difference: Difference, now: Duration) -> Self {
        Self { difference, streak: Streak::default(), not_before: now, tried: false, over_at: Some(now) }
    }

    fn key(&self) -> (Arc<str>, Arc<str>) {
        (self.difference.container.clone(), self.difference.field.clone())
    }

    /// A look shows it: for the first time, again after it was over, or still, although it was tried to undo it.
    fn stands(&mut self, found: &Difference, moment: Moment) {
        let began = self.over_at.take().is_some();
        if began || self.tried {
            self.not_before = self.streak.add(&Patience::DRIFT, moment.elapsed);
            if began && &*found.field == "state" {
                self.not_before = self.not_before.max(moment.elapsed + GOES_WITHIN);
            }
            self.tried = false;
        }
        let (by, since) = match (began, found.by.is_some()) {
            (true, _) => (found.by.clone(), found.since.or(Some(moment.wall))),
            (false, true) => (found.by.clone(), found.since),
            (false, false) => (self.difference.by.clone(), self.difference.since),
        };
        self.difference = Difference { by, since, outcome: self.difference.outcome, ..found.clone() };
    }

    fn is_over(&mut self, now: Duration) {
        if self.over_at.is_none() {
            let outcome = if self.tried { DriftOutcome::Corrected } else { DriftOutcome::Passed };
            (self.over_at, self.tried) = (Some(now), false);
            self.difference.outcome = Some(outcome);
        }
    }
}

fn opens_at(step: &Ensure, moment: Moment) -> Option<Duration> {
    let opens = Span::next(&step.terms.spans, moment.wall)?;
    let pause = Duration::try_from(opens.duration_since(moment.wall)).unwrap_or_default();
    Some(moment.elapsed + pause)
}
