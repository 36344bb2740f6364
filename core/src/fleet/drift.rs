//! What nodes report against what their plans ask for, instance by instance and field by field.
//!
//! A report is believed for three intervals. After that nothing on its node is in sync or otherwise: it is unknown, and
//! says since when. What is on its way is pending; what is there and is not as it should be differs; what runs there and
//! is in no plan is an orphan, which is listed and left alone. Labels and digests tell what a container was made from; what
//! others changed of it since, only its agent can tell, and what it tells is added here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InstanceState, NodeView};
use crate::catalog::Catalog;
use crate::diff::Selection;
use crate::name::{EnvironmentName, NodeName, Revision, ServiceName};
use crate::plan::{ContainerSpec, Ensure, NodePlan, OnFileChange, RunState, Step};
use crate::sensitive::Sensitive;
use crate::status::{
    Container, ContainerState, Health, NodeStatus, Orphans, PlanId, Reported, ReportedNode, StepOutcome,
};

pub use crate::status::Difference;

/// The version of this document.
pub const SCHEMA: u32 = 1;

/// How the fleet stands to its plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "gitops drift")]
pub struct Drift {
    /// The version of this document: 1.
    pub schema: u32,
    /// The commit that is deployed: what is wanted.
    pub revision: Option<Revision>,
    /// The newest commit, where that is another: held, invalid, waiting, or about to be deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Revision>,
    /// In numbers of instances.
    pub summary: Summary,
    /// Every node that is looked at, by name.
    pub nodes: Vec<NodeDrift>,
}

/// How many instances stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// As their plans say, by a report that is believed.
    pub in_sync: usize,
    /// On their way.
    pub pending: usize,
    /// Not as their plans say.
    pub differs: usize,
    /// On nodes that were not heard for too long, or never.
    pub unknown: usize,
    /// In no plan.
    pub orphans: usize,
    /// In sync, and changed by others within the last hour. Counted among those in sync as well.
    #[serde(default)]
    pub corrected: usize,
}

/// How one node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeDrift {
    /// Its name.
    pub node: NodeName,
    /// The environment that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// When its agent was last heard; none where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub heard_at: Option<Timestamp>,
    /// How old its report is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Whether its report is believed: it is not older than three intervals.
    pub is_believed: bool,
    /// How many of its instances are in sync. They are not listed.
    pub in_sync: usize,
    /// All others, by service, and those that others changed within the last hour.
    pub instances: Vec<InstanceDrift>,
    /// Containers that no plan made.
    #[serde(default, skip_serializing_if = "Orphans::is_empty")]
    pub orphans: Orphans,
}

/// An instance that is not in sync, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceDrift {
    /// The service.
    pub service: ServiceName,
    /// In one word.
    pub state: DriftState,
    /// What it waits on, or what the agent says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is not as it is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

impl InstanceDrift {
    fn is_in_sync(&self) -> bool {
        self.state == DriftState::Corrected
    }
}

/// How an instance stands to its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftState {
    /// It is on its way: held back, not accepted by the agent yet, or being made so.
    Pending,
    /// It is not as its plan says.
    Differs,
    /// Nothing that is believed says how it stands.
    Unknown,
    /// It is in no plan.
    Orphan,
    /// It is in sync; what others changed within the last hour was undone.
    Corrected,
}

/// What of the fleet is looked at; all of it where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Only {
    /// Only this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Only the nodes of this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

impl Only {
    /// The same for a comparison of definitions.
    pub fn selection(&self) -> Selection<'_> {
        let Self { service, node, environment } = self;
        Selection { service: service.as_ref(), node: node.as_ref(), environment: environment.as_ref() }
    }

    fn has_node(&self, node: &NodeName, environment: Option<&EnvironmentName>) -> bool {
        self.node.as_ref().is_none_or(|wanted| wanted == node)
            && self.environment.as_ref().is_none_or(|wanted| Some(wanted) == environment)
    }

    fn has_service(&self, service: &ServiceName) -> bool {
        self.service.as_ref().is_none_or(|wanted| wanted == service)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The commit that is deployed.
    pub deployed: Option<&'a Revision>,
    /// The newest commit.
    pub newest: Option<&'a Revision>,
    /// The definitions that are deployed: they say which environment a node is in.
    pub catalog: Option<&'a Catalog>,
    /// What must not be shown of what agents say.
    pub sensitive: &'a Sensitive,
    /// The newest plan of each node.
    pub plans: &'a BTreeMap<NodeName, Arc<NodePlan>>,
    /// What nodes said last.
    pub reported: &'a Reported,
    /// How the last pass saw them: it knows what is held back.
    pub views: &'a [NodeView],
    /// When it is compared.
    pub now: Timestamp,
    /// A report older than this is not believed.
    pub stale_after: SignedDuration,
}

impl Drift {
    /// Whether everything is in sync.
    pub fn is_empty(&self) -> bool {
        let mut instances = self.nodes.iter().flat_map(|node| &node.instances);
        instances.all(|instance| instance.state == DriftState::Corrected)
    }
}

/// How the fleet stands to its plans.
pub fn drift(facts: &Facts<'_>, only: &Only) -> Drift {
    let views: BTreeMap<&NodeName, &NodeView> = facts.views.iter().map(|view| (&view.node, view)).collect();
    let names: BTreeSet<&NodeName> =
        facts.plans.keys().chain(facts.reported.nodes.keys()).chain(views.keys().copied()).collect();
    let node = |name: &NodeName| {
        let environment = facts.catalog.and_then(|catalog| catalog.environment_of(name));
        let view = views.get(name).copied();
        only.has_node(name, environment).then(|| one(facts, only, name, environment, view))
    };
    let nodes: Vec<NodeDrift> = names.into_iter().filter_map(node).collect();
    Drift {
        schema: SCHEMA,
        revision: facts.deployed.cloned(),
        newest: facts.newest.filter(|newest| Some(*newest) != facts.deployed).cloned(),
        summary: summary(&nodes),
        nodes,
    }
}

fn summary(nodes: &[NodeDrift]) -> Summary {
    let mut summary = Summary { in_sync: nodes.iter().map(|node| node.in_sync).sum(), ..Summary::default() };
    for instance in nodes.iter().flat_map(|node| &node.instances) {
        *match instance.state {
            DriftState::Corrected => &mut summary.corrected,
            DriftState::Pending => &mut summary.pending,
            DriftState::Differs => &mut summary.differs,
            DriftState::Unknown => &mut summary.unknown,
            DriftState::Orphan => &mut summary.orphans,
        } += 1;
    }
    summary
}

/// What is known of one node.
struct Known<'a> {
    sensitive: &'a Sensitive,
    plan: Option<&'a NodePlan>,
    /// What it said last, where that is believed.
    status: Option<&'a NodeStatus>,
    /// What is held back, and why.
    held: BTreeMap<&'a ServiceName, Option<&'a str>>,
}

fn one(
    facts: &Facts<'_>,
    only: &Only,
    node: &NodeName,
    environment: Option<&EnvironmentName>,
    view: Option<&NodeView>,
) -> NodeDrift {
    let reported = facts.reported.nodes.get(node);
    let is_believed = |reported: &&ReportedNode| !reported.is_stale(facts.now, facts.stale_after);
    let instances = view.into_iter().flat_map(|view| view.instances.iter());
    let held = instances.filter(|instance| instance.state == InstanceState::Waiting);
    let known = Known {
        sensitive: facts.sensitive,
        plan: facts.plans.get(node).map(|plan| &**plan),
        status: reported.filter(is_believed).map(|reported| &*reported.status),
        held: held.map(|instance| (&instance.service, instance.message.as_deref())).collect(),
    };
    let heard = reported.map(|reported| &*reported.status);
    let services = services(&known, heard).into_iter().filter(|service| only.has_service(service));
    let found: Vec<Option<InstanceDrift>> = services.filter_map(|service| known.stand(service)).collect();
    NodeDrift {
        node: node.clone(),
        environment: environment.cloned(),
        heard_at: reported.map(|reported| reported.heard_at),
        age_seconds: reported.map(|reported| reported.age(facts.now).as_secs().unsigned_abs()),
        is_believed: known.status.is_some(),
        in_sync: found.iter().filter(|one| one.as_ref().is_none_or(InstanceDrift::is_in_sync)).count(),
        orphans: known
            .status
            .filter(|_| only.service.is_none())
            .map(|status| status.orphans.clone())
            .unwrap_or_default(),
        instances: found.into_iter().flatten().collect(),
    }
}

/// Everything that anybody says of the node: its plan, its last report, and what is held back.
fn services<'a>(known: &Known<'a>, heard: Option<&'a NodeStatus>) -> BTreeSet<&'a ServiceName> {
    let planned = known.plan.into_iter().flat_map(|plan| plan.steps.iter().map(Step::service));
    let there = heard.into_iter().flat_map(|status| &status.instances);
    let there = there.filter(|(_, containers)| !containers.is_empty()).map(|(service, _)| service);
    planned.chain(there).chain(known.held.keys().copied()).collect()
}

impl Known<'_> {
    /// How a service stands here: within, none if it is in sync; none at all if it is gone as it should be.
    fn stand(&self, service: &ServiceName) -> Option<Option<InstanceDrift>> {
        let stands = |state, message: Option<String>, differences| {
            Some(Some(InstanceDrift { service: service.clone(), state, message, differences }))
        };
        let Some(status) = self.status else { return stands(DriftState::Unknown, None, Vec::new()) };
        if let Some(why) = self.held.get(service) {
            return stands(DriftState::Pending, why.map(str::to_owned), Vec::new());
        }
        let planned = self.plan.and_then(|plan| Some((plan, plan.step(service)?)));
        let containers = status.instances.get(service).map(Vec::as_slice).unwrap_or_default();
        let Some((plan, step)) = planned else {
            return stands(DriftState::Orphan, None, extra(containers));
        };
        if matches!(step, Step::Remove(_)) && status.has_done(plan, service, None) {
            // What came back after it was removed is in no plan any more.
            let is_gone = containers.is_empty();
            return if is_gone { None } else { stands(DriftState::Orphan, None, extra(containers)) };
        }
        if status.accepted != Some(PlanId::of(plan)) {
            let message = format!("the agent has not accepted plan {} yet", plan.generation);
            return stands(DriftState::Pending, Some(message), Vec::new());
        }
        let told = status.drift.get(service).map(Vec::as_slice).unwrap_or_default();
        let mut differences = match step {
            Step::Ensure(ensure) => with_told(differences(ensure, containers), told),
            Step::Remove(_) => extra(containers),
        };
        differences.iter_mut().for_each(|difference| difference.redact(self.sensitive));
        let result = status.steps.get(service);
        let message = result.and_then(|result| result.message.as_deref());
        let message = message.map(|message| self.sensitive.redacted(message));
        match result.map(|result| result.outcome) {
            Some(StepOutcome::Satisfied) if differences.is_empty() => Some(None),
            Some(StepOutcome::Satisfied) if !differences.iter().any(Difference::is_standing) => {
                stands(DriftState::Corrected, None, differences)
            }
            Some(StepOutcome::Satisfied) => stands(DriftState::Differs, None, differences),
            Some(StepOutcome::Failed) => stands(DriftState::Differs, message, differences),
            _ => stands(DriftState::Pending, message, differences),
        }
    }
}

/// Containers that should not be there.
fn extra(containers: &[Container]) -> Vec<Difference> {
    let extra = |container: &Container| {
        Difference::new(&container.name, "container", None::<&str>, Some(&container.image))
    };
    containers.iter().map(extra).collect()
}

/// These and what the agent tells. Where both are about one field, the agent knows more of it.
fn with_told(mut differences: Vec<Difference>, told: &[Difference]) -> Vec<Difference> {
    let is_told = |one: &Difference| told.iter().any(|other| other.is_standing() && other.is_about_same(one));
    differences.retain(|one| !is_told(one));
    differences.extend(told.iter().cloned());
    differences.sort();
    differences
}

/// Everything of an instance that is not as its step says, ordered.
fn differences(ensure: &Ensure, containers: &[Container]) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    for (service, spec) in &ensure.containers {
        let count = containers.iter().filter(|container| container.service == *service).count();
        if count != spec.replicas as usize {
            found.push(Difference::new(service, "containers", Some(spec.replicas), Some(count)));
        }
    }
    for container in containers {
        match ensure.containers.get(&container.service) {
            None => found.extend(extra(std::slice::from_ref(container))),
            Some(spec) => found.extend(of_container(ensure, spec, container)),
        }
    }
    found.sort();
    found
}

fn of_container(ensure: &Ensure, spec: &ContainerSpec, container: &Container) -> Vec<Difference> {
    let name = &container.name;
    // Digests of two versions of the rule cannot be compared: such a container was adopted.
    let is_comparable = container.config.is_none_or(|config| config.rule == spec.config.rule);
    let mut found = Vec::new();
    if is_comparable && container.config != Some(spec.config) {
        let digest = container.config.map(|config| config.digest.short());
        found.push(Difference::new(name, "gitops.config", Some(spec.config.digest.short()), digest));
        let wanted = image(ensure, &container.service).filter(|wanted| **wanted != *container.image);
        found.extend(
            wanted.map(|wanted| Difference::new(name, "image", Some(wanted), Some(&container.image))),
        );
    }
    let recreates = ensure.on_file_change == OnFileChange::Recreate;
    if recreates && is_comparable && container.files != spec.files {
        let [wanted, there] = [spec.files, container.files].map(|digest| digest.map(|digest| digest.short()));
        found.push(Difference::new(name, "gitops.files", wanted, there));
    }
    found.extend(of_state(ensure, spec, container));
    if ensure.state == RunState::Running && container.health == Health::Unhealthy {
        found.push(Difference::new(name, "health", Some("healthy"), Some("unhealthy")));
    }
    found
}

fn image(ensure: &Ensure, service: &str) -> Option<String> {
    Some(ensure.model.value().get("services")?.get(service)?.get("image")?.as_str()?.to_owned())
}

fn of_state(ensure: &Ensure, spec: &ContainerSpec, container: &Container) -> Option<Difference> {
    let (state, exit_code) = (container.state, container.exit_code);
    let is_done = spec.completes && state == ContainerState::Exited && exit_code == Some(0);
    let (wanted, is_right) = match ensure.state {
        RunState::Running => ("running", is_done || state == ContainerState::Running),
        RunState::Stopped => {
            ("stopped", !matches!(state, ContainerState::Running | ContainerState::Restarting))
        }
    };
    let code = exit_code.filter(|_| state == ContainerState::Exited);
    let found =
        format!("{state:?}").to_lowercase() + &code.map(|code| format!(" ({code})")).unwrap_or_default();
    (!is_right).then(|| Difference::new(&container.name, "state", Some(wanted), Some(found)))
}

#[cfg(test)]
mod tests;
