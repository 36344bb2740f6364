//! Plans, containers and a machine in memory for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, Generation, NodeName};
use gitops_core::plan::{
    ContainerDigest, ContainerSpec, Ensure, FileRef, HealthCheck, Model, NodePlan, OnFileChange, Probe,
    Remove, RunState, Step,
};
use gitops_core::status::{Container, ContainerState, Health};

/// The node of all tests.
pub(crate) fn node() -> NodeName {
    "edge-1".parse().unwrap()
}

/// A sealed plan.
pub(crate) fn plan(generation: u64, steps: Vec<Step>) -> NodePlan {
    NodePlan::new(node(), Generation(generation), None, "a".repeat(40).parse().unwrap(), steps)
}

/// An `Ensure` in the making: one Compose service `app`, whose definition is `version`.
pub(crate) struct EnsureMaker(pub(crate) Ensure);

pub(crate) fn ensure(service: &str, version: &str) -> EnsureMaker {
    let app = ContainerSpec { config: config(version), files: None, replicas: 1, completes: false };
    EnsureMaker(Ensure {
        service: service.parse().unwrap(),
        project: service.into(),
        digest: Digest::of(version),
        state: RunState::Running,
        model: Model::from_canonical("{}"),
        files: BTreeMap::new(),
        containers: BTreeMap::from([("app".into(), app)]),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    })
}

impl EnsureMaker {
    pub(crate) fn after(mut self, service: &str) -> Self {
        self.0.after.push(service.parse().unwrap());
        self
    }

    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        let file = FileRef { digest: Digest::of(content), size: content.len() as u64, executable: false };
        self.0.files.insert(path.into(), file);
        self
    }

    pub(crate) fn app(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        change(self.0.containers.get_mut("app").unwrap());
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Ensure)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn step(self) -> Step {
        Step::Ensure(self.0)
    }
}

pub(crate) fn remove(service: &str) -> Step {
    Step::Remove(Remove {
        service: service.parse().unwrap(),
        project: service.into(),
        volumes_kept: Vec::new(),
        after: Vec::new(),
        wave: 0,
        spans: Vec::new(),
        because: Vec::new(),
    })
}

/// A check of `app`, each ten seconds: two good answers make it healthy, three bad ones unhealthy.
pub(crate) fn check(name: &str, probe: Probe) -> HealthCheck {
    HealthCheck {
        name: name.into(),
        container: "app".into(),
        probe,
        interval: 10,
        timeout: 2,
        healthy_after: 2,
        unhealthy_after: 3,
    }
}

/// The container digest of a version.
pub(crate) fn config(version: &str) -> ContainerDigest {
    ContainerDigest { rule: 1, digest: Digest::of(version) }
}

/// A running container `web-app-1` as made from `version`.
pub(crate) fn container(service: &str, version: &str) -> Container {
    let name: Arc<str> = format!("{service}-app-1").into();
    Container {
        service: "app".into(),
        id: format!("id-{name}").into(),
        name,
        image: "busybox".into(),
        image_id: "sha256:0".into(),
        image_now: None,
        config: Some(config(version)),
        files: None,
        state: ContainerState::Running,
        health: Health::None,
        restarts: 0,
        exit_code: None,
        oom_killed: false,
        started_at: None,
    }
}
