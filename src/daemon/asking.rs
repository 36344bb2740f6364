//! Questions that take longer than a step: what deploying something would do, and how the fleet stands to its plans.
//!
//! They are answered beside the loop, each over a picture of the moment in which it was begun. Two run at a time, a few
//! wait, and beyond that callers are told to come back: nobody can pile up work or memory by asking.

use std::collections::VecDeque;
use std::sync::Arc;

use gitops_core::fleet::NodeView;
use gitops_core::name::Revision;
use gitops_core::reconcile::preview::Picture;
use gitops_core::release::ReleaseView;
use jiff::Timestamp;

use super::state::{Effect, State, Ticket};
use crate::api::control::Answer;
use crate::api::wire::{DiffRequest, Only};

/// So many are answered at a time. A preview of a large fleet takes one processor for a tenth of a second.
const BESIDE: usize = 2;
/// So many wait. Each may hold a body of the size that the API takes.
const MAX_WAITING: usize = 6;

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// What deploying a tree would do.
    Diff(Box<DiffRequest>),
    /// How the fleet stands to its plans.
    Drift(Only),
    /// What a release put where.
    Applied(Box<ReleaseView>),
}

/// A question, and what it is about.
#[derive(Debug)]
pub struct Study {
    /// What is asked.
    pub question: Question,
    /// The fleet as it is.
    pub picture: Picture,
    /// How the last pass saw the nodes.
    pub views: Vec<NodeView>,
    /// The newest commit that was seen.
    pub newest: Option<Revision>,
}

/// What is being answered, and what waits.
#[derive(Debug, Default)]
pub(super) struct Questions {
    running: usize,
    waiting: VecDeque<(Ticket, Question)>,
}

impl Questions {
    /// Forgets what waits, and returns who asked.
    pub(super) fn abandon(&mut self) -> Vec<Ticket> {
        self.waiting.drain(..).map(|(ticket, _)| ticket).collect()
    }
}

impl State {
    /// Takes a question, or says why not.
    pub(super) fn question(&mut self, ticket: Ticket, question: Question) -> Option<Answer> {
        if self.questions.waiting.len() >= MAX_WAITING {
            return Some(Answer::Busy);
        }
        if let Question::Diff(request) = &question
            && let Err(answer) = self.check_base(request)
        {
            return Some(answer);
        }
        self.questions.waiting.push_back((ticket, question));
        None
    }

    /// That the deployed definitions are known, and are those that the request was made against.
    fn check_base(&self, request: &DiffRequest) -> Result<(), Answer> {
        let known = self.definitions.as_ref().map(|definitions| &definitions.revision);
        if self.deployed.is_some() && known.is_none() {
            return Err(Answer::NotReady);
        }
        match request.changes.is_none() || request.base.as_ref() == known {
            true => Ok(()),
            false => Err(Answer::BaseMoved { deployed: known.cloned() }),
        }
    }

    /// Begins what may run.
    pub(super) fn start_studies(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.questions.running < BESIDE {
            let Some((ticket, question)) = self.questions.waiting.pop_front() else { break };
            if let Question::Diff(request) = &question
                && let Err(answer) = self.check_base(request)
            {
                effects.push(Effect::Answer(ticket, answer));
                continue;
            }
            self.questions.running += 1;
            effects.push(Effect::Study(ticket, Box::new(self.study(question, now))));
        }
        effects
    }

    fn study(&self, question: Question, now: Timestamp) -> Study {
        let views = match &question {
            Question::Diff(_) => Vec::new(),
            Question::Drift(_) | Question::Applied(_) => self.views.clone(),
        };
        Study { question, picture: self.picture(now), views, newest: self.newest().cloned() }
    }

    /// The fleet as it is.
    pub(super) fn picture(&self, now: Timestamp) -> Picture {
        Picture {
            decisions: self.decisions.clone(),
            deployed: self.definitions.clone(),
            plans: self.plans.clone(),
            reported: Arc::clone(&self.reported),
            silent: self.stale.clone(),
            now,
            stale_after: self.policy.stale_after(),
            listening_since: self.started_at,
            seen: self.seen.clone(),
        }
    }

    pub(super) fn studied(&mut self, ticket: Ticket, answer: Answer) -> Effect {
        self.questions.running = self.questions.running.saturating_sub(1);
        Effect::Answer(ticket, answer)
    }
}
