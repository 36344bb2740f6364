//! What agents and daemons say to each other, and what becomes of it on the way.
//!
//! A request may be lost, come late, come twice or overtake another; so may its answer. The agent waits for its answer for
//! a while and then goes on without, as its client does.

use std::sync::Arc;

use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Report, SPOKEN};
use gitops_core::status::Start;

use crate::clock::Millis;
use crate::dice::Dice;

/// What an agent asks for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Its plan, if that is another than this.
    Plan(Option<Digest>),
    /// The content that a plan names, of which this is missing.
    Content(Vec<Digest>),
    /// To be heard.
    Report(Report),
    /// To take log lines.
    Logs,
}

impl Ask {
    /// How long the agent waits for the answer.
    pub(crate) fn patience(&self) -> Millis {
        match self {
            Self::Plan(_) => 75_000,
            Self::Content(_) | Self::Report(_) | Self::Logs => 20_000,
        }
    }
}

/// What it is told.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A plan.
    Plan(Arc<NodePlan>),
    /// There is no other.
    NoPlan,
    /// All content is there.
    Content,
    /// The report is durable.
    Received {
        /// How often it should report.
        heartbeat_seconds: u64,
        /// It should report in full.
        want_full: bool,
    },
    /// The lines were taken.
    Taken,
    /// Another agent speaks for the node.
    SecondAgent,
    /// What was asked for is not there.
    NotFound,
    /// The daemon is not there, or cannot.
    Away,
}

/// Who asks, so that the answer finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sender {
    /// On which machine.
    pub(crate) machine: usize,
    /// Which process on it: the number of its start.
    pub(crate) life: u64,
    /// Which request of it.
    pub(crate) request: u64,
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) sender: Sender,
    /// For which node.
    pub(crate) node: NodeName,
    /// As whom.
    pub(crate) hello: Hello,
    /// For what.
    pub(crate) ask: Ask,
}

/// The greeting of an agent.
pub(crate) fn hello(node: &NodeName, agent: &Arc<str>, start: Option<Start>, machine: usize) -> Hello {
    let (agent, version) = (agent.clone(), "1".into());
    let host = format!("machine-{machine}").into();
    Hello { protocols: SPOKEN, agent, version, host, node: Some(node.clone()), start }
}

/// The line between a machine and the daemons, in permille and milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// So many messages are lost.
    pub(crate) lost: u64,
    /// So many come twice.
    pub(crate) twice: u64,
    /// The longest way.
    pub(crate) slowest: Millis,
}

impl Line {
    /// As it should be.
    pub(crate) const GOOD: Self = Self { lost: 0, twice: 0, slowest: 40 };

    /// When a message arrives, counted from now: never, once or twice.
    pub(crate) fn ways(&self, dice: &mut Dice) -> Vec<Millis> {
        let mut ways = Vec::new();
        if dice.chance(self.lost) {
            return ways;
        }
        ways.push(dice.between(1, self.slowest));
        if dice.chance(self.twice) {
            ways.push(dice.between(1, self.slowest));
        }
        ways
    }
}
