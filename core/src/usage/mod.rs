//! Which features a service uses, how it comes to use them, and what they ask of a node.
//!
//! It stands below placement, which asks what a node must have, and below the rules, which ask what is used and what is
//! available: all of them get one answer.

mod check;
mod lookup;
mod node;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::compose::{Overlay, Rendered, Source, Variables};
use crate::definition::{Override, ValuePath};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::FeatureName;
use crate::yaml::Step;
pub use check::check_ground;
pub use node::{Lack, Need, available_on, needs, offered_by};
use search::Search;

/// The features that a service uses, each with how it comes to use it.
pub type Uses = BTreeMap<FeatureName, Use>;

/// How a service comes to use a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// A list of features names it.
    Named {
        /// Whose list.
        by: By,
        /// Which item of it, from 0.
        index: usize,
    },
    /// A path of the feature leads somewhere in what the service is made of.
    Found {
        /// The path, as the feature has it.
        path: ValuePath,
        /// Where it led.
        document: Document,
        /// The keys on the way, a number for each item of a list.
        way: Vec<Arc<str>>,
    },
}

/// Whose list of features counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// That of the service.
    Service,
    /// That of the service for this environment, instead of the other.
    Environment,
    /// That of the defaults, because the service has none.
    Defaults,
}

/// What a path is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The Compose model, with its `x-…` fields.
    Compose,
    /// `service.yaml`.
    Service,
    /// What `service.yaml` gives otherwise for this environment.
    Environment,
}

/// What is looked at: a service as it is in one environment, or in none.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Everything that was defined.
    pub catalog: &'a Catalog,
    /// The service.
    pub entry: &'a ServiceEntry,
    /// It as it is in this environment.
    pub deployment: &'a Deployment,
}

impl<'a> Subject<'a> {
    /// The model of the service for these variables, and the features that it uses. `source` is that of the deployment, or
    /// one that was made of it.
    ///
    /// A feature that is named is there from the start: its overlay is part of the source. What a path finds in that model
    /// is used, too, and its overlay is merged over it; but what such an overlay brings is not searched again. So the
    /// answer depends on no order, and there is no loop.
    ///
    /// # Errors
    ///
    /// As [`crate::compose::Source::render`].
    pub fn render(
        &self,
        source: &Source,
        variables: &Variables,
    ) -> Result<(Rendered, Uses), Vec<Diagnostic>> {
        let plain = source.render(&self.catalog.tree, variables)?;
        let uses = self.uses(&plain);
        let overlays = self.overlays(&uses);
        if overlays.is_empty() {
            return Ok((plain, uses));
        }
        let mut rendered = source.with(&overlays).render(&self.catalog.tree, variables)?;
        // What was looked at to find the overlays decides what there is, as well.
        rendered.used_variables.extend(plain.used_variables);
        Ok((rendered, uses))
    }

    /// All features that it uses: those that are named, and those whose path is found.
    fn uses(&self, rendered: &Rendered) -> Uses {
        let mut uses = self.found(rendered);
        uses.extend(self.named());
        uses
    }

    /// Those that a list names. They are known before anything is rendered.
    pub fn named(&self) -> Uses {
        let (by, names) = self.list();
        let named = names.iter().enumerate().rev();
        named.map(|(index, name)| (name.clone(), Use::Named { by, index })).collect()
    }

    /// Whose list counts, and what it holds.
    fn list(&self) -> (By, &'a [FeatureName]) {
        let by = match &self.deployment.service.features {
            None => By::Defaults,
            Some(_) if self.given().is_some_and(|given| given.features.is_some()) => By::Environment,
            Some(_) => By::Service,
        };
        (by, self.deployment.features(&self.catalog.settings))
    }

    /// What the service gives otherwise in the environment.
    fn given(&self) -> Option<&'a Override> {
        let environments = self.entry.service().environments.as_ref()?;
        environments.get(self.deployment.environment.as_ref()?)?.as_ref()
    }

    fn found(&self, rendered: &Rendered) -> Uses {
        let mut search = Search::new(self, rendered);
        let features = self.catalog.features.iter();
        let found = features.filter_map(|(name, feature)| {
            let mut paths = feature.value.used_by.iter();
            Some((name.clone(), paths.find_map(|wanted| search.find(wanted))?))
        });
        found.collect()
    }

    /// What is to be merged over the Compose model for the features that a path found: in the order of their names.
    fn overlays(&self, uses: &Uses) -> Vec<Overlay> {
        let found = uses.iter().filter(|(_, by)| matches!(by, Use::Found { .. }));
        let features = found.filter_map(|(name, _)| self.catalog.features.get(name));
        features.filter_map(|feature| self.catalog.overlay(&feature.value)).cloned().collect()
    }

    /// Where it is seen that the service uses the feature. A use that was found was found in this model.
    pub fn place(&self, rendered: Option<&Rendered>, used: &Use) -> Place {
        let Subject { catalog, entry, deployment } = *self;
        match used {
            Use::Named { index, .. } => catalog.item_place(entry, deployment, "features", *index),
            Use::Found { document: Document::Compose, way, .. } => {
                let keys: Vec<&str> = way.iter().map(|key| &**key).collect();
                let place = rendered.and_then(|rendered| rendered.places_in(&catalog.tree)(&keys));
                place.unwrap_or_else(|| Place::file(entry.path().clone()))
            }
            Use::Found { document, way, .. } => {
                let environment =
                    deployment.environment.as_ref().filter(|_| *document == Document::Environment);
                let given = environment.map(|name| [Step::Key("environments"), Step::Key(name.as_str())]);
                let steps: Vec<_> =
                    given.into_iter().flatten().chain(way.iter().map(|key| step(key))).collect();
                catalog.place(&entry.definition, &steps)
            }
        }
    }
}

/// Of `service.yaml`, whose lists have no names for their items.
fn step(key: &str) -> Step<'_> {
    key.parse().map_or(Step::Key(key), Step::Item)
}
