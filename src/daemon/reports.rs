//! The agents' side of the state machine: who may speak for a node, what it said, and who has fallen silent.
//!
//! A node is spoken for by one agent at a time: whoever spoke last holds a *lease* of three heartbeats, and another
//! agent with the same token is refused until it ends. An agent that was started again goes on with its lease; one that runs
//! on a copy of its state folder is told from it by its [`Start`], and is another. Reports are recorded in batches: those that arrive while one
//! batch is being written are the next, so a thousand agents cost a few durable commits and not a thousand.
//!
//! What tools say in words may quote a secret: it is taken out before anything is derived from a report, or kept of it.
//! Heartbeats go on to name the report as the agent sent it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::protocol::{Hello, Receipt, Report};
use gitops_core::release;
use gitops_core::status::{NodeStatus, PlanId, ReportedNode, Start};
use jiff::{SignedDuration, Timestamp};

use super::happened;
use super::state::{Effect, State, Ticket, backoff};
use crate::api::control::Answer;
use crate::store::outbox::{Change, ErrandKey};
use crate::store::{self, NewEvent, StatusReport};

/// Events kept for a store that fails. Beyond this the oldest are dropped: memory is bounded, history is not sacred.
const MAX_WAITING_EVENTS: usize = 10_000;

/// Which agent speaks for a node.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    agent: Arc<str>,
    /// None where it does not tell.
    start: Option<Start>,
    host: Arc<str>,
    /// Since when it has spoken without a break; none where that was before the start of the daemon.
    since: Option<Timestamp>,
    pub(super) heard_at: Timestamp,
}

impl Lease {
    /// The clock was set.
    pub(super) fn move_along(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        self.since = self.since.map(&moved);
        self.heard_at = moved(self.heard_at);
    }

    /// As the last report before a restart left it.
    pub(super) fn of(last: &ReportedNode) -> Self {
        let NodeStatus { agent, host, .. } = &*last.status;
        let (agent, start) = (agent.id.clone(), agent.start);
        Self { agent, start, host: host.name.clone(), since: None, heard_at: last.heard_at }
    }

    fn to(hello: &Hello, now: Timestamp) -> Self {
        let (agent, start, host) = (hello.agent.clone(), hello.start, hello.host.clone());
        Self { agent, start, host, since: Some(now), heard_at: now }
    }

    /// Whether it is that of the process with this lease.
    fn is_of(&self, other: &Self) -> bool {
        let is_same = self.start.zip(other.start).is_none_or(|(one, other)| one == other);
        self.agent == other.agent && is_same
    }

    /// Whether it is that of the same agent, started again: what was started before from the same folder is gone.
    fn is_of_later_start(&self, other: &Self) -> bool {
        let is_later = self.start.zip(other.start).is_some_and(|(one, other)| one.is_after(other));
        self.agent == other.agent && is_later
    }

    /// Whether another daemon knows better who speaks: it heard the node later, or a later start of the agent, whose lease was
    /// not over.
    pub(super) fn yields_to(&self, other: &Self, stale_after: SignedDuration) -> bool {
        let is_held = self.heard_at < other.heard_at + stale_after;
        self.heard_at < other.heard_at || (is_held && other.is_of_later_start(self))
    }
}

/// What is written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    reports: Vec<StatusReport>,
    pub(super) events: Vec<NewEvent>,
    /// The release of this revision was done then.
    pub(super) finished: Option<(Revision, Timestamp)>,
    pub(super) outbox: BTreeMap<ErrandKey, Change>,
    /// States of which it is written down what they reach.
    noted: BTreeMap<NodeName, Arc<NodeStatus>>,
    /// What heartbeats call the states that nodes sent.
    digests: BTreeMap<NodeName, Digest>,
    /// Who waits until it is durable, and the answer then.
    tickets: Vec<(Ticket, Answer)>,
}

impl Batch {
    pub(super) fn note(&mut self, ticket: Ticket, event: NewEvent) {
        self.events.push(event);
        self.wait(ticket);
    }

    /// Answers when this batch is durable.
    pub(super) fn wait(&mut self, ticket: Ticket) {
        self.tickets.push((ticket, Answer::Done));
    }
}

impl State {
    /// Whether this agent may speak for the node; if so, its lease begins anew.
    pub(super) fn lease(&mut self, node: &NodeName, hello: &Hello, now: Timestamp) -> Result<(), Answer> {
        let mut lease = Lease::to(hello, now);
        if let Some(held) = self.leases.get(node) {
            let free_at = held.heard_at + self.policy.stale_after();
            if held.is_of(&lease) {
                lease.since = held.since;
            } else if now < free_at && !lease.is_of_later_start(held) {
                let (is_copy, Lease { agent, host, since, heard_at, .. }) =
                    (held.agent == lease.agent, held.clone());
                return Err(Answer::SecondAgent { agent, host, since, heard_at, free_at, is_copy });
            }
        }
        self.leases.insert(node.clone(), lease);
        Ok(())
    }

    pub(super) fn report(
        &mut self,
        ticket: Ticket,
        node: NodeName,
        hello: &Hello,
        report: Report,
        now: Timestamp,
    ) -> Option<Answer> {
        if let Err(refused) = self.lease(&node, hello, now) {
            return Some(refused);
        }
        let last = self.reported.nodes.get(&node).map(|last| last.status.clone());
        let (digest, status) = match report {
            Report::Status(status) => {
                let (digest, status) = (status.digest(), self.redacted(status));
                (digest, Some(status).filter(|status| last.as_ref() != Some(status)))
            }
            Report::Heartbeat { digest } if self.status_digest(&node) == Some(digest) => (digest, None),
            Report::Heartbeat { .. } => return Some(self.receipt(true)),
        };
        let receipt = self.receipt(false);
        let batch = self.recording.ask();
        if self.stale.contains(&node) {
            batch.events.push(happened::back(&node, now));
        }
        let plan = self.plans.get(&node).map(|plan| &**plan);
        if let Some(status) = &status {
            batch.events.extend(happened::to_node(last.as_deref(), status, plan, now));
        }
        let mut reached = None;
        if let Some((plan, status)) = plan.zip(status.as_ref().or(last.as_ref())) {
            let noted = self.noted.get(&node);
            if status.accepted == Some(PlanId::of(plan))
                && noted.is_none_or(|noted| !Arc::ptr_eq(noted, status))
            {
                reached = release::reached(noted.map(|noted| &**noted), status, plan);
                batch.noted.insert(node.clone(), status.clone());
            }
        }
        batch.digests.insert(node.clone(), digest);
        batch.reports.push(StatusReport { node, status, heard_at: now, reached });
        batch.tickets.push((ticket, receipt));
        None
    }

    fn redacted(&self, status: Arc<NodeStatus>) -> Arc<NodeStatus> {
        let sensitive = self.in_force.as_ref().map(|definitions| definitions.desired.sensitive.clone());
        Arc::new(Arc::unwrap_or_clone(status).redacted(&sensitive.unwrap_or_default()))
    }

    fn receipt(&self, want_status: bool) -> Answer {
        let heartbeat_seconds = u32::try_from(self.policy.heartbeat.as_secs()).unwrap_or(u32::MAX).max(1);
        Answer::Received(Receipt { want_status, heartbeat_seconds })
    }

    /// Of the state that is held of a node, as it was sent. Where that is not known, as after a start, it is that of
    /// what was kept; an agent that sent a secret with it is asked for it in full once more.
    fn status_digest(&mut self, node: &NodeName) -> Option<Digest> {
        let status = &self.reported.nodes.get(node)?.status;
        Some(*self.status_digests.entry(node.clone()).or_insert_with(|| status.digest()))
    }

    pub(super) fn start_recording(&mut self, now: Timestamp) -> Option<Effect> {
        let waiting = self.recording.waiting()?;
        let urgent = !waiting.tickets.is_empty() || self.stopping;
        if !urgent && self.record_again_at.is_some_and(|at| now < at) {
            return None;
        }
        let batch = self.recording.start()?;
        self.record_again_at = None;
        let Batch { reports, events, finished, outbox, .. } = batch;
        Some(Effect::Record {
            reports: reports.clone(),
            events: events.clone(),
            finished: finished.clone(),
            outbox: outbox.clone(),
        })
    }

    pub(super) fn recorded(
        &mut self,
        result: Result<Vec<store::Event>, String>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let Some(batch) = self.recording.finish() else { return Vec::new() };
        let Ok(events) = result else { return self.not_recorded(batch, now) };
        self.numbered(&events);
        for report in batch.reports {
            self.heard(report);
        }
        self.status_digests.extend(batch.digests);
        self.noted.extend(batch.noted);
        let answers = batch.tickets.into_iter().map(|(ticket, answer)| Effect::Answer(ticket, answer));
        answers.chain(self.begin_errand(&batch.outbox, now)).collect()
    }

    /// The reports come again, their agents keep them; the events and the outbox are kept here.
    fn not_recorded(&mut self, batch: Batch, now: Timestamp) -> Vec<Effect> {
        if self.stopping {
            self.recording.take_waiting();
        } else if !(batch.events.is_empty() && batch.outbox.is_empty()) {
            let waiting = self.recording.ask();
            waiting.finished = waiting.finished.take().or(batch.finished);
            for (key, change) in batch.outbox {
                waiting.outbox.entry(key).or_insert(change);
            }
            let waiting = &mut waiting.events;
            waiting.splice(0..0, batch.events);
            waiting.drain(..waiting.len().saturating_sub(MAX_WAITING_EVENTS));
            self.record_again_at = Some(now + backoff(2));
        }
        batch.tickets.into_iter().map(|(ticket, _)| Effect::Answer(ticket, Answer::NotStored)).collect()
    }

    /// Takes over what is durable now.
    fn heard(&mut self, report: StatusReport) {
        let StatusReport { node, status, heard_at, reached } = report;
        if let Some(reached) = &reached {
            self.reached(&node, reached, heard_at);
        }
        let stale_after = self.policy.stale_after();
        self.stale.remove(&node);
        self.lost.retain(|(lost, _)| *lost != node);
        let nodes = &mut Arc::make_mut(&mut self.reported).nodes;
        match (nodes.get_mut(&node), status) {
            (Some(last), None) => {
                let was_old = heard_at.duration_since(last.heard_at) >= stale_after;
                last.heard_at = heard_at;
                if was_old {
                    self.want_pass("a node is back");
                }
            }
            (_, Some(status)) => {
                nodes.insert(node.clone(), ReportedNode { status, heard_at });
                self.want_pass("a node reported");
            }
            (None, None) => {}
        }
    }

    /// When the next node falls silent. One that was not heard since the start gets its time from the start: the
    /// daemon was away, not the node.
    pub(super) fn next_stale_at(&self) -> Option<Timestamp> {
        self.falling_silent().map(|(at, _)| at).min()
    }

    fn falling_silent(&self) -> impl Iterator<Item = (Timestamp, &NodeName)> {
        let believed = self.reported.nodes.iter().filter(|(node, _)| !self.stale.contains(*node));
        believed.map(|(node, last)| (last.heard_at.max(self.started_at) + self.policy.stale_after(), node))
    }

    /// When the next service stops waiting for a silent node.
    pub(super) fn next_loss_at(&self) -> Option<Timestamp> {
        self.being_lost().map(|(at, ..)| at).min()
    }

    fn being_lost(&self) -> impl Iterator<Item = (Timestamp, &NodeName, u32)> {
        let failovers =
            self.definitions.iter().flat_map(|definitions| &definitions.desired.placing.failovers);
        let silent = failovers.flat_map(|seconds| self.stale.iter().map(move |node| (node, *seconds)));
        let waiting = silent.filter(|(node, seconds)| !self.lost.contains(&((*node).clone(), *seconds)));
        waiting.filter_map(|(node, seconds)| {
            let heard_at = self.reported.nodes.get(node)?.heard_at.max(self.started_at);
            let patience = SignedDuration::from_secs(seconds.into()).max(self.policy.stale_after());
            Some((heard_at + patience, node, seconds))
        })
    }

    pub(super) fn tick_reports(&mut self, now: Timestamp) {
        let lost: Vec<(NodeName, u32)> = self
            .being_lost()
            .filter(|(at, ..)| *at <= now)
            .map(|(_, node, seconds)| (node.clone(), seconds))
            .collect();
        if !lost.is_empty() {
            self.lost.extend(lost);
            self.want_pass("a node is lost");
        }
        let silent: Vec<NodeName> =
            self.falling_silent().filter(|(at, _)| *at <= now).map(|(_, node)| node.clone()).collect();
        for node in silent {
            let heard_at = self.reported.nodes.get(&node).map(|last| last.heard_at);
            self.recording.ask().events.push(happened::silent(&node, heard_at, now));
            self.stale.insert(node);
            self.want_pass("a node is stale");
        }
    }
}
