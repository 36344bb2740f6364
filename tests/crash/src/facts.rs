//! Small makers of the facts that are written: plans and what is in them, times, events.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops::store::{NewEvent, Publication};
use gitops_core::name::{Digest, Generation};
use gitops_core::plan::{
    ContainerDigest, ContainerSpec, Ensure, FileRef, Model, NodePlan, OnFileChange, Remove, RunState, Step,
};
use jiff::Timestamp;

/// Seconds after some day in 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_780_000_000 + seconds, 1).expect("it is in this century")
}

/// A name of any kind that is good.
pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the names in here are good")
}

/// The revision that is this digit all through.
pub(crate) fn revision(digit: usize) -> gitops_core::name::Revision {
    name(&digit.to_string().repeat(40))
}

/// One service with one container, as `version`, and these files.
pub(crate) fn ensure(service: &str, version: &str, files: &[(&str, &str)]) -> Ensure {
    let config = ContainerDigest { rule: 1, digest: Digest::of(version) };
    let app = ContainerSpec { config, files: None, replicas: 1, completes: false };
    let file = |(path, content): &(&str, &str)| {
        let size = content.len() as u64;
        (Arc::from(*path), FileRef { digest: Digest::of(content), size, executable: false })
    };
    Ensure {
        service: name(service),
        project: service.into(),
        digest: Digest::of(format!("{service} {version} {files:?}")),
        state: RunState::Running,
        model: Model::from_canonical(format!(r#"{{"services":{{"app":{{"image":"{version}"}}}}}}"#)),
        files: files.iter().map(file).collect(),
        containers: BTreeMap::from([("app".into(), app)]),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    }
}

/// The service goes.
pub(crate) fn remove(service: &str) -> Step {
    Step::Remove(Remove {
        service: name(service),
        project: service.into(),
        volumes_kept: Vec::new(),
        after: Vec::new(),
        wave: 0,
        spans: Vec::new(),
        because: Vec::new(),
    })
}

/// The plan of a node after `parent`.
pub(crate) fn plan(node: &str, parent: Option<&NodePlan>, steps: Vec<Step>) -> Arc<NodePlan> {
    let generation = Generation(parent.map_or(1, |parent| parent.generation.0 + 1));
    let digest = parent.map(|parent| parent.digest);
    Arc::new(NodePlan::new(name(node), generation, digest, revision(generation.0 as usize), steps))
}

/// Plans, with content that they name.
pub(crate) fn publication(plans: Vec<Arc<NodePlan>>, contents: &[String]) -> Publication {
    let blobs = contents.iter().map(|content| (Digest::of(content), Arc::from(content.as_bytes())));
    Publication { plans, blobs: blobs.collect(), ..Publication::default() }
}

/// Something happened.
pub(crate) fn event(seconds: i64, message: &str) -> NewEvent {
    NewEvent {
        at: at(seconds),
        kind: "plan.published".into(),
        revision: None,
        node: None,
        service: None,
        message: message.to_owned(),
    }
}
