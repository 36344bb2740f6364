//! Whether the images of a service are such as policy allows: from where, by which tag, by digest.
//!
//! A finding stands at the image and names the line of the policy that it goes against: the one for all services where
//! that is enough, or else the one of the environment.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Subject;
use crate::catalog::Catalog;
use crate::definition::{ImageName, Policy};
use crate::desired::Instance;
use crate::diagnostic::{Diagnostic, Place};
use crate::name::EnvironmentName;

/// What is wrong with the images of a service. Said once of a line, however many nodes it is rendered for.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let catalog = subject.catalog;
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    for (node, instance) in subject.instances {
        let environment = catalog.environment_of(node);
        let asks = *catalog.policy_for(environment) != Policy::default();
        let render = std::sync::Arc::as_ptr(&instance.rendered).addr();
        if asks && seen.insert((render, environment)) {
            found.extend(of_instance(catalog, environment, instance));
        }
    }
    found.into_iter().collect()
}

fn of_instance(
    catalog: &Catalog,
    environment: Option<&EnvironmentName>,
    instance: &Instance,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for image in images(&instance.rendered.model.value()) {
        let name = ImageName::of(&image.reference);
        let own =
            environment.and_then(|name| Some((Some(name), &catalog.settings.environments.get(name)?.policy)));
        let mut known = BTreeSet::new();
        for (environment, policy) in [(None, &catalog.settings.policy)].into_iter().chain(own) {
            let new = objections(policy, &name).into_iter().filter(|one| known.insert(*one));
            found.extend(new.map(|one| one.diagnostic(catalog, environment, instance, &image)));
        }
    }
    found
}

/// An image that a model names, and where.
struct Image {
    reference: String,
    /// The Compose service.
    container: String,
    field: Vec<String>,
}

/// Of containers, and of volumes that are images.
fn images(model: &Value) -> Vec<Image> {
    let services = model.get("services").and_then(Value::as_object).into_iter().flatten();
    services.flat_map(|(container, service)| images_of(container, service)).collect()
}

fn images_of(container: &str, service: &Value) -> Vec<Image> {
    let image = |reference: &str, field: &[&str]| Image {
        reference: reference.to_owned(),
        container: container.to_owned(),
        field: ["services", container].iter().chain(field).map(|key| (*key).to_owned()).collect(),
    };
    let own = service.get("image").and_then(Value::as_str).map(|reference| image(reference, &["image"]));
    let mounts = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let mounted = mounts.filter(|mount| mount.get("type").and_then(Value::as_str) == Some("image"));
    let mounted = mounted.filter_map(|mount| mount.get("source").and_then(Value::as_str));
    own.into_iter().chain(mounted.map(|source| image(source, &["volumes", source]))).collect()
}

/// What a policy has against an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Objection {
    /// It comes from elsewhere.
    Source,
    /// Its tag is forbidden.
    Tag,
    /// It is not named by digest.
    Digest,
}

fn objections(policy: &Policy, image: &ImageName<'_>) -> Vec<Objection> {
    let elsewhere = |sources: &Vec<_>| {
        let sources: &[crate::definition::ImageSource] = sources;
        !sources.iter().any(|source| source.covers(&image.repository))
    };
    let forbidden = |tag: &str| policy.tags_forbidden.iter().flatten().any(|other| **other == *tag);
    let holds = [
        (Objection::Source, policy.images_from.as_ref().is_some_and(elsewhere)),
        (Objection::Tag, image.effective_tag().is_some_and(forbidden)),
        (Objection::Digest, policy.digest_required == Some(true) && image.digest.is_none()),
    ];
    holds.into_iter().filter(|(_, holds)| *holds).map(|(objection, _)| objection).collect()
}

impl Objection {
    fn code_and_field(self) -> (&'static str, &'static str) {
        match self {
            Self::Source => ("image-not-allowed", "images_from"),
            Self::Tag => ("tag-forbidden", "tags_forbidden"),
            Self::Digest => ("digest-required", "digest_required"),
        }
    }

    fn diagnostic(
        self,
        catalog: &Catalog,
        environment: Option<&EnvironmentName>,
        instance: &Instance,
        image: &Image,
    ) -> Diagnostic {
        let (code, field) = self.code_and_field();
        let path: Vec<&str> = image.field.iter().map(String::as_str).collect();
        let place = instance.rendered.places_in(&catalog.tree)(&path);
        let place = place.unwrap_or_else(|| Place::file(instance.entry.path().clone()));
        let variables = variables(&place);
        let diagnostic = Diagnostic::error(code, place, self.message(instance, image));
        let diagnostic = diagnostic.note(self.rule(catalog, environment, field));
        let help = self.help(image);
        match variables.as_slice() {
            [] => diagnostic.help(help),
            [one] => diagnostic.note(format!("it comes from the variable `{one}`")).help(help),
            all => diagnostic.note(format!("it comes from the variables `{}`", all.join("`, `"))).help(help),
        }
    }

    fn message(self, instance: &Instance, image: &Image) -> String {
        let (service, name) = (&instance.ensure.service, ImageName::of(&image.reference));
        let subject = format!("image `{}` of `{}` in service `{service}`", image.reference, image.container);
        match self {
            Self::Source => format!("{subject} comes from {}, which policy does not allow", name.repository),
            Self::Tag if name.tag.is_none() => {
                format!("{subject} has no tag, which stands for `latest`, and that tag is forbidden")
            }
            Self::Tag => format!("{subject} has a tag that is forbidden"),
            Self::Digest => format!("{subject} is not named by digest"),
        }
    }

    /// The line that it goes against.
    fn rule(self, catalog: &Catalog, environment: Option<&EnvironmentName>, field: &'static str) -> String {
        let place = catalog.policy_place(environment, field);
        let of = environment.map(|name| format!(" of environment `{name}`")).unwrap_or_default();
        let at = format!("`{field}`{of} at {}:{}", place.path, place.line);
        let policy = match environment {
            Some(name) => catalog.settings.environments.get(name).map(|environment| &environment.policy),
            None => Some(&catalog.settings.policy),
        };
        let sources = policy.and_then(|policy| policy.images_from.as_ref()).filter(|_| self == Self::Source);
        match sources.map(|sources| sources.iter().map(|source| format!("`{source}`")).collect::<Vec<_>>()) {
            Some(sources) => format!("{at} allows {}", sources.join(", ")),
            None => format!("{at} says so"),
        }
    }

    fn help(self, image: &Image) -> String {
        let name = ImageName::of(&image.reference);
        let untagged = image.reference.split('@').next().unwrap_or_default();
        match self {
            Self::Source => format!(
                "push the image to where images may come from and name it there, or add `{}` to `images_from`",
                name.repository
            ),
            Self::Tag => {
                let tag = name.tag.map_or(0, |tag| tag.len() + 1);
                let bare = &untagged[..untagged.len() - tag];
                format!("name the version that should run: `{bare}:VERSION`")
            }
            Self::Digest => format!(
                "write `{untagged}@sha256:…`: `docker buildx imagetools inspect {untagged}` shows the digest"
            ),
        }
    }
}

/// The names in `${NAME}`, `${NAME:-…}` and `$NAME` of what stands at a place.
fn variables(place: &Place) -> Vec<String> {
    let text = place.text.as_deref().unwrap_or_default();
    let shown: String =
        text.chars().skip(place.column.saturating_sub(1) as usize).take(place.width as usize).collect();
    let mut names = Vec::new();
    let mut rest = shown.as_str();
    while let Some((_, after)) = rest.split_once('$') {
        rest = after.strip_prefix('$').unwrap_or(after);
        let body = after.strip_prefix('{').unwrap_or(after);
        let name: String = body.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !after.starts_with('$') && !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests;
