//! Which service meets which control, for people who have to show it: a row for each service, control and environment.

use serde::Serialize;

use super::super::Subject;
use super::finding::{fixes, lines};
use super::{Answer, Ask, Outcome, Standing, What, standings};
use crate::catalog::By;
use crate::definition::Enforcement;
use crate::name::{ControlName, EnvironmentName, NodeName, ServiceName};

/// How one service stands to one control in one environment.
#[derive(Clone, Debug, Serialize)]
pub struct Compliance {
    /// The control.
    pub control: ControlName,
    /// What people call it.
    pub title: Option<String>,
    /// What it weighs there.
    #[serde(serialize_with = "word")]
    pub enforcement: Enforcement,
    /// The service.
    pub service: ServiceName,
    /// The environment; none where the service names none.
    pub environment: Option<EnvironmentName>,
    /// The nodes that it runs on there.
    pub nodes: Vec<NodeName>,
    /// Who asks for it: the service, the defaults or the control.
    pub asked_by: String,
    /// Whether it meets it.
    #[serde(serialize_with = "answer")]
    pub answer: Answer,
    /// Whether what is missing is an error.
    pub is_error: bool,
    /// A line for each thing that is asked for.
    pub lines: Vec<String>,
    /// What is missing, by name.
    pub missing: Vec<String>,
    /// Whether anything is missing that is enforced, and not only what is good to have.
    #[serde(skip)]
    pub lacks: bool,
    /// The rules that do not hold and need not, by id.
    #[serde(skip)]
    pub approved: Vec<String>,
    /// What to do, each fit to be pasted.
    pub fixes: Vec<String>,
}

fn word<S: serde::Serializer>(enforcement: &Enforcement, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(enforcement.as_str())
}

fn answer<S: serde::Serializer>(answer: &Answer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(answer.as_str())
}

/// How the service stands to each control that it must meet, in each environment.
pub(in super::super) fn compliance(subject: &Subject<'_>) -> Vec<Compliance> {
    standings(subject).iter().flat_map(|standing| rows(subject, standing)).collect()
}

fn rows(subject: &Subject<'_>, standing: &Standing<'_>) -> Vec<Compliance> {
    let mut environments: Vec<Option<&EnvironmentName>> = Vec::new();
    for spot in &standing.spots {
        let environment = spot.deployment.environment.as_ref();
        if !environments.contains(&environment) {
            environments.push(environment);
        }
    }
    environments
        .into_iter()
        .map(|environment| row(subject, &standing.within(environment), environment))
        .collect()
}

fn row(subject: &Subject<'_>, standing: &Standing<'_>, environment: Option<&EnvironmentName>) -> Compliance {
    let control = &standing.control.value;
    let missing = |ask: &&Ask<'_>| ask.outcomes.iter().any(|outcome| !outcome.is_met());
    let is_approved =
        |ask: &&Ask<'_>| ask.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Approved(_)));
    let weights = standing.spots.iter().map(|spot| spot.enforcement);
    let enforcement = weights.min().unwrap_or_else(|| subject.catalog.enforcement(control, environment));
    Compliance {
        control: standing.name().clone(),
        title: control.name.clone(),
        enforcement,
        service: subject.entry.service().service.clone(),
        environment: environment.cloned(),
        nodes: standing.spots.iter().filter_map(|spot| spot.node.cloned()).collect(),
        asked_by: asked_by(standing),
        answer: standing.answer(),
        is_error: standing.asks.iter().any(|ask| is_error(ask, enforcement)),
        lines: lines(standing),
        missing: standing.asks.iter().filter(missing).map(|ask| name(ask.what)).collect(),
        lacks: standing.asks.iter().filter(missing).any(|ask| ask.what.is_enforced()),
        approved: standing.asks.iter().filter(is_approved).map(|ask| name(ask.what)).collect(),
        fixes: fixes(subject, standing),
    }
}

fn is_error(ask: &Ask<'_>, enforcement: Enforcement) -> bool {
    let weighs = match ask.what {
        What::Required(_) => enforcement == Enforcement::Strict,
        what => what.is_enforced(),
    };
    ask.outcomes.iter().any(|outcome| outcome.is_unanswered() || weighs && !outcome.is_met())
}

fn name(what: What<'_>) -> String {
    match what {
        What::Required(feature) | What::Optional(feature) => feature.to_string(),
        What::Rule(rule) => rule.id.as_ref().to_owned(),
    }
}

fn asked_by(standing: &Standing<'_>) -> String {
    let asked = standing.asked;
    let who = match (asked.by, standing.spots.first()) {
        (By::Labels, _) => format!("`applies_to` of {}", asked.root),
        (_, Some(spot)) if spot.deployment.service.controls.is_some() => "the service".to_owned(),
        _ => "the defaults".to_owned(),
    };
    match asked.root == asked.control {
        true => who,
        false if asked.by == By::Labels => who,
        false => format!("{who}, by {}", asked.root),
    }
}
