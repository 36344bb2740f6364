//! Whether a service meets its controls, requirement by requirement and rule by rule, on each node where it runs.
//!
//! [`standings`] is the whole answer, for `gitops controls check`; [`findings`] is what of it keeps a commit back, warns or
//! is recorded.

mod facts;
mod finding;
mod ground;
mod report;

use jiff::Timestamp;

use super::Subject;
use crate::catalog::{Asked, Deployment};
use crate::condition::{Condition, Failure, Mistake};
use crate::definition::{Approval, Control, Enforcement, Level, Located, Rule};
use crate::desired::Instance;
use crate::diagnostic::Diagnostic;
use crate::name::{ControlName, EnvironmentName, FeatureName, NodeName};
use crate::usage::{self, Lack};
use facts::Facts;
pub(super) use ground::check_ground;
pub use report::Compliance;
pub(super) use report::compliance;

/// How a service stands to one control.
#[derive(Clone, Debug)]
pub(super) struct Standing<'a> {
    /// The control.
    pub(super) control: &'a Located<Control>,
    /// Why it must meet it.
    pub(super) asked: Asked<'a>,
    /// Where it was looked at: each instance. One without a node for each environment where it has none.
    pub(super) spots: Vec<Spot<'a>>,
    /// What the control asks for, in its order.
    pub(super) asks: Vec<Ask<'a>>,
}

/// One place where a service runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    /// The service as it is in an environment, or everywhere.
    pub(super) deployment: &'a Deployment,
    /// The node; none where it runs on none.
    pub(super) node: Option<&'a NodeName>,
    /// What the control weighs there.
    pub(super) enforcement: Enforcement,
}

/// One thing that a control asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    /// What it is.
    pub(super) what: What<'a>,
    /// How it stands at each of the spots, in their order.
    pub(super) outcomes: Vec<Outcome<'a>>,
}

/// What a control asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What<'a> {
    /// A feature that must be used and available.
    Required(&'a FeatureName),
    /// A feature that is good to use.
    Optional(&'a FeatureName),
    /// A condition that must hold.
    Rule(&'a Rule),
}

/// How one thing that is asked for stands at one spot.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome<'a> {
    /// Used and available, or the condition holds.
    Met,
    /// A feature that could be used there, and is not.
    NotUsed,
    /// A feature that cannot be used there.
    Unavailable {
        /// Whether the service uses it all the same.
        is_used: bool,
        /// What is in the way.
        lack: Lack,
    },
    /// The condition does not hold.
    Broken,
    /// The condition does not hold, and need not.
    Approved(&'a Approval),
    /// The condition has no answer.
    Failed(Failure),
    /// The condition cannot be read.
    Unread(&'a Mistake),
    /// It is not known: the service runs on no node.
    Unknown,
}

impl Outcome<'_> {
    /// Whether nothing is left to ask for.
    pub(super) fn is_met(&self) -> bool {
        matches!(self, Self::Met | Self::Approved(_) | Self::Unknown)
    }

    /// A rule without an answer, which counts as denied whatever its level.
    fn is_unanswered(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Unread(_))
    }
}

impl What<'_> {
    /// Whether a service that lacks it does not meet the control; otherwise it does not meet it fully.
    pub(super) fn is_enforced(self) -> bool {
        match self {
            Self::Required(_) => true,
            Self::Optional(_) => false,
            Self::Rule(rule) => rule.level != Level::Warn,
        }
    }
}

/// Whether a service meets a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// All that is asked for is there, everywhere.
    Met,
    /// What is enforced is missing at some spots and there at others; or only what is not enforced is missing.
    NotFullyMet,
    /// Something that is enforced is missing everywhere.
    NotMet,
}

impl Answer {
    /// As it is said: `met`, `not fully met`, `not met`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotFullyMet => "not fully met",
            Self::NotMet => "not met",
        }
    }
}

impl<'a> Standing<'a> {
    /// Whether the service meets the control.
    pub(super) fn answer(&self) -> Answer {
        let unmet = self.asks.iter().filter(|ask| ask.outcomes.iter().any(|outcome| !outcome.is_met()));
        let is_enforced =
            |ask: &Ask<'_>| ask.what.is_enforced() || ask.outcomes.iter().any(Outcome::is_unanswered);
        let of = |ask: &Ask<'_>| match is_enforced(ask) && !ask.outcomes.iter().any(Outcome::is_met) {
            true => Answer::NotMet,
            false => Answer::NotFullyMet,
        };
        unmet.map(of).max().unwrap_or(Answer::Met)
    }

    /// How it stands in one environment, or where the service is in none.
    pub(super) fn within(&self, environment: Option<&EnvironmentName>) -> Self {
        let inside: Vec<usize> = (0..self.spots.len())
            .filter(|index| self.spots[*index].deployment.environment.as_ref() == environment)
            .collect();
        let ask = |ask: &Ask<'a>| {
            let outcomes = inside.iter().map(|index| ask.outcomes[*index].clone()).collect();
            Ask { what: ask.what, outcomes }
        };
        Self {
            control: self.control,
            asked: self.asked,
            spots: inside.iter().map(|index| self.spots[*index]).collect(),
            asks: self.asks.iter().map(ask).collect(),
        }
    }

    /// The control's name.
    pub(super) fn name(&self) -> &'a ControlName {
        self.asked.control
    }
}

/// One finding for each control that the service does not meet in full, and one for each rule that has no answer.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let standings = standings(subject);
    standings.iter().flat_map(|standing| finding::of(subject, standing)).collect()
}

/// How a service stands to each control that it must meet.
pub(super) fn standings<'a>(subject: &'a Subject<'_>) -> Vec<Standing<'a>> {
    let mut asked: Vec<(Asked<'a>, Vec<Place<'a>>)> = Vec::new();
    for deployment in &subject.entry.deployments {
        let mut here: Vec<_> =
            instances(subject, deployment).map(|instance| (deployment, Some(instance))).collect();
        if here.is_empty() {
            here.push((deployment, None));
        }
        for one in subject.catalog.asked_of(deployment) {
            match asked.iter_mut().find(|(known, _)| known.control == one.control) {
                Some((_, spots)) => spots.extend(here.iter().copied()),
                None => asked.push((one, here.clone())),
            }
        }
    }
    let mut facts = Facts::new(subject);
    asked.into_iter().filter_map(|(asked, spots)| standing(subject, &mut facts, asked, &spots)).collect()
}

fn instances<'a>(
    subject: &'a Subject<'_>,
    deployment: &'a Deployment,
) -> impl Iterator<Item = (&'a NodeName, &'a Instance)> {
    let instances = subject.instances.iter().map(|(node, instance)| (node, &**instance));
    instances.filter(move |(_, instance)| instance.deployment().environment == deployment.environment)
}

/// A deployment, and where it runs.
type Place<'a> = (&'a Deployment, Option<(&'a NodeName, &'a Instance)>);

fn standing<'a>(
    subject: &'a Subject<'_>,
    facts: &mut Facts<'a>,
    asked: Asked<'a>,
    places: &[Place<'a>],
) -> Option<Standing<'a>> {
    let catalog = subject.catalog;
    let control = catalog.controls.get(asked.control)?;
    let features = |what: fn(&'a FeatureName) -> What<'a>, names: &'a [FeatureName]| {
        names.iter().map(move |name| {
            let outcomes = places.iter().map(|place| feature(subject, *place, name)).collect();
            Ask { what: what(name), outcomes }
        })
    };
    let mut asks: Vec<Ask<'a>> = features(What::Required, &control.value.requires).collect();
    let rules = control.value.rules.iter().zip(catalog.rules(asked.control));
    for (rule, read) in rules.take(Control::MAX_RULES) {
        let outcomes = rule_outcomes(subject, facts, &control.value, (rule, read), places);
        asks.push(Ask { what: What::Rule(rule), outcomes });
    }
    asks.extend(features(What::Optional, &control.value.optional));
    let spot = |(deployment, instance): &Place<'a>| {
        let node = instance.map(|(node, _)| node);
        let environment = node.and_then(|node| catalog.environment_of(node));
        let environment = environment.or(deployment.environment.as_ref());
        Spot { deployment, node, enforcement: catalog.enforcement(&control.value, environment) }
    };
    Some(Standing { control, asked, spots: places.iter().map(spot).collect(), asks })
}

/// How a feature stands for a service on a node: there first, then used.
fn feature<'a>(subject: &Subject<'a>, (deployment, instance): Place<'a>, name: &FeatureName) -> Outcome<'a> {
    let catalog = subject.catalog;
    let Some(feature) = catalog.features.get(name) else { return Outcome::Unknown };
    let is_used = match instance {
        Some((_, instance)) => instance.uses.contains_key(name),
        // What a path would find is not known of what was not rendered.
        None if feature.value.used_by.is_empty() => deployment.features(&catalog.settings).contains(name),
        None => return Outcome::Unknown,
    };
    let node = instance.and_then(|(node, _)| catalog.nodes.get(node));
    let there = match node {
        Some(node) => usage::available_on(&feature.value, &node.value),
        None if feature.value.state.is_available() => Ok(()),
        None => Err(Lack::State(feature.value.state)),
    };
    match there {
        Err(lack) => Outcome::Unavailable { is_used, lack },
        Ok(()) if is_used => Outcome::Met,
        Ok(()) => Outcome::NotUsed,
    }
}

/// How a rule stands at each place. Where it looks at nothing that differs from the place before, nor does the answer.
/// One that took too long at one place is not tried at others: the budget is for one evaluation, and nodes may be many.
fn rule_outcomes<'a>(
    subject: &'a Subject<'_>,
    facts: &mut Facts<'a>,
    control: &'a Control,
    (rule, read): (&'a Rule, &'a Result<Condition, Mistake>),
    places: &[Place<'a>],
) -> Vec<Outcome<'a>> {
    let condition = match read {
        Ok(condition) => condition,
        Err(mistake) => return vec![Outcome::Unread(mistake); places.len()],
    };
    let mut outcomes: Vec<Outcome<'a>> = Vec::with_capacity(places.len());
    let mut last: Option<&'a Instance> = None;
    let mut is_over_budget = false;
    for (_, place) in places {
        let Some((node, instance)) = *place else {
            outcomes.push(Outcome::Unknown);
            continue;
        };
        let repeats =
            last.is_some_and(|last| std::ptr::eq(last, instance)) && !facts::looks_at_place(condition);
        let outcome = match outcomes.last().filter(|_| repeats) {
            Some(outcome) => outcome.clone(),
            None if is_over_budget => Outcome::Failed(Failure::OverBudget),
            None => match facts.holds(condition, node, instance) {
                Ok(true) => Outcome::Met,
                Ok(false) => approved(subject, control, rule).map_or(Outcome::Broken, Outcome::Approved),
                Err(failure) => Outcome::Failed(failure),
            },
        };
        is_over_budget |= outcome == Outcome::Failed(Failure::OverBudget);
        last = Some(instance);
        outcomes.push(outcome);
    }
    outcomes
}

/// The approval by which the service need not meet the rule.
fn approved<'a>(subject: &Subject<'_>, control: &'a Control, rule: &Rule) -> Option<&'a Approval> {
    let service = &subject.entry.service().service;
    let covers = |approval: &&Approval| approval.rule == rule.id && approval.services.contains(service);
    let is_live = |approval: &&Approval| is_live(approval, subject.now);
    let can_be = rule.level == Level::RequireApproval;
    control.approvals.iter().filter(covers).filter(is_live).find(|_| can_be)
}

fn is_live(approval: &Approval, now: Timestamp) -> bool {
    approval.until.is_none_or(|day| now < day.end())
}
