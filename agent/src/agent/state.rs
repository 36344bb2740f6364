//! What the agent decides: `step(event, moment) → effects`, and nothing else.
//!
//! The state holds every timer, retry and thing under way, so a simulator can drive it without a clock, a network
//! or a disk. An event is taken in by the part it concerns; then every part is asked what is due. An effect is
//! answered by exactly one event, except those that say otherwise.
//!
//! **Invariant:** a plan is walked only after [`Event::Saved`] said that it is in the ledger, and saved only after
//! [`Event::Fetched`] said that all its content is here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, Generation, NodeName, ServiceName};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::{AgentInfo, Container, HostInfo, NodeStatus, Orphans, PlanId, SCHEMA};

use super::logs::Logs;
use super::look::Look;
use super::pull::Pull;
use super::report::Report;
use crate::apply::{Act, Fault, Limits, Walk};
use crate::checks::{self, Ask};
use crate::drift::{Pictures, Touch, Undo};
use crate::host::{HookCall, Observation};
use crate::journal::{HookEnd, Journal};
use crate::ledger::{Record, Refused};
use crate::moment::Moment;

/// What happened.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time is on its way")]
pub enum Event {
    /// Time passed: at the latest at [`State::wake_at`].
    Tick,
    /// Docker says that one of our containers changed.
    Changed,
    /// Docker says what happened to a container.
    Touched {
        /// The service that its label names; none where it is not told.
        service: Option<ServiceName>,
        /// What happened.
        touch: Touch,
    },
    /// Answers [`Effect::Poll`].
    Polled(Result<Offer, Failed>),
    /// Answers [`Effect::Fetch`].
    Fetched {
        /// The plan whose content was wanted.
        plan: Arc<NodePlan>,
        /// All of it is here, or why not.
        result: Result<(), Failed>,
    },
    /// Answers [`Effect::Save`].
    Saved(Result<(), Failed>),
    /// Answers [`Effect::Observe`].
    Observed(Result<Observation, Failed>),
    /// Answers [`Effect::Info`].
    Informed(HostInfo),
    /// Answers [`Effect::Orphans`].
    Orphans(Result<Orphans, Failed>),
    /// Answers [`Effect::Begin`] and [`Effect::Correct`].
    Ended {
        /// The step, as it was begun.
        step: Step,
        /// Whether the host did it.
        result: Result<(), Fault>,
    },
    /// Answers [`Effect::Probe`].
    Probed {
        /// Of the question.
        number: u64,
        /// What came of it.
        answer: checks::Answer,
    },
    /// Answers [`Effect::SaveJournal`].
    Journaled(Result<(), Failed>),
    /// Answers [`Effect::RunHook`].
    HookEnded {
        /// Which hook.
        call: HookCall,
        /// How it ended, none where it never began; or why that cannot be told.
        result: Result<Option<HookEnd>, Fault>,
    },
    /// Answers [`Effect::ReadLogs`].
    Logs {
        /// The step that failed.
        service: ServiceName,
        /// Whose lines they are.
        container: Arc<str>,
        /// Oldest first.
        lines: Vec<String>,
    },
    /// Answers [`Effect::Report`].
    Reported(Result<Answer, Failed>),
    /// The log of a step has new lines.
    Logged,
    /// Answers [`Effect::SendLogs`]: whether there is more, or why not.
    LogsSent(Result<bool, Failed>),
    /// Begin nothing more.
    Stop,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the daemon for a plan other than this.
    Poll {
        /// The newest plan that was judged.
        known: Option<Digest>,
    },
    /// Fetch what is missing of the content that this plan names.
    Fetch {
        /// The plan.
        plan: Arc<NodePlan>,
    },
    /// Write the plan to the ledger, durably.
    Save {
        /// The plan.
        plan: Arc<NodePlan>,
    },
    /// Write down what is put in place, durably. Nothing answers.
    SaveRecord(Record),
    /// Write down how the containers of instances are meant to stay, durably. Nothing answers.
    SavePictures(Pictures),
    /// Delete content that neither the accepted plan names nor what is in place. Nothing answers.
    Prune {
        /// All other.
        keep: BTreeSet<Digest>,
    },
    /// Look at the containers.
    Observe {
        /// Relying on nothing that earlier looks told.
        anew: bool,
    },
    /// List the containers that no plan made.
    Orphans,
    /// Ask what the machine is and has.
    Info,
    /// Do a step.
    Begin {
        /// What to do.
        step: Step,
        /// Of the plan that it is done for.
        generation: Generation,
        /// Its containers as they were seen.
        observed: Vec<Container>,
        /// Why.
        reason: String,
    },
    /// Ask a container.
    Probe(Ask),
    /// Write down what was begun, durably.
    SaveJournal(Journal),
    /// Run a hook to its end, or wait for one that runs.
    RunHook {
        /// Which.
        call: HookCall,
        /// Of the plan that it is run for.
        generation: Generation,
        /// Why.
        reason: String,
    },
    /// Let the container of a hook go whose end is written down. Nothing answers.
    ForgetHook {
        /// Its name.
        container: Arc<str>,
    },
    /// Undo what others changed of an instance.
    Correct {
        /// The step.
        step: Step,
        /// Of the plan that it is done for.
        generation: Generation,
        /// What undoes it.
        undo: Vec<Undo>,
        /// Why.
        reason: String,
    },
    /// Read the last lines of a container.
    ReadLogs {
        /// The step that failed.
        service: ServiceName,
        /// Docker's id.
        container: Arc<str>,
    },
    /// Tell the daemon.
    Report(Message),
    /// Hand it a piece of the logs that it does not have.
    SendLogs,
    /// Write the status beside the ledger. Nothing answers.
    Snapshot(Box<NodeStatus>),
    /// Say it in the log. Nothing answers.
    Tell(Tell, String),
}

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// As it should be.
    Progress,
    /// It is tried again by itself.
    Problem,
    /// A person has to do something.
    Alarm,
}

/// What the daemon offered.
#[derive(Clone, Debug)]
pub enum Offer {
    /// A plan.
    Plan(Arc<NodePlan>),
    /// A plan that this agent cannot even read.
    Unusable {
        /// Its name.
        plan: PlanId,
        /// Why.
        refused: Refused,
    },
    /// Nothing else than what is known.
    Nothing,
}

/// What the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The whole state.
    Full(Box<NodeStatus>),
    /// It is as it was.
    Heartbeat {
        /// Of the state.
        digest: Digest,
    },
}

/// What the daemon says to a report.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How often it wants to hear from us.
    pub heartbeat_seconds: u64,
    /// It does not know the state that was named.
    pub want_full: bool,
}

/// Why something outside did not work, as text: the error with its causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In one line.
    pub message: String,
    /// What lies behind it.
    pub cause: Cause,
}

/// What keeps something outside from working, as far as the agent does anything about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The other side does not answer, or not now.
    Away,
    /// The daemon answered what cannot be used.
    Answer,
    /// The state folder cannot be written.
    Disk,
    /// Another agent is active under our identity.
    SecondAgent,
}

/// What the agent is told at start and keeps to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node that it works for.
    pub node: NodeName,
    /// Who it is.
    pub agent: AgentInfo,
    /// Of the walk.
    pub limits: Limits,
    /// How often to look at Docker when nothing happens.
    pub observe_every: Duration,
    /// How often to report until the daemon names another rhythm.
    pub heartbeat: Duration,
}

/// All that the agent knows.
#[derive(Clone, Debug)]
pub struct State {
    node: NodeName,
    agent: AgentInfo,
    host: Option<HostInfo>,
    orphans: Orphans,
    pull: Pull,
    look: Look,
    walk: Walk,
    report: Report,
    logs: Logs,
    /// Content of the accepted plan is being fetched again.
    refetching: bool,
    /// When it was said last that another agent is active under our identity: nothing is begun.
    refused_at: Option<Duration>,
    stopping: bool,
}

impl State {
    /// At the start of the process: with what the disk holds.
    pub fn new(settings: Settings, held: Option<Arc<NodePlan>>, record: Record, journal: Journal) -> Self {
        let Settings { node, agent, limits, observe_every, heartbeat } = settings;
        Self {
            pull: Pull::new(node.clone(), held),
            look: Look::new(observe_every),
            walk: Walk::new(limits, record, journal),
            report: Report::new(heartbeat),
            logs: Logs::new(),
            node,
            agent,
            host: None,
            orphans: Orphans::default(),
            refetching: false,
            refused_at: None,
            stopping: false,
        }
    }

    /// With what was known of containers before.
    #[must_use]
    pub fn with_pictures(self, pictures: Pictures) -> Self {
        Self { walk: self.walk.with_pictures(pictures), ..self }
    }

    /// Takes in what happened and says what is to be done, in this order.
    pub fn step(&mut self, event: Event, moment: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take(event, moment, &mut effects);
        if self.stopping {
            effects.retain(|effect| matches!(effect, Effect::SaveRecord(_) | Effect::Tell(..)));
            return effects;
        }
        self.pull.go(moment, &mut effects);
        self.walk(moment, &mut effects);
        self.look.go(moment, &mut effects);
        if let Some(status) = self.status() {
            self.report.update(status, &mut effects);
        }
        self.report.go(moment, &mut effects);
        self.logs.go(moment, &mut effects);
        effects
    }

    /// When [`Event::Tick`] is due at the latest; none while only another event can change anything.
    pub fn wake_at(&self) -> Option<Duration> {
        let walk =
            [self.walk.wake_at(), self.walk.ask_at()].into_iter().filter(|_| self.refused_at.is_none());
        let parts = [self.pull.wake_at(), self.look.wake_at(), self.report.wake_at(), self.logs.wake_at()];
        parts.into_iter().chain(walk).flatten().min()
    }

    /// Whether it was told to stop and no step is under way any more.
    pub fn is_done(&self) -> bool {
        self.stopping && !self.walk.is_busy()
    }

    /// What it reports. None until Docker was asked once: an empty report would look like an empty node.
    pub fn status(&self) -> Option<NodeStatus> {
        let host = self.host.clone()?;
        let instances = match self.walk.observation() {
            Some(observation) => observation.instances.clone(),
            None if host.problem.is_some() => Default::default(),
            None => return None,
        };
        Some(NodeStatus {
            schema: SCHEMA,
            node: self.node.clone(),
            agent: self.agent.clone(),
            host,
            accepted: self.pull.held().map(|plan| PlanId::of(plan)),
            refused: self.pull.refused().cloned(),
            steps: self.pull.held().map(|plan| self.walk.results(plan)).unwrap_or_default(),
            instances,
            drift: self.walk.drift(),
            orphans: self.orphans.clone(),
        })
    }

    fn take(&mut self, event: Event, moment: Moment, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Changed => self.look.soon(moment),
            Event::Touched { service, touch } => {
                self.walk.touched(service, touch, moment);
                self.look.soon(moment);
            }
            Event::Polled(answer) => {
                self.heed(self.pull.asked_at(), answer.as_ref().err(), moment, effects);
                self.pull.answered(answer, moment, effects);
            }
            Event::Fetched { plan, result } => {
                self.refetching = false;
                self.pull.fetched(&plan, result, moment, effects);
            }
            Event::Saved(result) => {
                if self.pull.saved(result, moment, effects) {
                    let keep = self.pull.held().map(|plan| self.walk.content(plan));
                    effects.extend(keep.map(|keep| Effect::Prune { keep }));
                    self.look.soon(moment);
                }
            }
            Event::Observed(result) => self.observed(result, moment, effects),
            Event::Informed(host) => {
                self.look.informed();
                self.host = Some(host);
            }
            Event::Orphans(answer) => {
                self.look.listed_orphans();
                // A Docker that does not answer is told of elsewhere; what was known is still likely.
                self.orphans = answer.unwrap_or_else(|_| self.orphans.clone());
            }
            Event::Ended { step, result } => self.ended(&step, result, moment, effects),
            Event::Probed { number, answer } => self.walk.probed(number, answer, moment),
            Event::Journaled(result) => self.walk.journaled(result.map_err(|failed| failed.message), moment),
            Event::HookEnded { call, result } => self.hook_ended(&call, result, moment, effects),
            Event::Logs { service, container, lines } => self.walk.logs(&service, &container, &lines),
            Event::Reported(answer) => {
                self.heed(self.report.sent_at(), answer.as_ref().err(), moment, effects);
                self.report.answered(answer, moment, effects);
            }
            Event::Logged => self.logs.wrote(),
            Event::LogsSent(answer) => self.logs.answered(answer, moment, effects),
            Event::Stop => self.stopping = true,
        }
    }

    fn observed(&mut self, result: Result<Observation, Failed>, moment: Moment, effects: &mut Vec<Effect>) {
        match (self.look.over(result.is_ok(), moment), result) {
            (Some(number), Ok(observation)) => {
                self.walk.saw(number, observation, moment);
            }
            (_, Err(failed)) => effects.push(Effect::Tell(Tell::Problem, failed.message)),
            (None, Ok(_)) => {}
        }
    }

    fn ended(&mut self, step: &Step, result: Result<(), Fault>, moment: Moment, effects: &mut Vec<Effect>) {
        if let Err(fault) = &result {
            self.refetch(fault.lacks_content, effects);
        }
        if self.walk.ended(step, result, self.look.next_number(), moment) {
            effects.push(Effect::SaveRecord(self.walk.record().clone()));
        }
        self.look.soon(moment);
    }

    fn hook_ended(
        &mut self,
        call: &HookCall,
        result: Result<Option<HookEnd>, Fault>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(fault) = &result {
            self.refetch(fault.lacks_content, effects);
        }
        self.walk.hook_ended(call, result, moment);
        self.look.soon(moment);
    }

    /// Content of the accepted plan was lost from the disk: the daemon still has it.
    fn refetch(&mut self, lacks_content: bool, effects: &mut Vec<Effect>) {
        if let Some(plan) = self.pull.held().filter(|_| lacks_content && !self.refetching) {
            effects.push(Effect::Fetch { plan: plan.clone() });
            self.refetching = true;
        }
    }

    /// Two agents with one identity would undo each other's work: the one that the daemon refuses stands still. An answer to
    /// what was asked before, as to a request for a plan that was held, says nothing about that.
    fn heed(
        &mut self,
        asked_at: Option<Duration>,
        failed: Option<&Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        match failed {
            Some(failed) if failed.cause == Cause::SecondAgent => {
                if self.refused_at.is_none() {
                    let text = format!(
                        "another agent is active with the identity of this one: nothing is applied here until it \
                         stops, or this one gets its own token: {}",
                        failed.message
                    );
                    effects.push(Effect::Tell(Tell::Alarm, text));
                }
                self.refused_at = Some(moment.elapsed);
            }
            // A daemon that cannot be reached says nothing about that.
            Some(_) => {}
            None if self.refused_at.is_some() && asked_at >= self.refused_at => {
                self.refused_at = None;
                effects.push(Effect::Tell(Tell::Progress, "this agent is the only one again".to_owned()));
            }
            None => {}
        }
    }

    fn walk(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        let Some(plan) = self.pull.held().filter(|_| self.refused_at.is_none()).cloned() else { return };
        if self.walk.learn(&plan) {
            effects.push(Effect::SaveRecord(self.walk.record().clone()));
        }
        for act in self.walk.advance(&plan, moment) {
            effects.push(match act {
                Act::Begin { step, observed, reason } => {
                    Effect::Begin { step, generation: plan.generation, observed, reason }
                }
                Act::Correct { step, undo, reason } => {
                    Effect::Correct { step, generation: plan.generation, undo, reason }
                }
                Act::ReadLogs { service, container } => Effect::ReadLogs { service, container },
                Act::Probe(ask) => Effect::Probe(ask),
                Act::SaveJournal(journal) => Effect::SaveJournal(journal),
                Act::RunHook { call, reason } => {
                    Effect::RunHook { call, generation: plan.generation, reason }
                }
                Act::ForgetHook { container } => Effect::ForgetHook { container },
            });
        }
        effects.extend(self.walk.unsaved_pictures().map(Effect::SavePictures));
        if let Some(at) = self.walk.wake_at() {
            self.look.by(at);
        }
    }
}
