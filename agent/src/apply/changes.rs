//! Changes that are under way, and the hooks around them: what of the journal is on the disk, and what is due.
//!
//! **Invariant:** nothing that the journal must tell is done before the journal is on the disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, NodePlan};

use crate::journal::{Change, HookEnd, HookRun, Journal, When, container_name};
use crate::moment::{Moment, Pauses};

/// The journal, and how much of it is on the disk.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    journal: Journal,
    /// Rises with the journal.
    version: u64,
    /// The version on the disk.
    saved: u64,
    /// The version that is being written.
    saving: Option<u64>,
    failures: u32,
    retry_at: Duration,
    /// Why it could not be written the last time.
    problem: Option<String>,
    /// Hooks whose containers were let go since this process started.
    forgotten: BTreeSet<Arc<str>>,
}

/// How the hooks of one kind stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// All ended well.
    Done,
    /// One is to run, or runs: its title.
    Begun(String),
    /// One failed, in this way. Those after it do not run.
    Failed(String),
}

impl Changes {
    /// With what the disk holds.
    pub(super) fn new(journal: Journal) -> Self {
        let (version, saved, saving, failures) = (0, 0, None, 0);
        let (retry_at, problem, forgotten) = (Duration::ZERO, None, BTreeSet::new());
        Self { journal, version, saved, saving, failures, retry_at, problem, forgotten }
    }

    /// Notes that the change to `step` begins. Hooks of the same attempt that ran have run.
    pub(super) fn open(&mut self, step: &Ensure) {
        let old = self.journal.get(&step.service);
        if old.is_some_and(|change| change.is_to(step) && !change.settled) {
            return;
        }
        let change = Change::to(step);
        let same = old.filter(|old| old.attempt.is_some() && old.attempt == change.attempt);
        let hooks = same.map(|old| old.hooks.clone()).unwrap_or_default();
        self.journal.insert(step.service.clone(), Change { hooks, ..change });
        self.version += 1;
    }

    /// Whether the change to `step` was begun, and is not over yet.
    pub(super) fn is_open(&self, step: &Ensure) -> bool {
        self.journal.get(&step.service).is_some_and(|change| change.is_to(step) && !change.settled)
    }

    /// Whether a hook ran for the change to `step`: it has begun then, for all to see.
    pub(super) fn has_begun(&self, step: &Ensure) -> bool {
        let hooks = self.journal.get(&step.service).filter(|change| change.is_to(step));
        hooks.is_some_and(|change| change.hooks.values().any(|run| run.end.is_some()))
    }

    /// Whether another change of the instance than to this form was begun, and not made if this is what is in place.
    pub(super) fn is_other(&self, service: &ServiceName, form: Digest) -> bool {
        self.journal.get(service).is_some_and(|change| change.form != form)
    }

    /// The change to `step` is over.
    pub(super) fn settle(&mut self, step: &Ensure) {
        if let Some(change) = self.journal.get_mut(&step.service) {
            change.settled = true;
            self.version += 1;
        }
    }

    /// Compose put `form` in place: what was begun before and is not that will not come any more.
    pub(super) fn made(&mut self, service: &ServiceName, form: Option<Digest>) {
        let over = self.journal.get(service).is_some_and(|change| Some(change.form) != form);
        if over && self.unended(service).is_none() {
            self.journal.remove(service);
            self.version += 1;
        }
    }

    /// What is due of the hooks of one kind; the next of them is noted as begun.
    pub(super) fn next(&mut self, step: &Ensure, when: When) -> Around {
        let Some(change) = self.journal.get_mut(&step.service) else { return Around::Done };
        for (place, hook) in when.hooks(step).iter().enumerate() {
            let name = container_name(step, when, place, hook);
            let Some(run) = change.hooks.get(&name) else {
                let run = HookRun { when, service: hook.service.clone(), timeout: hook.timeout, end: None };
                let title = run.title();
                change.hooks.insert(name, run);
                self.version += 1;
                return Around::Begun(title);
            };
            match &run.end {
                None => return Around::Begun(run.title()),
                Some(HookEnd::Failed(how)) => return Around::Failed(failed(run, how)),
                Some(HookEnd::Done) => {}
            }
        }
        Around::Done
    }

    /// How a hook of one kind failed for the change to `step`, if one did.
    pub(super) fn failed(&self, step: &Ensure, when: When) -> Option<String> {
        let change = self.journal.get(&step.service).filter(|change| change.is_to(step))?;
        let mut runs = change.hooks.values().filter(|run| run.when == when);
        runs.find_map(|run| match &run.end {
            Some(HookEnd::Failed(how)) => Some(failed(run, how)),
            _ => None,
        })
    }

    /// A failure's text, and what became of the hooks that were to tell of it.
    pub(super) fn with_word_of_failure(&self, step: &Ensure, message: String) -> String {
        match self.failed(step, When::OnFailure) {
            Some(word) => format!("{message}\n{word}"),
            None => message,
        }
    }

    /// The hook of a service that was begun and of which it is not known how it ended. What tells of a failure comes first:
    /// the other may not come to an end.
    pub(super) fn unended(&self, service: &ServiceName) -> Option<(Arc<str>, HookRun)> {
        let hooks = self.journal.get(service)?.hooks.iter();
        let begun = hooks.filter(|(_, run)| run.end.is_none());
        begun.max_by_key(|(_, run)| run.when).map(|(name, run)| (name.clone(), run.clone()))
    }

    /// The attempt that the hooks of a service belong to.
    pub(super) fn attempt(&self, service: &ServiceName) -> Option<Digest> {
        self.journal.get(service)?.attempt
    }

    /// Takes in how a hook ended; none where it turned out that it never began.
    pub(super) fn ended(&mut self, service: &ServiceName, name: &Arc<str>, end: Option<HookEnd>) {
        let Some(change) = self.journal.get_mut(service) else { return };
        match (end, change.hooks.get_mut(name)) {
            (Some(end), Some(run)) => run.end = Some(end),
            (None, Some(_)) => drop(change.hooks.remove(name)),
            (_, None) => return,
        }
        self.version += 1;
    }

    /// Whether all of it is on the disk.
    pub(super) fn is_durable(&self) -> bool {
        self.saved == self.version
    }

    /// Why it is not on the disk, where the disk refused.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What is to be written now, if anything.
    pub(super) fn save(&mut self, moment: Moment) -> Option<Journal> {
        if self.is_durable() || self.saving.is_some() || moment.elapsed < self.retry_at {
            return None;
        }
        self.saving = Some(self.version);
        Some(self.journal.clone())
    }

    /// Takes in whether it was written.
    pub(super) fn saved(&mut self, result: Result<(), String>, moment: Moment) {
        let Some(version) = self.saving.take() else { return };
        match result {
            Ok(()) => (self.saved, self.failures, self.problem) = (version, 0, None),
            Err(problem) => {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = moment.elapsed + Pauses::STEP.after(self.failures);
                self.problem = Some(problem);
            }
        }
    }

    /// When to try again to write it.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        (!self.is_durable() && self.saving.is_none()).then_some(self.retry_at)
    }

    /// The containers of hooks that may go: how they ended is on the disk. Each is named once in the life of the process.
    pub(super) fn forgettable(&mut self) -> Vec<Arc<str>> {
        if !self.is_durable() || self.journal.is_empty() {
            return Vec::new();
        }
        let hooks = self.journal.values().flat_map(|change| &change.hooks);
        let over = hooks.filter(|(name, run)| run.end.is_some() && !self.forgotten.contains(*name));
        let names: Vec<_> = over.map(|(name, _)| name.clone()).collect();
        self.forgotten.extend(names.iter().cloned());
        names
    }

    /// Lets go of services that the plan does not name, but for hooks whose end is not known.
    pub(super) fn forget_unnamed(&mut self, plan: &NodePlan) {
        let before = self.journal.len();
        self.journal.retain(|service, change| {
            plan.step(service).is_some() || change.hooks.values().any(|run| run.end.is_none())
        });
        if self.journal.len() != before {
            self.version += 1;
        }
        if self.forgotten.len() > 2 * self.journal.values().map(|change| change.hooks.len()).sum::<usize>() {
            let hooks: BTreeSet<_> = self.journal.values().flat_map(|change| change.hooks.keys()).collect();
            self.forgotten.retain(|name| hooks.contains(name));
        }
    }
}

fn failed(run: &HookRun, how: &str) -> String {
    format!("{} failed: {how}", run.title())
}
