//! Whether valid definitions are deployed: by themselves, because an operator asks, or only as the plan that was seen.
//!
//! A *trial* is a pass over definitions that are deployed only if a plan that somebody asked for is what comes out. The
//! round of the source that it belongs to stays open until it ends, so there is one at a time, and nothing else changes
//! what is looked at in between.

use std::sync::Arc;

use gitops_core::name::{Digest, Revision};
use gitops_core::reconcile::Definitions;
use jiff::Timestamp;

use super::happened;
use super::reading::{Reading, Round, Stage, Verdict};
use super::state::{Effect, State};
use crate::api::control::Answer;
use crate::config::Deploy;

/// Definitions that are being planned because somebody asked for a certain plan of them.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) definitions: Arc<Definitions>,
    /// They are deployed only if some plan that was asked for is the one that comes out.
    pub(super) is_bound: bool,
    /// None that was asked for came out.
    pub(super) is_refused: bool,
}

impl Reading {
    /// What is to be planned before all else.
    pub(super) fn trial(&self) -> Option<&Arc<Definitions>> {
        match &self.stage {
            Stage::Trying(trial) => Some(&trial.definitions),
            _ => None,
        }
    }

    /// Whether what was tried must not be deployed.
    pub(super) fn is_refused(&self) -> bool {
        matches!(&self.stage, Stage::Trying(Trial { is_bound: true, is_refused: true, .. }))
    }
}

impl State {
    /// What becomes of the newest definitions, which are valid: they are deployed, tried, or wait. Those that are
    /// deployed already need nobody's word, also where they could not be read before.
    pub(super) fn take(&mut self, definitions: Arc<Definitions>) -> Vec<Effect> {
        let is_loaded = self.definitions.as_ref().is_some_and(|known| known.revision == definitions.revision);
        let is_deployed = self.deployed.as_ref() == Some(&definitions.revision);
        if is_deployed {
            self.in_force = Some(definitions.clone());
        }
        let is_known = is_loaded || is_deployed;
        let round = self.reading.rounds.running();
        let is_demanded = round.is_some_and(|round| !round.demands.is_empty());
        let is_wanted = round.is_some_and(|round| !round.tickets.is_empty());
        let is_bound = is_demanded && !is_wanted && !is_known;
        if is_demanded {
            self.reading.stage = Stage::Trying(Trial { definitions, is_bound, is_refused: false });
            self.want_pass("a plan was asked for");
            return Vec::new();
        }
        if is_wanted || is_known || self.policy.deploy == Deploy::Auto {
            if !is_loaded {
                self.accept(definitions);
            }
        } else {
            self.reading.verdict = Verdict::Waiting(definitions.revision.clone());
        }
        self.read_on()
    }

    /// Plans from these from now on.
    pub(super) fn accept(&mut self, definitions: Arc<Definitions>) {
        self.definitions = Some(definitions);
        self.reading.verdict = Verdict::Fine;
        self.want_pass("the definitions changed");
    }

    /// Answers those who asked for another plan than this, and notes whether anything may be deployed.
    pub(super) fn tried(&mut self, id: &Digest, revision: &Revision, now: Timestamp) -> Vec<Effect> {
        let Some(round) = self.reading.rounds.running_mut() else { return Vec::new() };
        let (met, missed): (Vec<_>, Vec<_>) = round.demands.drain(..).partition(|(_, plan)| plan == id);
        round.demands = met;
        let is_refused = round.demands.is_empty();
        if let Stage::Trying(trial) = &mut self.reading.stage {
            trial.is_refused = is_refused;
        }
        let told = missed.first().map(|(_, asked)| happened::refused(asked, id, revision, now));
        self.recording.ask().events.extend(told);
        let moved = Answer::PlanMoved { revision: revision.clone() };
        missed.into_iter().map(|(ticket, _)| Effect::Answer(ticket, moved.clone())).collect()
    }

    /// Ends the round of a trial, if one runs; with `answer` where it came to nothing.
    pub(super) fn end_trial(&mut self, answer: Option<&Answer>) -> Vec<Effect> {
        let Some(revision) = self.reading.trial().map(|tried| tried.revision.clone()) else {
            return Vec::new();
        };
        self.reading.stage = Stage::Fetching;
        let is_deployed = self.deployed.as_ref() == Some(&revision);
        self.reading.verdict = match is_deployed || self.policy.deploy == Deploy::Auto {
            true => Verdict::Fine,
            false => Verdict::Waiting(revision),
        };
        if !is_deployed {
            self.reading.accepted = None;
        }
        match answer {
            None => self.read_on(),
            Some(answer) => {
                let everyone = self.reading.rounds.finish().into_iter().flat_map(Round::everyone);
                everyone.map(|ticket| Effect::Answer(ticket, answer.clone())).collect()
            }
        }
    }

    /// Ends the round of a trial whose ground is gone: another revision is deployed.
    pub(super) fn abandon_trial(&mut self) -> Vec<Effect> {
        match self.reading.trial().map(|trial| trial.revision.clone()) {
            Some(revision) => self.end_trial(Some(&Answer::PlanMoved { revision })),
            None => Vec::new(),
        }
    }
}
