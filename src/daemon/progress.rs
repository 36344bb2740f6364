//! How the release of each revision stands, as the status of its commit.
//!
//! It is computed from the same picture that people are shown, and told where it differs from what was told last: from
//! *pending* (plans are published) to *success* (every node has acknowledged its plan) or *failure* (a step failed). A
//! revision that cannot be deployed is a failure that says why, until it is deployed after all, and one that waits to
//! be deployed by hand is pending. A release that came through is told once, whatever its containers do later; a failed
//! one stays failed until it comes through. What a service or an agent said is not in it: a commit status is seen by
//! more people than a fleet is.

use std::collections::BTreeMap;

use gitops_core::fleet::{InstanceState, NodeState, NodeView, SourceState, SourceStatus};
use gitops_core::name::{NodeName, Revision};
use gitops_core::release::Release;
use gitops_core::render::count;
use gitops_core::review::{self, Status};
use jiff::Timestamp;

use super::state::State;
use crate::store::outbox::Task;

/// What is known of releases beside the picture.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What was told last of the revisions that may still change.
    last: BTreeMap<Revision, Progress>,
    /// The revision that the picture of the nodes is of.
    pictured: Option<Revision>,
    /// What was deployed at the start, and told of by whoever deployed it.
    resumed: Option<Revision>,
    /// Every node had acknowledged that at the start.
    was_done: bool,
}

impl Told {
    /// At the start this was deployed, and this the newest release.
    pub(super) fn resuming(resumed: Option<Revision>, newest: Option<&Release>) -> Self {
        let newest = newest.filter(|newest| Some(&newest.release.revision) == resumed.as_ref());
        let was_done = newest.is_some_and(|newest| newest.finished_at.is_some());
        Self { resumed, was_done, ..Self::default() }
    }

    /// Whether this is worth telling of a revision.
    fn is_news(&self, revision: &Revision, progress: &Progress) -> bool {
        let told = self.last.get(revision);
        let is_old = told.is_none() && self.resumed.as_ref() == Some(revision);
        let is_late = match progress.state {
            // That what was deployed before the start is on its way would be old news.
            review::State::Pending => true,
            // Where its release was done, what fails now is not that.
            review::State::Failure => self.was_done,
            review::State::Success => false,
        };
        progress.is_news(told) && !(is_old && is_late)
    }

    /// The picture of the nodes is of this revision now.
    pub(super) fn picture(&mut self, revision: Revision) {
        self.pictured = Some(revision);
    }
}

/// How a release stands, and in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    state: review::State,
    line: String,
    /// It cannot be deployed, or not by itself: no release of it is under way.
    is_stopped: bool,
}

impl Progress {
    fn new(state: review::State, line: impl Into<String>) -> Self {
        Self { state, line: line.into(), is_stopped: false }
    }

    /// Of a revision that is not deployed.
    fn stopped(state: review::State, line: impl Into<String>) -> Self {
        Self { is_stopped: true, ..Self::new(state, line) }
    }

    /// Whether this is worth telling after `told`.
    fn is_news(&self, told: Option<&Self>) -> bool {
        use review::State::{Failure, Pending, Success};
        match (told.map(|told| told.state), self.state) {
            // What was held, or waited, goes on.
            _ if told.is_some_and(|told| told.is_stopped && !self.is_stopped) => true,
            (None, _) | (Some(Pending | Failure), Success) | (Some(Pending), Failure) => true,
            (Some(Failure), Failure) => told != Some(self),
            (Some(Success), _) | (Some(Pending | Failure), Pending) => false,
        }
    }
}

/// How the revisions stand that are to be told of: the one that is not deployed by itself, and the deployed one.
fn progress(
    source: &SourceStatus,
    stopped: Option<&Revision>,
    nodes: &[NodeView],
) -> BTreeMap<Revision, Progress> {
    let state = match source.state {
        SourceState::Waiting => review::State::Pending,
        _ => review::State::Failure,
    };
    let why = source.message.as_deref().unwrap_or_default();
    let stopped = stopped.map(|stopped| (stopped.clone(), Progress::stopped(state, why)));
    let undone = "failed and is undone: `gitops status` says why";
    let deployed = source.deployed.clone().map(|deployed| match source.state {
        SourceState::Failed => (deployed, Progress::new(review::State::Failure, undone)),
        _ => (deployed, release(nodes)),
    });
    stopped.into_iter().chain(deployed).collect()
}

/// How the release of what is deployed stands on the nodes that have a plan.
fn release(nodes: &[NodeView]) -> Progress {
    let planned: Vec<&NodeView> = nodes.iter().filter(|view| view.plan.is_some()).collect();
    let failures: Vec<String> = planned.iter().flat_map(|view| failures(view)).collect();
    if let Some((first, others)) = failures.split_first() {
        let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
        return Progress::new(review::State::Failure, format!("{first}{more}"));
    }
    let open: Vec<&NodeView> = planned.iter().copied().filter(|view| !is_done(view)).collect();
    if open.is_empty() {
        return Progress::new(
            review::State::Success,
            format!("in force on {}", count(planned.len(), "node")),
        );
    }
    let silent: Vec<&NodeName> = open.iter().filter(|view| is_silent(view)).map(|view| &view.node).collect();
    let line = match silent.split_first() {
        Some((first, others)) if silent.len() == open.len() && others.is_empty() => {
            format!("waits for node {first}, which is not heard")
        }
        Some((first, others)) if silent.len() == open.len() => {
            format!("waits for node {first} and {} more, which are not heard", others.len())
        }
        _ => format!("on its way to {} of {}", open.len(), count(planned.len(), "node")),
    };
    Progress::new(review::State::Pending, line)
}

/// Every instance that failed, and a plan that was refused. Of a node that is silent nothing is known.
fn failures(view: &NodeView) -> Vec<String> {
    if is_silent(view) {
        return Vec::new();
    }
    let node = &view.node;
    let is_refused = view.refused.as_ref().is_some_and(|refusal| Some(refusal.plan) == view.plan);
    let refused = is_refused.then(|| format!("node {node} refused its plan"));
    let failed = view.instances.iter().filter(|instance| instance.state == InstanceState::Failed);
    let failed = failed.map(|instance| format!("{} failed on node {node}", instance.service));
    refused.into_iter().chain(failed).collect()
}

fn is_done(view: &NodeView) -> bool {
    matches!(view.state, NodeState::Ok | NodeState::Undefined) && view.accepted == view.plan
}

fn is_silent(view: &NodeView) -> bool {
    matches!(view.state, NodeState::Stale | NodeState::Never)
}

impl State {
    /// Puts into the outbox what is new of how releases stand.
    pub(super) fn tell_progress(&mut self, now: Timestamp) {
        if self.policy.forge.is_none() {
            return;
        }
        let mut source = self.source_status();
        if source.deployed != self.told.pictured {
            // Another daemon deployed something: how that stands is not known yet.
            source.deployed = None;
        }
        let stand = progress(&source, self.reading.stopped(), &self.views);
        let mut news: BTreeMap<Revision, Progress> = stand
            .iter()
            .filter(|(revision, progress)| self.told.is_news(revision, progress))
            .map(|(revision, progress)| (revision.clone(), progress.clone()))
            .collect();
        if source.deployed.is_some() {
            news.extend(self.replaced(&stand));
            let next = self.definitions.as_ref().map(|definitions| &definitions.revision);
            self.told.last.retain(|revision, _| stand.contains_key(revision) || next == Some(revision));
        }
        for (revision, progress) in news {
            self.put_status(&revision, &progress, now);
            if stand.contains_key(&revision) {
                self.told.last.insert(revision, progress);
            }
        }
    }

    /// Revisions that were on their way when another took their place: they stay so, and say why.
    fn replaced(&self, stand: &BTreeMap<Revision, Progress>) -> BTreeMap<Revision, Progress> {
        let line = "replaced by another commit before every node had it";
        let next = self.definitions.as_ref().map(|definitions| &definitions.revision);
        let stands = |revision: &Revision| stand.contains_key(revision) || next == Some(revision);
        let gone = self.told.last.iter();
        let gone = gone.filter(|(revision, told)| told.state == review::State::Pending && !stands(revision));
        gone.map(|(revision, _)| (revision.clone(), Progress::new(review::State::Pending, line))).collect()
    }

    fn put_status(&mut self, revision: &Revision, progress: &Progress, now: Timestamp) {
        let Some(context) = self.policy.forge.clone() else { return };
        let status = Status::new(progress.state, &*context, &progress.line);
        self.ask_errand(Task::Status { revision: revision.clone(), status }, now);
    }
}

#[cfg(test)]
mod tests;
