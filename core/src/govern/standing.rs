//! How each feature stands over the whole repository: where it is to be had, who uses it and how, who requires it, and
//! what would break without it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Instances;
use super::used::{Used, used};
use crate::catalog::Catalog;
use crate::definition::{Control, Feature, FeatureState, Located};
use crate::desired::Desired;
use crate::diagnostic::Place;
use crate::name::{ControlName, EnvironmentName, FeatureName, NodeName, ServiceName};
use crate::usage::{Use, available_on};
use crate::yaml::Step;

/// How a feature stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its id.
    pub feature: FeatureName,
    /// What people call it.
    pub name: Option<String>,
    /// How far it is.
    pub state: &'static str,
    /// Since when it has been there.
    pub since: Option<String>,
    /// For when it is meant.
    pub target_version: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Where one reads more.
    pub docs: Option<String>,
    /// What to use instead.
    pub replaced_by: Option<FeatureName>,
    /// When it goes.
    pub remove_after: Option<String>,
    /// Where it is defined, as `file:line`.
    pub defined: String,
    /// What it asks of a node, a label or capability each.
    pub needs: Vec<String>,
    /// Every node, and whether it offers the feature.
    pub nodes: Vec<Offering>,
    /// Who uses it.
    pub used_by: Vec<User>,
    /// The controls that ask for it.
    pub controls: Vec<Asking>,
    /// What would be wrong if it were removed, in sentences.
    pub without_it: Vec<String>,
}

/// Whether a node offers a feature.
#[derive(Clone, Debug, Serialize)]
pub struct Offering {
    /// The node.
    pub node: NodeName,
    /// What it lacks. None: it offers the feature.
    pub lacks: Option<String>,
}

/// A service that uses a feature.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// The service.
    pub service: ServiceName,
    /// In which of its environments, if it names them.
    pub environment: Option<EnvironmentName>,
    /// The path of the feature that was found. None: the service names the feature.
    pub path: Option<String>,
    /// Where that is, as `file:line`.
    pub place: String,
    /// Where it runs.
    pub nodes: Vec<NodeName>,
}

/// A control that asks for a feature.
#[derive(Clone, Debug, Serialize)]
pub struct Asking {
    /// The control.
    pub control: ControlName,
    /// What it weighs.
    pub enforcement: &'static str,
    /// It must be used; else it is good to use.
    pub required: bool,
    /// The services that must meet the control.
    pub of: Vec<ServiceName>,
}

/// How every feature stands, in the order of their names.
pub fn standing(catalog: &Catalog, desired: &Desired) -> Vec<Standing> {
    let mut users: BTreeMap<&FeatureName, Vec<User>> = BTreeMap::new();
    let nothing = Instances::new();
    for (name, entry) in &catalog.services {
        let instances = desired.services.get(name).map_or(&nothing, |service| &service.instances);
        for used in used(catalog, entry, instances) {
            users.entry(used.name).or_default().push(user(&used));
        }
    }
    let asked = asked(catalog);
    let features = catalog.features.iter();
    let of = |(name, feature)| one(catalog, feature, users.remove(name).unwrap_or_default(), &asked);
    features.map(of).collect()
}

fn user(used: &Used<'_>) -> User {
    let path = match &*used.how {
        Use::Named { .. } => None,
        Use::Found { path, .. } => Some(path.to_string()),
    };
    User {
        service: used.service.entry.service().service.clone(),
        environment: used.service.deployment.environment.clone(),
        path,
        place: line(&used.place()),
        nodes: used.nodes.iter().map(|node| (*node).clone()).collect(),
    }
}

fn line(place: &Place) -> String {
    if place.line == 0 { place.path.to_string() } else { format!("{}:{}", place.path, place.line) }
}

/// The services that must meet each control.
fn asked(catalog: &Catalog) -> BTreeMap<&ControlName, BTreeSet<&ServiceName>> {
    let mut asked: BTreeMap<&ControlName, BTreeSet<&ServiceName>> = BTreeMap::new();
    for (service, entry) in &catalog.services {
        for one in entry.deployments.iter().flat_map(|deployment| catalog.asked_of(deployment)) {
            asked.entry(one.control).or_default().insert(service);
        }
    }
    asked
}

fn one(
    catalog: &Catalog,
    definition: &Located<Feature>,
    used_by: Vec<User>,
    asked: &BTreeMap<&ControlName, BTreeSet<&ServiceName>>,
) -> Standing {
    let feature = &definition.value;
    let lacks = |node| available_on(feature, node).err().map(|lack| lack.to_string());
    let nodes = catalog.nodes.iter();
    let offering = nodes.map(|(name, node)| Offering { node: name.clone(), lacks: lacks(&node.value) });
    let labels = feature.needs.labels.iter().flat_map(|labels| &labels.0);
    let labels = labels.map(|(label, pattern)| format!("label {label}={pattern}"));
    let capabilities = feature.needs.capabilities.iter().map(|offer| format!("capability {offer}"));
    let controls = catalog.controls.values().filter_map(|control| asking(&control.value, feature, asked));
    let mut standing = Standing {
        feature: feature.feature.clone(),
        name: feature.name.clone(),
        state: feature.state.as_str(),
        since: feature.since.clone(),
        target_version: feature.target_version.clone(),
        owner: feature.owner.clone(),
        docs: feature.docs.clone(),
        replaced_by: feature.replaced_by.clone(),
        remove_after: feature.remove_after.clone(),
        defined: line(&catalog.place(definition, &[Step::Key("feature")])),
        needs: labels.chain(capabilities).collect(),
        nodes: offering.collect(),
        used_by,
        controls: controls.collect(),
        without_it: Vec::new(),
    };
    standing.without_it = without(catalog, feature, &standing);
    standing
}

fn asking(
    control: &Control,
    feature: &Feature,
    asked: &BTreeMap<&ControlName, BTreeSet<&ServiceName>>,
) -> Option<Asking> {
    let required = control.requires.contains(&feature.feature);
    (required || control.optional.contains(&feature.feature)).then(|| Asking {
        control: control.control.clone(),
        enforcement: control.enforcement.as_str(),
        required,
        of: asked.get(&control.control).into_iter().flatten().map(|service| (*service).clone()).collect(),
    })
}

/// What would be wrong with `state: removed`.
fn without(catalog: &Catalog, feature: &Feature, standing: &Standing) -> Vec<String> {
    if feature.state == FeatureState::Removed {
        return Vec::new();
    }
    let mut said = Vec::new();
    let users: BTreeSet<&ServiceName> = standing.used_by.iter().map(|user| &user.service).collect();
    if !users.is_empty() {
        said.push(format!("an error in each service that uses it: {}", list(&users)));
    }
    for asking in standing.controls.iter().filter(|asking| asking.required && !asking.of.is_empty()) {
        let Asking { control, enforcement, of, .. } = asking;
        let of = list(&of.iter().collect());
        said.push(format!("control `{control}` ({enforcement}) is not met by {of}"));
    }
    if let (Some(overlay), false) = (catalog.overlay(feature), users.is_empty()) {
        said.push(format!("{} is no longer merged over {}", overlay.path, list(&users)));
    }
    let replaced =
        catalog.features.values().filter(|other| other.value.replaced_by.as_ref() == Some(&feature.feature));
    said.extend(
        replaced
            .map(|other| format!("a warning at feature `{}`, whose replacement it is", other.value.feature)),
    );
    said
}

/// So many names are listed.
const MAX_NAMES: usize = 10;

fn list(names: &BTreeSet<&ServiceName>) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(|name| name.as_str()).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
