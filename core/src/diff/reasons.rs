//! Why an instance is to become as it is: the fields and files that differ, with the line that says so.
//!
//! The same reasons stand in the preview and in the steps of a plan, so what a reviewer reads is what the agent logs.

use std::cell::LazyCell;
use std::sync::Arc;

use serde_json::Value;

use super::files::{MADE, given_as_secrets};
use super::state::{Opened, secrets};
use super::{fields, terms};
use crate::align::aligned;
use crate::catalog::Deployment;
use crate::desired::{Desired, Instance, ServiceInstances};
use crate::name::{NodeName, ServiceName};
use crate::plan::{Ensure, FileRef, Reason};
use crate::sensitive::{HIDDEN, Sensitive};

/// Why an instance is to become as `new` says, given what it was.
pub fn reasons(old: Option<&Ensure>, new: &Instance, desired: &Desired) -> Vec<Reason> {
    let Some(old) = old else { return vec![creation(new)] };
    let (old, opened) = (Opened::from(old), Opened::from(new));
    let mut reasons = of_model((&old, None), (&opened, new, desired), &desired.sensitive);
    reasons.extend(of_files(&old, &opened, new));
    reasons.extend(of_settings(&old, &opened, new, &desired.sensitive));
    reasons
}

/// It is there now.
pub(super) fn creation(new: &Instance) -> Reason {
    Reason {
        field: "service".into(),
        old: None,
        new: Some(new.ensure.service.as_str().into()),
        source: Some(new.entry.path().clone()),
    }
}

/// It is there now, and of what: its images and ports.
pub(super) fn first_fields(
    (opened, new, desired): (&Opened<'_>, &Instance, &Desired),
    sensitive: &Sensitive,
) -> Vec<Reason> {
    let sensitive = &secrets(sensitive, [None, Some(opened)]);
    let is_shown = |change: &fields::FieldChange| match change.path.as_slice() {
        [section, _, field] => &**section == "services" && matches!(&**field, "image" | "ports"),
        _ => false,
    };
    let changes = fields::changed(&Value::Null, opened.model(), sensitive);
    let source_of = desired.sources_of(new);
    let shown = changes.into_iter().filter(is_shown).take(MAX_SOURCES);
    let reason = |change: fields::FieldChange| {
        let source = source_of(&change.path);
        Reason { field: change.path.join(".").into(), old: None, new: change.new, source }
    };
    [creation(new)].into_iter().chain(shown.map(reason)).collect()
}

/// The fields of the Compose model. Those that are gone were written where `was` has them.
pub(super) fn of_model(
    (old, was): (&Opened<'_>, Option<(&Desired, &Instance)>),
    (opened, new, desired): (&Opened<'_>, &Instance, &Desired),
    sensitive: &Sensitive,
) -> Vec<Reason> {
    if old.ensure.model == new.ensure.model {
        return Vec::new();
    }
    let sensitive = secrets(sensitive, [Some(old), Some(opened)]);
    let changes = fields::changed(old.model(), opened.model(), &sensitive);
    let source_of = desired.sources_of(new);
    let stood_in = was.map(|(desired, was)| desired.sources_of(was));
    let source = |change: &fields::FieldChange| match (&change.new, &stood_in) {
        (Some(_), _) => source_of(&change.path),
        (None, Some(stood_in)) => stood_in(&change.path),
        (None, None) => None,
    };
    // The profile of hooks is ours: their lists say what they are.
    let is_profile = |path: &[Arc<str>]| matches!(path, [_, _, field] if &**field == "profiles");
    let changes: Vec<_> = changes.into_iter().filter(|change| !is_profile(&change.path)).collect();
    let reason = |(number, change): (usize, fields::FieldChange)| Reason {
        field: change.path.join(".").into(),
        source: if number < MAX_SOURCES { source(&change) } else { None },
        old: change.old,
        new: change.new,
    };
    changes.into_iter().enumerate().map(reason).collect()
}

/// Finding the line of a field costs time that grows with its file, so that tens of thousands of changes to one
/// generated file would hold up the whole pass. Nobody reads the lines of so many.
pub(super) const MAX_SOURCES: usize = 1_000;

/// Files are named with their size and never shown in a plan: they may hold secrets. Of those that are secrets, only that
/// they changed.
fn of_files(old: &Opened<'_>, opened: &Opened<'_>, new: &Instance) -> Vec<Reason> {
    let (folder, definition) = (new.entry.folder(), new.entry.path());
    let secrets = LazyCell::new(|| {
        let mut secrets = given_as_secrets(old);
        secrets.extend(given_as_secrets(opened));
        secrets
    });
    let text = |path: &Arc<str>, file: &FileRef| -> Arc<str> {
        if secrets.contains(path) || Sensitive::default().names_a_secret(path) {
            return HIDDEN.into();
        }
        let mode = if file.executable { ", executable" } else { "" };
        format!("{} ({} bytes{mode})", file.digest.short(), file.size).into()
    };
    let differing = aligned(&old.ensure.files, &new.ensure.files).filter(|(_, old, new)| old != new);
    let reason = |(path, old, new): (&Arc<str>, Option<&FileRef>, Option<&FileRef>)| Reason {
        field: format!("files/{path}").into(),
        old: old.map(|file| text(path, file)),
        new: new.map(|file| text(path, file)),
        source: Some(match path.starts_with(MADE) {
            true => definition.clone(),
            false => format!("{folder}/{path}").into(),
        }),
    };
    differing.map(reason).collect()
}

/// What `service.yaml` says beside the model.
pub(super) fn of_settings(
    old: &Opened<'_>,
    new: &Opened<'_>,
    instance: &Instance,
    sensitive: &Sensitive,
) -> Vec<Reason> {
    let reason = |field: &str, old: Option<&str>, new: Option<&str>| {
        let [old, new] = [old, new].map(|text| text.filter(|text| !text.is_empty()).map(Arc::from));
        Reason { field: field.into(), old, new, source: Some(instance.entry.path().clone()) }
    };
    let pairs = settings(old.ensure).into_iter().zip(settings(new.ensure));
    let pairs = pairs.filter(|(before, after)| before != after);
    let own = pairs.map(|((field, before), (_, after))| reason(field, Some(&before), Some(&after)));
    if old.ensure.terms == new.ensure.terms {
        return own.collect();
    }
    let sensitive = secrets(sensitive, [Some(old), Some(new)]);
    let [before, after] = [old, new].map(|side| terms::lists(&side.ensure.terms, &sensitive));
    let differing = aligned(&before, &after).filter(|(_, before, after)| before != after);
    let of_terms = differing
        .map(|(field, before, after)| reason(field, before.map(String::as_str), after.map(String::as_str)));
    own.chain(of_terms).collect()
}

/// What every service has, in the order in which it is told.
fn settings(ensure: &Ensure) -> [(&'static str, String); 8] {
    let after: Vec<&str> = ensure.after.iter().map(ServiceName::as_str).collect();
    let [wave, retries, drift] = terms::single(&ensure.terms);
    [
        ("project", ensure.project.to_string()),
        ("state", format!("{:?}", ensure.state).to_lowercase()),
        ("on_file_change", format!("{:?}", ensure.on_file_change).to_lowercase()),
        ("health.within", format!("{}s", ensure.health_within)),
        ("depends_on", after.join(", ")),
        wave,
        retries,
        drift,
    ]
}

/// Why a service is no longer on nodes, although there is such a service: they are not named any more, or others were
/// chosen, of which those are told that are new.
pub fn displacement(
    gone: &[NodeName],
    service: &ServiceInstances,
    is_new: impl Fn(&NodeName) -> bool,
) -> Reason {
    let is_chosen = |deployment: &Deployment| deployment.service.place.nodes.is_none();
    let (field, new) = match service.entry.deployments.iter().any(is_chosen) {
        true => ("place", some_names(service.instances.keys().filter(|node| is_new(node)))),
        false => ("place.nodes", None),
    };
    let source = Some(service.entry.path().clone());
    Reason { field: field.into(), old: some_names(gone.iter()), new, source }
}

/// `a, b, c and 2 more`; none of none.
fn some_names<'a>(names: impl Iterator<Item = &'a NodeName>) -> Option<Arc<str>> {
    const MAX: usize = 3;
    let names: Vec<&str> = names.map(NodeName::as_str).collect();
    let named = names.iter().take(MAX).copied().collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| format!("{named}{more}").into())
}
