//! Whether the images of a service are such as policy allows: from where, by which tag, by digest.
//!
//! A finding stands at the image and names the line of the policy that it goes against: the one for all services where
//! that is enough, or else the one of the environment.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::Subject;
use crate::catalog::{Catalog, MAX_OF_A_KIND};
use crate::definition::{ImageName, ImageSource, Policy};
use crate::desired::Instance;
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{EnvironmentName, NodeName};

/// What is wrong with the images of a service. Said once of a line, however many nodes it is rendered for.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let catalog = subject.catalog;
    let mut seen = BTreeSet::new();
    let mut found: BTreeMap<Diagnostic, &NodeName> = BTreeMap::new();
    for (node, instance) in subject.instances {
        let environment = catalog.environment_of(node);
        let asks = *catalog.policy_for(environment) != Policy::default();
        let render = Arc::as_ptr(&instance.rendered).addr();
        if found.len() < MAX_OF_A_KIND && asks && seen.insert((render, environment)) {
            for diagnostic in of_instance(catalog, environment, instance) {
                found.entry(diagnostic).or_insert(node);
            }
        }
    }
    found.into_iter().map(|(diagnostic, node)| with_variables(diagnostic, node)).collect()
}

/// With the variables that the image comes from: they, and not the line, are what may be wrong.
fn with_variables(diagnostic: Diagnostic, node: &NodeName) -> Diagnostic {
    match variables(&diagnostic.place).as_slice() {
        [] => diagnostic,
        [one] => diagnostic.note(format!("the variable `{one}` gives it, on node `{node}`")),
        all => diagnostic.note(format!("the variables `{}` give it, on node `{node}`", all.join("` and `"))),
    }
}

fn of_instance(
    catalog: &Catalog,
    environment: Option<&EnvironmentName>,
    instance: &Instance,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // The files are read once for all the findings of a render, and only if there is one.
    let place_of = instance.rendered.places_in(&catalog.tree);
    for image in images(instance.rendered.model.as_str()) {
        if found.len() >= MAX_OF_A_KIND {
            break;
        }
        let name = ImageName::of(&image.reference);
        let own =
            environment.and_then(|name| Some((Some(name), &catalog.settings.environments.get(name)?.policy)));
        let mut known = BTreeSet::new();
        for (environment, policy) in [(None, &catalog.settings.policy)].into_iter().chain(own) {
            let new = objections(policy, &name).into_iter().filter(|one| known.insert(*one));
            found.extend(new.map(|one| {
                let place = place_of(&image.field.iter().map(String::as_str).collect::<Vec<_>>());
                let place = place.unwrap_or_else(|| Place::file(instance.entry.path().clone()));
                one.diagnostic(catalog, environment, instance, &image, place)
            }));
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

/// As much of a rendered model as names images.
#[derive(Default, Deserialize)]
struct Model<'a> {
    #[serde(borrow, default)]
    services: BTreeMap<Cow<'a, str>, Container<'a>>,
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    image: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    volumes: Vec<Mount<'a>>,
}

#[derive(Deserialize)]
struct Mount<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
}

/// Of containers, and of volumes that are images.
fn images(model: &str) -> Vec<Image> {
    // What is valid for Compose has this form; what has not names no image that could be told.
    let model: Model<'_> = serde_json::from_str(model).unwrap_or_default();
    model.services.iter().flat_map(|(name, container)| images_of(name, container)).collect()
}

fn images_of<'a>(name: &'a str, container: &'a Container<'_>) -> impl Iterator<Item = Image> + use<'a> {
    let image = move |reference: &str, field: &[&str]| Image {
        reference: reference.to_owned(),
        container: name.to_owned(),
        field: ["services", name].iter().chain(field).map(|key| (*key).to_owned()).collect(),
    };
    let own = container.image.iter().map(move |reference| image(reference, &["image"]));
    let mounted = container.volumes.iter().filter(|mount| mount.r#type.as_deref() == Some("image"));
    let sources = mounted.filter_map(|mount| mount.source.as_deref());
    own.chain(sources.map(move |source| image(source, &["volumes", source])))
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
    let elsewhere =
        |sources: &Vec<ImageSource>| !sources.iter().any(|source| source.covers(&image.repository));
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
        place: Place,
    ) -> Diagnostic {
        let (code, field) = self.code_and_field();
        let diagnostic = Diagnostic::error(code, place, self.message(instance, image));
        diagnostic.note(self.rule(catalog, environment, field)).help(self.help(image))
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
            None if self == Self::Digest => format!("{at} asks for it"),
            None => format!("{at} forbids it"),
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
