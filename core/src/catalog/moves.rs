//! Services that were called otherwise: they take over what stands under the old name, which one of them can do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalog, MAX_OF_A_KIND, ServiceEntry, references};
use crate::diagnostic::Diagnostic;
use crate::name::ServiceName;
use crate::yaml::Step;

/// What is wrong with them, all together: each is about two services.
pub(super) fn check(catalog: &Catalog) -> Vec<Diagnostic> {
    let moved =
        catalog.services.values().filter_map(|entry| Some((entry, &entry.service().moved.as_ref()?.from)));
    let mut first: BTreeMap<&ServiceName, &Arc<ServiceEntry>> = BTreeMap::new();
    let mut found = Vec::new();
    for (entry, from) in moved {
        if found.len() == MAX_OF_A_KIND {
            break;
        }
        let mistake = mistake(catalog, entry, from, first.get(from).copied());
        found.extend(mistake);
        first.entry(from).or_insert(entry);
    }
    found
}

fn mistake(
    catalog: &Catalog,
    entry: &ServiceEntry,
    from: &ServiceName,
    other: Option<&Arc<ServiceEntry>>,
) -> Option<Diagnostic> {
    let service = &entry.service().service;
    let (message, help) = if from == service {
        (format!("service `{service}` was moved from itself"), "remove `moved`".to_owned())
    } else if references::has_service(catalog, from) {
        let message = format!("service `{service}` was moved from `{from}`, which is still there");
        (message, format!("remove services/{from}, or remove `moved`"))
    } else if let Some(other) = other {
        let other = &other.service().service;
        let message = format!("service `{service}` was moved from `{from}`, as `{other}` was");
        (message, format!("let one of the two take over what `{from}` was"))
    } else {
        return None;
    };
    let place = catalog.place(&entry.definition, &[Step::Key("moved"), Step::Key("from")]);
    Some(Diagnostic::error("moved-from", place, message).help(help))
}
