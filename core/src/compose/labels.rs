//! The labels that tie a container to its node, its service and what it was made from.
//!
//! They are no part of the model and of no digest. The agent adds them when it writes the Compose file, and
//! `gitops render` shows them in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::NodeName;
use crate::plan::{ContainerSpec, Ensure, OnFileChange};

/// The node that a container belongs to. An agent touches only containers with its own.
pub const NODE: &str = "gitops.node";
/// The service that it is a container of.
pub const SERVICE: &str = "gitops.service";
/// What it was made from, less the content of files.
pub const CONFIG: &str = "gitops.config";
/// The content of the files that it mounts or reads, where a change of that must recreate it.
pub const FILES: &str = "gitops.files";
/// The name of a hook's container. It is no part of the instance.
pub const HOOK: &str = "gitops.hook";

/// Labels by Compose service.
pub type Labels = BTreeMap<Arc<str>, BTreeMap<String, String>>;

/// The labels of every container of an instance.
pub fn labels(node: &NodeName, instance: &Ensure) -> Labels {
    let of = |spec: &ContainerSpec| {
        let mut labels = BTreeMap::from([
            (NODE.to_owned(), node.to_string()),
            (SERVICE.to_owned(), instance.service.to_string()),
            (CONFIG.to_owned(), spec.config.to_string()),
        ]);
        // A label is part of what Compose compares: with it, a changed file means a new container.
        let files = spec.files.filter(|_| instance.on_file_change == OnFileChange::Recreate);
        labels.extend(files.map(|digest| (FILES.to_owned(), digest.to_string())));
        labels
    };
    instance.containers.iter().map(|(name, spec)| (name.clone(), of(spec))).collect()
}
