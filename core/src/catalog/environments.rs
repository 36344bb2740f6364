//! Environments: which nodes are in each, the policy that holds there, and what is wrong with how they are defined.

use std::collections::BTreeMap;

use super::{Catalog, MAX_OF_A_KIND};
use crate::definition::{
    Environment, Located, Loosened, Node, Override, Placement, Policy, Rollout, Service, Settings,
};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, EnvironmentName, FeatureName, NodeName};
use crate::tree::Tree;
use crate::yaml::Step;

/// What follows from `[policy]` and `[environments]` of `gitops.toml`.
#[derive(Clone, Debug, Default)]
pub(super) struct Environments {
    /// Of each node that is in one.
    of_node: BTreeMap<NodeName, EnvironmentName>,
    /// What holds in each: never less than what holds everywhere.
    policies: BTreeMap<EnvironmentName, Policy>,
    /// How releases go on in each, where services do not say so.
    rollouts: BTreeMap<EnvironmentName, Rollout>,
    /// Of each field of a policy that is given: without an environment, the one for all. Found once, because every
    /// service may have a finding that names it.
    places: BTreeMap<(Option<EnvironmentName>, &'static str), Place>,
}

impl Environments {
    pub(super) fn new(tree: &Tree, settings: &Settings, nodes: &BTreeMap<NodeName, Located<Node>>) -> Self {
        let tightened = |(name, one): (&EnvironmentName, &Environment)| {
            (name.clone(), settings.policy.tightened(&one.policy))
        };
        let over_all = |(name, one): (&EnvironmentName, &Environment)| {
            (name.clone(), one.rollout.clone().or(&settings.rollout))
        };
        Self {
            of_node: of_nodes(settings, nodes),
            policies: settings.environments.iter().map(tightened).collect(),
            rollouts: settings.environments.iter().map(over_all).collect(),
            places: policy_places(tree, settings),
        }
    }

    pub(super) fn of_node(&self, node: &NodeName) -> Option<&EnvironmentName> {
        self.of_node.get(node)
    }

    pub(super) fn policy(&self, environment: &EnvironmentName) -> Option<&Policy> {
        self.policies.get(environment)
    }

    pub(super) fn rollout(&self, environment: &EnvironmentName) -> Option<&Rollout> {
        self.rollouts.get(environment)
    }

    pub(super) fn place(&self, environment: Option<&EnvironmentName>, field: &'static str) -> Place {
        let place = self.places.get(&(environment.cloned(), field));
        place.cloned().unwrap_or_else(|| Place::file(SETTINGS))
    }
}

const SETTINGS: &str = "gitops.toml";

/// The environment of each node: the first by name whose selector fits.
fn of_nodes(
    settings: &Settings,
    nodes: &BTreeMap<NodeName, Located<Node>>,
) -> BTreeMap<NodeName, EnvironmentName> {
    let of = |node: &Located<Node>| selecting(settings, &node.value).next().map(|(name, _)| name.clone());
    nodes.iter().filter_map(|(name, node)| Some((name.clone(), of(node)?))).collect()
}

/// The environments whose selectors fit a node.
fn selecting<'a>(
    settings: &'a Settings,
    node: &'a Node,
) -> impl Iterator<Item = (&'a EnvironmentName, &'a Environment)> {
    let fits = |environment: &Environment| environment.nodes.matches(|label| node.label(label));
    settings.environments.iter().filter(move |(_, environment)| fits(environment))
}

fn policy_places(
    tree: &Tree,
    settings: &Settings,
) -> BTreeMap<(Option<EnvironmentName>, &'static str), Place> {
    let everywhere = [(None, &settings.policy)].into_iter();
    let all = everywhere.chain(settings.environments.iter().map(|(name, one)| (Some(name), &one.policy)));
    let fields: Vec<_> =
        all.flat_map(|(name, policy)| policy.given().map(move |field| (name, field))).collect();
    let steps: Vec<Vec<Step<'_>>> = fields.iter().map(|(name, field)| policy_field(*name, field)).collect();
    let places = places(tree, &steps);
    fields.into_iter().map(|(name, field)| (name.cloned(), field)).zip(places).collect()
}

fn policy_field<'a>(environment: Option<&'a EnvironmentName>, field: &'a str) -> Vec<Step<'a>> {
    let around = environment.map(|name| [Step::Key("environments"), Step::Key(name.as_str())]);
    around.into_iter().flatten().chain([Step::Key("policy"), Step::Key(field)]).collect()
}

/// Places in `gitops.toml`, in one reading of it.
pub(super) fn places(tree: &Tree, fields: &[Vec<Step<'_>>]) -> Vec<Place> {
    let content = tree.get(SETTINGS).and_then(|entry| entry.content.as_deref()).unwrap_or_default();
    let fields: Vec<&[Step<'_>]> = fields.iter().map(Vec::as_slice).collect();
    Settings::places(&SETTINGS.into(), content, &fields)
}

pub(super) fn place(tree: &Tree, field: &[Step<'_>]) -> Place {
    places(tree, &[field.to_vec()]).pop().unwrap_or_else(|| Place::file(SETTINGS))
}

/// What is wrong with policy and environments, whatever services there are.
pub(super) fn check(catalog: &Catalog) -> Vec<Diagnostic> {
    let settings = &catalog.settings;
    let environments = || settings.environments.iter();
    let mut found = Vec::new();
    // Each finding reads `gitops.toml` once more for its place, so of each kind there are no more than people mend.
    found.extend(
        environments().filter_map(|(name, one)| selects_nothing(catalog, name, one)).take(MAX_OF_A_KIND),
    );
    let policies = [(None, &settings.policy)]
        .into_iter()
        .chain(environments().map(|(name, one)| (Some(name), &one.policy)));
    found.extend(policies.filter_map(|(name, policy)| no_source(catalog, name, policy)));
    let loosened = environments().flat_map(|(name, one)| {
        settings.policy.loosened_by(&one.policy).into_iter().map(move |what| (name, what))
    });
    found.extend(loosened.take(MAX_OF_A_KIND).map(|(name, what)| policy_loosened(catalog, name, &what)));
    found.extend(in_two(catalog));
    found.extend(same_order(catalog));
    found
}

fn selects_nothing(
    catalog: &Catalog,
    name: &EnvironmentName,
    environment: &Environment,
) -> Option<Diagnostic> {
    let place =
        || place(&catalog.tree, &[Step::Key("environments"), Step::Key(name.as_str()), Step::Key("nodes")]);
    let selector = &environment.nodes;
    if selector.is_empty() {
        let message = format!("environment `{name}` selects no node: it names no label");
        let help = format!("name the labels of its nodes, such as `nodes = {{ environment = \"{name}\" }}`");
        return Some(Diagnostic::error("empty-selector", place(), message).help(help));
    }
    let fits = |node: &Located<Node>| selector.matches(|label| node.value.label(label));
    if catalog.unread.nodes || catalog.nodes.values().any(fits) {
        return None;
    }
    let message = format!("environment `{name}` has no nodes: none has the labels {selector}");
    let help = "give these labels to its nodes under `labels:`, or select others here";
    Some(Diagnostic::warning("no-node-in-environment", place(), message).help(help))
}

fn no_source(
    catalog: &Catalog,
    environment: Option<&EnvironmentName>,
    policy: &Policy,
) -> Option<Diagnostic> {
    policy.images_from.as_ref().filter(|sources| sources.is_empty())?;
    let place = catalog.policy_place(environment, "images_from");
    let diagnostic =
        Diagnostic::error("no-image-allowed", place, "`images_from` is empty, so no image is allowed");
    Some(diagnostic.help("name where images may come from, such as `ghcr.io/our-team/`, or remove the line"))
}

/// One finding for each two environments that have nodes in common.
fn in_two(catalog: &Catalog) -> Vec<Diagnostic> {
    let mut common: BTreeMap<[&EnvironmentName; 2], Vec<&Located<Node>>> = BTreeMap::new();
    for node in catalog.nodes.values() {
        let mut selecting = selecting(&catalog.settings, &node.value).map(|(name, _)| name);
        let Some(first) = selecting.next() else { continue };
        for second in selecting {
            common.entry([first, second]).or_default().push(node);
        }
    }
    common
        .into_iter()
        .take(MAX_OF_A_KIND)
        .filter_map(|(names, nodes)| node_in_two(catalog, names, &nodes))
        .collect()
}

fn node_in_two(
    catalog: &Catalog,
    names: [&EnvironmentName; 2],
    nodes: &[&Located<Node>],
) -> Option<Diagnostic> {
    let (node, more) = nodes.split_first()?;
    let selector = |name: &EnvironmentName| {
        let place =
            place(&catalog.tree, &[Step::Key("environments"), Step::Key(name.as_str()), Step::Key("nodes")]);
        let selector =
            catalog.settings.environments.get(name).map(|one| one.nodes.to_string()).unwrap_or_default();
        format!("`{name}` selects {selector} at {}:{}", place.path, place.line)
    };
    let [first, second] = names;
    let (node, place) = (&node.value.node, catalog.place(node, &[Step::Key("labels")]));
    let subject = match more.len() {
        0 => format!("node `{node}` is"),
        more => format!("node `{node}` and {more} more are"),
    };
    let message = format!("{subject} in two environments, `{first}` and `{second}`");
    let diagnostic = Diagnostic::error("node-in-two-environments", place, message);
    let diagnostic = diagnostic.note(selector(first)).note(selector(second));
    Some(diagnostic.help(
        "a node is in one at most: select by a label that parts them, or change the labels of the node",
    ))
}

/// What is promoted goes to the next order, so no two may have the same.
fn same_order(catalog: &Catalog) -> Vec<Diagnostic> {
    let mut first_with: BTreeMap<u32, &EnvironmentName> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, environment) in &catalog.settings.environments {
        let Some(order) = environment.order.filter(|_| found.len() < MAX_OF_A_KIND) else { continue };
        let place = |name: &EnvironmentName| {
            place(&catalog.tree, &[Step::Key("environments"), Step::Key(name.as_str()), Step::Key("order")])
        };
        if let Some(first) = first_with.get(&order) {
            let message = format!("environments `{first}` and `{name}` have the same order, {order}");
            let other = place(first);
            let diagnostic = Diagnostic::error("same-order", place(name), message)
                .note(format!("`{first}` has it at {}:{}", other.path, other.line))
                .help("give each its own place on the way of a change: 1, 2, 3");
            found.push(diagnostic);
        } else {
            first_with.insert(order, name);
        }
    }
    found
}

fn policy_loosened(catalog: &Catalog, name: &EnvironmentName, what: &Loosened) -> Diagnostic {
    let field = what.field();
    let mut steps = policy_field(Some(name), field);
    if let Loosened::ImagesFrom(item) = what {
        steps.push(Step::Item(*item));
    }
    let (allowed, mend) = loosened(catalog, name, what);
    let everywhere = catalog.policy_place(None, field);
    let asked = match everywhere.line {
        0 => "what holds for all is the default".to_owned(),
        line => format!("what holds for all is at {}:{line}", everywhere.path),
    };
    let message = format!("environment `{name}` would allow what is denied everywhere: {allowed}");
    Diagnostic::error("policy-loosened", place(&catalog.tree, &steps), message)
        .note(format!("{asked}; an environment may ask for more, never for less"))
        .help(mend)
}

/// What would be allowed, and what to write instead.
fn loosened(catalog: &Catalog, name: &EnvironmentName, what: &Loosened) -> (String, String) {
    let policy = catalog.settings.environments.get(name).map(|environment| &environment.policy);
    match what {
        Loosened::FeaturesMustBeImplemented => {
            ("features that are not implemented".to_owned(), "write `true`, or remove the line".to_owned())
        }
        Loosened::DigestRequired => {
            ("images without a digest".to_owned(), "write `true`, or remove the line".to_owned())
        }
        Loosened::Controls(here) => (
            format!("controls that weigh less than `{}`", here.as_str()),
            format!("write `{}`, or remove the line", here.as_str()),
        ),
        Loosened::ImagesFrom(item) => {
            let sources = policy.and_then(|policy| policy.images_from.as_ref());
            let source =
                sources.and_then(|sources| sources.get(*item)).map(ToString::to_string).unwrap_or_default();
            let help = "name a place within those that are allowed everywhere, or allow it there";
            (format!("images from `{source}`"), help.to_owned())
        }
        Loosened::TagsForbidden(tag) => {
            (format!("the tag `{tag}`"), format!("name `{tag}` here too, or remove the line"))
        }
        Loosened::HostPortFloor(floor) => (
            format!("ports of the host below {floor} without a capability"),
            format!("write {floor} or more, or remove the line"),
        ),
    }
}

/// A service, or what it gives otherwise for an environment: the lists of names in it, and the way to them.
pub(super) struct Layer<'a> {
    around: Option<&'a EnvironmentName>,
    pub(super) nodes: &'a [NodeName],
    pub(super) features: &'a [FeatureName],
    pub(super) controls: &'a [ControlName],
}

impl<'a> Layer<'a> {
    /// The way to an item of one of the lists.
    pub(super) fn steps(&self, fields: &[&'static str], item: usize) -> Vec<Step<'a>> {
        let around = self.around.map(|name| [Step::Key("environments"), Step::Key(name.as_str())]);
        let fields = fields.iter().map(|field| Step::Key(field));
        around.into_iter().flatten().chain(fields).chain([Step::Item(item)]).collect()
    }
}

/// The service itself, then each of its environments.
pub(super) fn layers<'s>(service: &'s Service) -> impl Iterator<Item = Layer<'s>> {
    let base = Layer {
        around: None,
        nodes: service.place.named(),
        features: service.features.as_deref().unwrap_or_default(),
        controls: service.controls.as_deref().unwrap_or_default(),
    };
    let layer = |(name, given): (&'s EnvironmentName, &'s Override)| Layer {
        around: Some(name),
        nodes: given.place.as_ref().map(Placement::named).unwrap_or_default(),
        features: given.features.as_deref().unwrap_or_default(),
        controls: given.controls.as_deref().unwrap_or_default(),
    };
    let given = service.environments.iter().flatten();
    [base].into_iter().chain(given.filter_map(|(name, given)| Some((name, given.as_ref()?))).map(layer))
}
