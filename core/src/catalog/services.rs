//! The services: one folder each, read again only if something in that folder changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Deployment, ServiceEntry, files, placement, rollouts, strays};
use crate::compose::{self, Overlay, ReadSpec};
use crate::definition::{Located, Override, Service};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{EnvironmentName, ServiceName};
use crate::spread::spread;
use crate::tree::Tree;
use crate::yaml::Step;

/// Fills in the services. `previous` is the catalog before and the paths that changed since.
pub(super) fn load(
    catalog: &mut Catalog,
    previous: Option<(&Catalog, &BTreeSet<Arc<str>>)>,
    found: &mut Vec<Diagnostic>,
) {
    let standing = previous.filter(|(before, _)| before.same_ground(catalog));
    let folders: BTreeSet<String> = match standing {
        Some((_, changed)) => changed.iter().filter_map(|path| folder(path)).map(str::to_owned).collect(),
        None => {
            catalog.tree.under("services").filter_map(|(path, _)| folder(path)).map(str::to_owned).collect()
        }
    };
    catalog.services = standing.map(|(before, _)| before.services.clone()).unwrap_or_default();
    for folder in &folders {
        catalog.services.remove(folder_name(folder));
    }
    let folders: Vec<&String> = folders.iter().filter(|folder| catalog.tree.is_folder(folder)).collect();
    for (entry, diagnostics) in read_all(catalog, &folders) {
        found.extend(diagnostics);
        if let Some(entry) = entry {
            catalog.services.insert(entry.service().service.clone(), Arc::new(entry));
        }
    }
}

type Read = (Option<ServiceEntry>, Vec<Diagnostic>);

fn read_all(catalog: &Catalog, folders: &[&String]) -> Vec<Read> {
    spread(folders, |folder| read(catalog, folder))
}

/// `services/web` of `services/web/compose.yaml`; none for a file directly in `services/`.
fn folder(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("services/")?;
    let (name, _) = rest.split_once('/')?;
    path.get(.."services/".len() + name.len())
}

fn folder_name(folder: &str) -> &str {
    folder.rsplit_once('/').map_or(folder, |(_, name)| name)
}

fn read(catalog: &Catalog, folder: &str) -> Read {
    let tree = &catalog.tree;
    let path: Arc<str> = format!("{folder}/service.yaml").into();
    if tree.get(&path).is_none() {
        return (None, vec![no_definition(tree, folder, path)]);
    }
    let mut found = Vec::new();
    let Some(mut definition) = files::service(tree, &path, folder, &mut found) else {
        found.extend(structure(tree, folder));
        return (None, found);
    };
    // With a mistake in the name, the folder says what it should be.
    if let (true, Ok(name)) = (definition.broken.contains("service"), folder_name(folder).parse()) {
        definition.value.service = name;
    }
    if !definition.broken.contains("service") {
        found.extend(check_folder(tree, folder, &definition));
    }
    found.extend(check_lists(tree, &definition));
    found.extend(strays::in_service(tree, folder));
    match deployments(catalog, folder, &definition) {
        Ok(deployments) => {
            // What is only a warning stays with the entry, so that it is told again while the entry stands.
            let (errors, findings): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
            let named = definition.value.service.as_str() == folder_name(folder);
            (named.then_some(ServiceEntry { definition, deployments, findings }), errors)
        }
        Err(diagnostics) => {
            let guessed = definition.broken.contains("compose");
            found.extend(
                diagnostics.into_iter().filter(|one| !guessed || one.code.as_ref() != NO_COMPOSE_FILE),
            );
            (None, found)
        }
    }
}

/// What is wrong with the Compose files of a service of which nothing else is known.
fn structure(tree: &Tree, folder: &str) -> Vec<Diagnostic> {
    let mistakes = match compose::Source::read(tree, folder, &ReadSpec::default()) {
        Ok(source) => source.mistakes(tree, &compose::Variables::new()),
        Err(mistakes) => mistakes,
    };
    mistakes.into_iter().filter(|mistake| mistake.code.as_ref() != NO_COMPOSE_FILE).collect()
}

/// Where the definition cannot be read, it may name others than those that were looked for.
const NO_COMPOSE_FILE: &str = "no-compose-file";

fn no_definition(tree: &Tree, folder: &str, path: Arc<str>) -> Diagnostic {
    let message = format!("the folder `{folder}` has no service.yaml, so nothing in it is deployed");
    let diagnostic = Diagnostic::error("no-service-file", Place::file(path), message);
    let misspelt = tree.under(folder).find(|(path, _)| path.ends_with("/service.yml"));
    match misspelt {
        Some((found, _)) => diagnostic.help(format!("rename {found} to service.yaml")),
        None => diagnostic
            .help("add one (`gitops schema service` tells its fields), or move the folder out of services/"),
    }
}

fn check_folder(tree: &Tree, folder: &str, definition: &Located<Service>) -> Option<Diagnostic> {
    let (name, expected) = (definition.value.service.as_str(), folder_name(folder));
    (name != expected).then(|| {
        let place = super::place(tree, definition, &[Step::Key("service")]);
        let message = format!("service `{name}` is defined in the folder of `{expected}`");
        let rename = format!("rename the folder to services/{name}");
        let help = match strays::is_service_name(expected) {
            true => format!("write `service: {expected}`, or {rename}"),
            false => rename,
        };
        Diagnostic::error("service-folder-mismatch", place, message).help(help)
    })
}

/// What can be said of the lists of a definition without a look at any other.
fn check_lists(tree: &Tree, definition: &Located<Service>) -> Vec<Diagnostic> {
    let service = &definition.value;
    let places = super::places(tree, definition);
    let place = |fields: &[&'static str], index: Option<usize>| {
        let keys = fields.iter().map(|field| Step::Key(field)).chain(index.map(Step::Item));
        places(&keys.collect::<Vec<_>>())
    };
    let mut found = Vec::new();
    found.extend(placement::check(definition, &places));
    found.extend(rollouts::check_service(definition, &places));
    let mut named_twice = |fields: &[&'static str], names: Vec<&str>| {
        let mut seen = BTreeSet::new();
        let again = names.into_iter().enumerate().filter(|(_, name)| !seen.insert(*name));
        for (index, name) in again.take(super::MAX_OF_A_KIND) {
            let diagnostic = Diagnostic::error(
                "named-twice",
                place(fields, Some(index)),
                format!("`{name}` is named twice"),
            );
            found.push(diagnostic.help("name it once"));
        }
    };
    named_twice(&["place", "nodes"], service.place.named().iter().map(|name| name.as_str()).collect());
    named_twice(&["depends_on"], service.depends_on.iter().map(|name| name.as_str()).collect());
    named_twice(&["features"], service.features.iter().flatten().map(|name| name.as_str()).collect());
    named_twice(&["controls"], service.controls.iter().flatten().map(|name| name.as_str()).collect());
    found
}

/// The service as it is in each of its environments. Two of them that read the same files share what was read.
fn deployments(
    catalog: &Catalog,
    folder: &str,
    definition: &Located<Service>,
) -> Result<Vec<Deployment>, Vec<Diagnostic>> {
    let service = &definition.value;
    let mut deployments: Vec<Deployment> = Vec::new();
    let mut found = Vec::new();
    for (environment, service) in in_environments(service) {
        let reads = |other: &&Deployment| reads_the_same(&other.service, &service);
        let source = match deployments.iter().find(reads) {
            Some(other) => Ok(other.source.clone()),
            None => compose_source(catalog, folder, &service).map(Arc::new),
        };
        match source {
            Ok(source) => deployments.push(Deployment { environment, service, source }),
            Err(diagnostics) => found.extend(diagnostics),
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Ok(deployments) } else { Err(found) }
}

fn in_environments(service: &Service) -> Vec<(Option<EnvironmentName>, Arc<Service>)> {
    let Some(environments) = &service.environments else { return vec![(None, Arc::new(service.clone()))] };
    let nothing = Override::default();
    let overridden = |(name, other): (&EnvironmentName, &Option<Override>)| {
        (Some(name.clone()), Arc::new(service.overridden(other.as_ref().unwrap_or(&nothing))))
    };
    environments.iter().map(overridden).collect()
}

fn reads_the_same(one: &Service, other: &Service) -> bool {
    let hooks = || one.hooks.services().eq(other.hooks.services());
    (&one.compose, &one.profiles, &one.features) == (&other.compose, &other.profiles, &other.features)
        && hooks()
}

fn compose_source(
    catalog: &Catalog,
    folder: &str,
    service: &Service,
) -> Result<compose::Source, Vec<Diagnostic>> {
    let defaults = &catalog.settings.defaults;
    let profiles = service.profiles.as_ref().or(defaults.profiles.as_ref());
    let spec = ReadSpec {
        files: service.compose.as_ref().map(|files| files.paths()).unwrap_or_default(),
        profiles: profiles.map(Vec::as_slice).unwrap_or_default(),
        overlays: &overlays(catalog, service),
        hooks: &service.hooks.services().cloned().collect::<Vec<_>>(),
        formerly: service.moved.as_ref().map(|moved| moved.from.as_str()),
    };
    compose::Source::read(&catalog.tree, folder, &spec)
}

/// The overlays of the features that the service uses, in the order in which it names them.
fn overlays(catalog: &Catalog, service: &Service) -> Vec<Overlay> {
    let features = super::or_default(&service.features, &catalog.settings.defaults.features);
    let features = features.iter().filter_map(|name| catalog.features.get(name));
    features.filter_map(|feature| catalog.overlay(&feature.value)).cloned().collect()
}

/// By name, for look-ups of what else there is.
pub(super) fn names(services: &BTreeMap<ServiceName, Arc<ServiceEntry>>) -> impl Iterator<Item = &str> {
    services.keys().map(ServiceName::as_str)
}
