//! What the states of features and the enforcement of controls have to say about each service.
//!
//! A control asks two things of a feature, and a finding says which of them failed: is it *available* where the
//! service runs, and does the service *use* it.

mod controls;
mod features;

use crate::catalog::Catalog;
use crate::diagnostic::Diagnostic;

/// All findings about features and controls, of services and of controls that could be read in full.
pub fn findings(catalog: &Catalog) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for entry in catalog.services.values().filter(|entry| catalog.knows_features(entry)) {
        found.extend(features::findings(catalog, entry));
        found.extend(controls::findings(catalog, entry));
    }
    found
}
