//! All definitions at one revision, parsed and checked against each other.
//!
//! [`load`] collects every mistake of a commit instead of stopping at the first, and still returns what it could
//! read, so that later checks can add theirs. It is incremental: given the catalog before, it parses only the files
//! whose blobs changed. What makes that safe is that a service reads nothing outside its own folder but features:
//! if only one folder under `services/` changed, only that service is read again.

mod approvals;
mod controls;
mod environments;
mod files;
mod grants;
mod moves;
mod placement;
mod references;
mod rollouts;
mod services;
mod strays;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::align::{aligned, differing};
use crate::compose;
use crate::definition::{Amount, Control, Drift, Feature, Located, Node, Policy, Rollout, Service, Settings};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, EnvironmentName, FeatureName, NodeName, ServiceName};
use crate::tree::{Entry, Part, Tree};
use crate::yaml;
pub use approvals::ApprovalDemand;
pub use controls::{Asked, By, VARIABLES};
use environments::Environments;
pub use grants::{Given, Terms, Used};

/// All definitions at one revision.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// `gitops.toml`.
    pub settings: Arc<Settings>,
    /// By name.
    pub nodes: Arc<BTreeMap<NodeName, Located<Node>>>,
    /// By name.
    pub features: Arc<BTreeMap<FeatureName, Located<Feature>>>,
    /// By name.
    pub controls: Arc<BTreeMap<ControlName, Located<Control>>>,
    /// The rules of controls, read.
    rules: Arc<controls::Rules>,
    /// The controls that ask for services by their labels.
    applying: Arc<[ControlName]>,
    /// The controls that ask for approval of releases.
    approving: Arc<[ControlName]>,
    /// The Compose files that features add, by their path as the feature names it.
    overlays: Arc<BTreeMap<Arc<str>, compose::Overlay>>,
    /// Of each item of `features` and `controls` of the defaults. Found once: every service may have a finding there.
    default_places: Arc<BTreeMap<(&'static str, usize), Place>>,
    /// By name.
    pub services: BTreeMap<ServiceName, Arc<ServiceEntry>>,
    /// What follows from the policy and the environments of the settings.
    environments: Arc<Environments>,
    /// The grants of all controls.
    grants: Arc<Vec<grants::Ready>>,
    /// What it was read from.
    pub tree: Arc<Tree>,
    /// What there is and could not be read.
    unread: Unread,
    /// Findings about files directly in `services/`.
    strays: Vec<Diagnostic>,
    /// Findings about `gitops.toml`, nodes, features and controls: they stand for as long as those do.
    ground_findings: Vec<Diagnostic>,
}

/// Definitions that are there and could not be read, so that nothing can be said of a name that is not found. Their own
/// mistakes are told.
#[derive(Clone, Copy, Debug, Default)]
struct Unread {
    settings: bool,
    nodes: bool,
    features: bool,
    controls: bool,
}

/// A service with its Compose files.
#[derive(Debug)]
pub struct ServiceEntry {
    /// `service.yaml`.
    pub definition: Located<Service>,
    /// One for each environment that it names, in their order; one for all nodes if it names none.
    pub deployments: Vec<Deployment>,
    /// Warnings about it.
    findings: Vec<Diagnostic>,
}

/// A service as it is in one environment, or everywhere.
#[derive(Debug)]
pub struct Deployment {
    /// The environment; none where the service names no environments.
    pub environment: Option<EnvironmentName>,
    /// What was written, with what is given otherwise for the environment.
    pub service: Arc<Service>,
    /// The Compose files, parsed. Shared by the environments for which they are the same.
    pub source: Arc<compose::Source>,
}

impl Deployment {
    /// The features that it uses by name: its own list, or that of the defaults.
    pub fn features<'a>(&'a self, settings: &'a Settings) -> &'a [FeatureName] {
        or_default(&self.service.features, &settings.defaults.features)
    }

    /// The controls that it names: its own list, or that of the defaults.
    pub fn controls<'a>(&'a self, settings: &'a Settings) -> &'a [ControlName] {
        or_default(&self.service.controls, &settings.defaults.controls)
    }
}

impl ServiceEntry {
    /// What was written.
    pub fn service(&self) -> &Service {
        &self.definition.value
    }

    /// Its `service.yaml`, from the root of the repository.
    pub fn path(&self) -> &Arc<str> {
        &self.definition.path
    }

    /// Its folder, from the root of the repository, without a trailing `/`.
    pub fn folder(&self) -> &str {
        self.definition.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The deployment for a node of this environment, as its number.
    pub fn deployment_in(&self, environment: Option<&EnvironmentName>) -> Option<usize> {
        let is_for = |deployment: &Deployment| {
            deployment.environment.is_none() || deployment.environment.as_ref() == environment
        };
        self.deployments.iter().position(is_for)
    }

    /// Where the value of a field that an environment may override was written for this deployment.
    fn field_of<'a>(&self, deployment: &'a Deployment, field: &'a str) -> Vec<yaml::Step<'a>> {
        let environment = deployment.environment.as_ref();
        let overrides = self.service().environments.as_ref().zip(environment);
        let given = overrides.and_then(|(all, name)| all.get(name)?.as_ref());
        let is_given = given.is_some_and(|given| match field {
            "drift" => given.drift != Drift::default(),
            "features" => given.features.is_some(),
            // Of its fields only these can be wrong for what they name.
            "health" => given.health.checks.is_some(),
            "hooks" => given.hooks.is_some(),
            "controls" => given.controls.is_some(),
            "compose" => given.compose.is_some(),
            "place" => given.place.is_some(),
            "profiles" => given.profiles.is_some(),
            "resources" => given.resources.is_some(),
            _ => false,
        });
        match environment.filter(|_| is_given) {
            Some(name) => {
                vec![yaml::Step::Key("environments"), yaml::Step::Key(name.as_str()), yaml::Step::Key(field)]
            }
            None => vec![yaml::Step::Key(field)],
        }
    }
}

fn or_default<'a, T>(own: &'a Option<Vec<T>>, default: &'a Option<Vec<T>>) -> &'a [T] {
    own.as_deref().or(default.as_deref()).unwrap_or_default()
}

impl Catalog {
    /// Whether both have the very same settings, nodes, features and controls, so that an unchanged service means
    /// the same in both.
    pub fn same_ground(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
            && Arc::ptr_eq(&self.nodes, &other.nodes)
            && Arc::ptr_eq(&self.features, &other.features)
            && Arc::ptr_eq(&self.controls, &other.controls)
    }

    /// Whether all that gives `${NAME}` its value could be read.
    pub fn knows_variables(&self, entry: &ServiceEntry, node: &Located<Node>) -> bool {
        let is_right = |broken: &BTreeSet<String>| !broken.contains("variables");
        !self.unread.settings && is_right(&entry.definition.broken) && is_right(&node.broken)
    }

    /// Whether it can be told which node is in which environment.
    pub fn knows_environments(&self) -> bool {
        !self.unread.settings
    }

    /// Whether all that says what a service uses and must meet could be read.
    pub fn knows_features(&self, entry: &ServiceEntry) -> bool {
        let broken = |field: &str| entry.definition.broken.contains(field);
        let Unread { settings, features, controls, .. } = self.unread;
        !(settings || features || controls || broken("features") || broken("controls"))
    }

    /// What a feature adds to the services that use it. One that is not available adds nothing.
    pub fn overlay(&self, feature: &Feature) -> Option<&compose::Overlay> {
        let available = feature.state.is_available();
        self.overlays.get(feature.overlay.as_ref().filter(|_| available)?)
    }

    /// The place of a field of a definition: for findings about it.
    pub fn place<T>(&self, definition: &Located<T>, field: &[yaml::Step<'_>]) -> Place {
        place(&self.tree, definition, field)
    }

    /// The places of many fields of a definition, in one reading of its file.
    pub fn places<'a, T>(
        &'a self,
        definition: &'a Located<T>,
    ) -> impl Fn(&[yaml::Step<'_>]) -> Place + use<'a, T> {
        places(&self.tree, definition)
    }

    /// The place of a field of a deployment, such as `place`: in the override of its environment if it is given there.
    pub fn deployment_place(
        &self,
        entry: &ServiceEntry,
        deployment: &Deployment,
        field: &[yaml::Step<'_>],
    ) -> Place {
        let Some((yaml::Step::Key(first), rest)) = field.split_first() else {
            return self.place(&entry.definition, field);
        };
        let mut steps = entry.field_of(deployment, first);
        steps.extend_from_slice(rest);
        self.place(&entry.definition, &steps)
    }

    /// The place of an item of the `features` or `controls` that hold for a deployment: in the service, or in the
    /// defaults.
    pub fn item_place(
        &self,
        entry: &ServiceEntry,
        deployment: &Deployment,
        field: &'static str,
        index: usize,
    ) -> Place {
        let own = match field {
            "features" => deployment.service.features.is_some(),
            _ => deployment.service.controls.is_some(),
        };
        match own {
            true => {
                self.deployment_place(entry, deployment, &[yaml::Step::Key(field), yaml::Step::Item(index)])
            }
            false => self.default_place(field, index),
        }
    }

    /// The environment that a node is in.
    pub fn environment_of(&self, node: &NodeName) -> Option<&EnvironmentName> {
        self.environments.of_node(node)
    }

    /// On how many nodes of an environment something may be changed at once.
    pub fn max_parallel(&self, environment: Option<&EnvironmentName>) -> Option<Amount> {
        let own = environment.and_then(|name| self.settings.environments.get(name));
        own.and_then(|own| own.max_parallel).or(self.settings.max_parallel)
    }

    /// What is asked of services in an environment: what is asked of all, and what the environment asks beyond it.
    pub fn policy_for(&self, environment: Option<&EnvironmentName>) -> &Policy {
        environment.and_then(|name| self.environments.policy(name)).unwrap_or(&self.settings.policy)
    }

    /// How releases bring services to the nodes of an environment, where they do not say so themselves.
    pub fn rollout_for(&self, environment: Option<&EnvironmentName>) -> &Rollout {
        environment.and_then(|name| self.environments.rollout(name)).unwrap_or(&self.settings.rollout)
    }

    /// The place of a field of a policy, such as `digest_required`: the one for all, or that of an environment.
    pub fn policy_place(&self, environment: Option<&EnvironmentName>, field: &'static str) -> Place {
        self.environments.place(environment, field)
    }

    /// The place of a value of `gitops.toml`.
    pub fn settings_place(&self, field: &[yaml::Step<'_>]) -> Place {
        environments::place(&self.tree, field)
    }

    /// The places of many values of `gitops.toml`, in one reading of it.
    pub fn settings_places(&self, fields: &[Vec<yaml::Step<'_>>]) -> Vec<Place> {
        environments::places(&self.tree, fields)
    }

    /// The place of an item of `features` or `controls` of the defaults: for findings about it.
    pub fn default_place(&self, field: &'static str, index: usize) -> Place {
        self.default_places.get(&(field, index)).cloned().unwrap_or_else(|| Place::file("gitops.toml"))
    }
}

fn place<T>(tree: &Tree, definition: &Located<T>, field: &[yaml::Step<'_>]) -> Place {
    places(tree, definition)(field)
}

/// The places of many fields of a definition, in one reading of its file.
fn places<'a, T>(
    tree: &'a Tree,
    definition: &'a Located<T>,
) -> impl Fn(&[yaml::Step<'_>]) -> Place + use<'a, T> {
    let text = std::cell::OnceCell::new();
    move |field| {
        let read = || {
            let content = tree.get(&definition.path).and_then(|entry| entry.content.as_deref());
            yaml::Text::new(&definition.path, content.unwrap_or_default()).ok()
        };
        match text.get_or_init(read) {
            Some(text) => text.place(definition.document, field),
            None => Place::file(definition.path.clone()),
        }
    }
}

/// After so many mistakes of one kind in one list people mend those first.
pub(crate) const MAX_OF_A_KIND: usize = 100;

/// Reads all definitions of a tree. The second part has every finding, in no particular order; the catalog is
/// whole only if none of them is an error. `previous` must have been loaded without errors.
pub fn load(tree: &Arc<Tree>, previous: Option<&Catalog>) -> (Catalog, Vec<Diagnostic>) {
    let changed = previous.map(|previous| changed_paths(&previous.tree, tree));
    let mut found = over_limits(tree);
    let ground_stands = |paths: &BTreeSet<Arc<str>>| paths.iter().all(|path| path.starts_with("services/"));
    let mut catalog = match (previous, &changed) {
        (Some(previous), Some(paths)) if ground_stands(paths) => {
            Catalog { tree: tree.clone(), ..previous.clone() }
        }
        _ => ground(tree),
    };
    let is_new =
        changed.as_ref().is_none_or(|paths| paths.iter().any(|path| strays::is_beside_services(path)));
    if is_new || !previous.is_some_and(|previous| previous.same_ground(&catalog)) {
        catalog.strays = strays::beside_services(tree);
    }
    found.extend(catalog.strays.iter().cloned());
    services::load(&mut catalog, previous.zip(changed.as_ref()), &mut found);
    found.extend(catalog.ground_findings.iter().cloned());
    found.extend(references::check(&catalog, previous));
    found.extend(windows::check(&catalog));
    found.extend(moves::check(&catalog));
    found.extend(catalog.services.values().flat_map(|entry| entry.findings.iter().cloned()));
    (catalog, found)
}

/// Everything but the services.
fn ground(tree: &Arc<Tree>) -> Catalog {
    let mut found = strays::no_folders(tree);
    let settings = files::settings(tree, &mut found);
    let (nodes, no_node) =
        files::definitions(tree, "nodes", "node", |node: &Node| node.node.clone(), &mut found);
    let (features, no_feature) = files::definitions(
        tree,
        "features",
        "feature",
        |feature: &Feature| feature.feature.clone(),
        &mut found,
    );
    let (controls, no_control) = files::definitions(
        tree,
        "controls",
        "control",
        |control: &Control| control.control.clone(),
        &mut found,
    );
    let unread =
        Unread { settings: settings.is_none(), nodes: no_node, features: no_feature, controls: no_control };
    let settings = settings.unwrap_or_else(Settings::empty);
    let overlays = files::overlays(tree, &features, &mut found);
    let mut catalog = Catalog {
        default_places: Arc::new(files::default_places(tree, &settings.defaults)),
        environments: Arc::new(Environments::new(tree, &settings, &nodes)),
        settings: Arc::new(settings),
        overlays: Arc::new(overlays),
        nodes: Arc::new(nodes),
        features: Arc::new(features),
        rules: Arc::new(controls::read_rules(&controls)),
        applying: controls::applying(&controls),
        approving: controls::approving(&controls),
        grants: Arc::new(grants::ready(controls.iter())),
        controls: Arc::new(controls),
        services: BTreeMap::new(),
        tree: tree.clone(),
        unread,
        strays: Vec::new(),
        ground_findings: Vec::new(),
    };
    found.extend(references::check_ground(&catalog));
    found.extend(environments::check(&catalog));
    found.extend(rollouts::check_ground(&catalog));
    found.extend(windows::check_ground(&catalog));
    catalog.ground_findings = found;
    catalog
}

/// The paths whose content or kind differs between two trees.
fn changed_paths(old: &Tree, new: &Tree) -> BTreeSet<Arc<str>> {
    let (nothing, mut changed) = (Part::default(), BTreeSet::new());
    let key = |entry: &Entry| (entry.id, entry.kind);
    for (_, before, after) in differing(old.parts(), new.parts()) {
        let [before, after] = [before, after].map(|part| part.map_or(&nothing, |part| part).entries());
        let paths = aligned(before, after).filter(|(_, old, new)| old.map(key) != new.map(key));
        changed.extend(paths.map(|(path, ..)| path.clone()));
    }
    changed
}

/// Files that the reader of the repository left out because of its limits.
fn over_limits(tree: &Tree) -> Vec<Diagnostic> {
    let limits = &tree.limits;
    let mut found = Vec::new();
    let (files, total) = tree
        .parts()
        .values()
        .fold((0, 0), |(files, bytes), part| (files + part.entries().len(), bytes + part.bytes()));
    if total > limits.total_bytes || files > limits.files {
        let message = format!(
            "the definitions are {total} bytes in {files} files, over the limit of {} bytes in {} files",
            limits.total_bytes, limits.files
        );
        let diagnostic = Diagnostic::error("repository-too-large", Place::file("."), message)
            .help("keep data out of the definitions repository, or raise `limits` in the settings of whoever reads it");
        found.push(diagnostic);
    }
    let suspects = tree.parts().values().filter(|part| part.bytes() > limits.file_bytes);
    let entries = suspects.flat_map(|part| part.entries());
    for (path, entry) in entries.filter(|(_, entry)| entry.size > limits.file_bytes) {
        let message =
            format!("the file has {} bytes, over the limit of {} bytes", entry.size, limits.file_bytes);
        let diagnostic = Diagnostic::error("file-too-large", Place::file(path.clone()), message)
            .help("put large content into an image or a volume instead of the definitions repository");
        found.push(diagnostic);
    }
    found
}
