//! One real instance on one real engine: its own node, service and project, so that tests run side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    InspectContainerOptions, ListVolumesOptions, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};
use gitops_agent::attempt::Attempt;
use gitops_agent::docker::{DockerConfig, DockerHost};
use gitops_agent::host::{Blobs, Host as _};
use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::{
    ContainerDigest, ContainerSpec, Ensure, FileRef, Model, OnFileChange, Remove, RunState,
};
use gitops_core::status::Container;
use serde_json::{Value, json};

/// Content by digest, in a folder.
struct Store(PathBuf);

impl Blobs for Store {
    fn path(&self, digest: Digest) -> Option<Box<Path>> {
        Some(self.0.join(digest.hex()).into_boxed_path()).filter(|path| path.exists())
    }
}

pub(crate) struct Bench {
    pub(crate) name: String,
    pub(crate) host: Arc<DockerHost>,
    pub(crate) engine: Docker,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: DockerConfig,
}

/// The socket of the engine to test with; none where the test is skipped.
///
/// # Panics
///
/// Under `CI=true` where there is none: there a missing part is a failure.
fn socket() -> Option<PathBuf> {
    let socket = std::env::var_os("GITOPS_TEST_DOCKER").map(PathBuf::from);
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        socket.is_some() || !ci,
        "GITOPS_TEST_DOCKER must name the socket of a Docker engine under CI=true"
    );
    if socket.is_none() {
        eprintln!("skipped: GITOPS_TEST_DOCKER does not name the socket of a Docker engine");
    }
    socket
}

impl Bench {
    /// A host whose instance is called `name`; none where there is no engine to test with.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let socket = socket()?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("blobs")).unwrap();
        let name = format!("t{}-{name}", std::process::id());
        let config = DockerConfig {
            node: name.parse().unwrap(),
            socket: socket.clone(),
            instances: folder.path().join("instances"),
            blobs: Arc::new(Store(folder.path().join("blobs"))),
            program: "docker".into(),
            path: std::env::var_os("PATH").unwrap(),
            home: std::env::var_os("HOME").unwrap().into(),
            docker_config: std::env::var_os("DOCKER_CONFIG").map(PathBuf::from),
            compose_within: Duration::from_secs(120),
        };
        let engine =
            Docker::connect_with_unix(socket.to_str().unwrap(), 30, bollard::API_DEFAULT_VERSION).unwrap();
        let host = Arc::new(DockerHost::connect(config.clone()).unwrap());
        Some(Self { name, host, engine, folder, config })
    }

    /// A second host over the same folders that cannot call Compose: what succeeds on it needed no call.
    pub(crate) fn without_compose(&self) -> DockerHost {
        let program = self.folder.path().join("no-such-program");
        DockerHost::connect(DockerConfig { program, ..self.config.clone() }).unwrap()
    }

    pub(crate) fn with_node(&self, node: &str) -> DockerHost {
        let node: NodeName = format!("{}-{node}", self.name).parse().unwrap();
        DockerHost::connect(DockerConfig { node, ..self.config.clone() }).unwrap()
    }

    /// A step for these Compose services and files, with the content in the store.
    pub(crate) fn step(&self, services: Value, files: &[(&str, &str)]) -> Ensure {
        let refs = files.iter().map(|(path, content)| (Arc::from(*path), self.store(content))).collect();
        let containers = services.as_object().unwrap().iter();
        let containers =
            containers.map(|(name, service)| (Arc::from(name.as_str()), spec(service, files))).collect();
        let model = json!({ "services": services, "volumes": { "data": {} } });
        Ensure {
            service: self.name.parse().unwrap(),
            project: self.name.as_str().into(),
            digest: Digest::of(model.to_string()),
            state: RunState::Running,
            model: Model::from_canonical(model.to_string()),
            files: refs,
            containers,
            after: Vec::new(),
            health_within: 60,
            on_file_change: OnFileChange::Recreate,
            terms: Default::default(),
            because: Vec::new(),
        }
    }

    fn store(&self, content: &str) -> FileRef {
        let digest = Digest::of(content);
        std::fs::write(self.folder.path().join("blobs").join(digest.hex()), content).unwrap();
        FileRef { digest, size: content.len() as u64, executable: false }
    }

    pub(crate) async fn ensure(&self, step: &Ensure) {
        self.host.ensure(step, &[], &Attempt::unlogged("a test")).await.unwrap();
    }

    pub(crate) async fn remove(&self) {
        self.host.remove(&self.removal(), &Attempt::unlogged("a test")).await.unwrap();
    }

    pub(crate) fn removal(&self) -> Remove {
        let (service, project) = (self.name.parse().unwrap(), self.name.as_str().into());
        Remove {
            service,
            project,
            volumes_kept: Vec::new(),
            after: Vec::new(),
            wave: 0,
            spans: Vec::new(),
            because: Vec::new(),
        }
    }

    /// What is observed of the instance, by Compose service.
    pub(crate) async fn look(&self) -> BTreeMap<String, Container> {
        let mut observed = self.host.observe().await.unwrap().instances;
        assert!(observed.keys().all(|service| service.as_str() == self.name), "{observed:?}");
        let containers = observed.remove(self.name.as_str()).unwrap_or_default();
        containers.into_iter().map(|container| (container.service.to_string(), container)).collect()
    }

    /// Container ids by Compose service.
    pub(crate) async fn ids(&self) -> BTreeMap<String, Arc<str>> {
        self.look().await.into_iter().map(|(service, container)| (service, container.id)).collect()
    }

    /// What a file in a container says now.
    pub(crate) async fn read(&self, container: &Container, path: &str) -> String {
        let inspected =
            self.engine.inspect_container(&container.id, None::<InspectContainerOptions>).await.unwrap();
        let pid = inspected.state.unwrap().pid.unwrap();
        std::fs::read_to_string(format!("/proc/{pid}/root{path}")).unwrap()
    }

    pub(crate) fn instance_folder(&self) -> PathBuf {
        self.config.instances.join(&self.name)
    }

    pub(crate) async fn volumes(&self) -> Vec<String> {
        let volumes =
            self.engine.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap_or_default();
        volumes.into_iter().map(|volume| volume.name).filter(|name| name.starts_with(&self.name)).collect()
    }

    /// Leaves the engine as it was.
    pub(crate) async fn clean_up(self) {
        for container in self.host.observe().await.unwrap().instances.into_values().flatten() {
            self.delete_container(&container.id).await;
        }
        self.remove().await;
        for volume in self.volumes().await {
            self.engine.remove_volume(&volume, None::<RemoveVolumeOptions>).await.unwrap();
        }
    }

    pub(crate) async fn delete_container(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        self.engine.remove_container(id, Some(options)).await.unwrap();
    }
}

/// What the control side says of a Compose service: its digest, and that of the files whose names occur in it.
fn spec(service: &Value, files: &[(&str, &str)]) -> ContainerSpec {
    let text = service.to_string();
    let mounted: Vec<_> = files.iter().filter(|(path, _)| text.contains(path)).collect();
    ContainerSpec {
        config: ContainerDigest { rule: 1, digest: Digest::of(&text) },
        files: (!mounted.is_empty()).then(|| Digest::of(format!("{mounted:?}"))),
        replicas: service["scale"].as_u64().map_or(1, |scale| scale.try_into().unwrap()),
        completes: service["restart"] == "no",
    }
}

/// A Compose service that runs until it is told to stop, merged with what the test is about.
pub(crate) fn sleeper(more: Value) -> Value {
    let mut service = json!({
        "image": "busybox:1.36",
        "init": true,
        "command": ["sleep", "1000"],
        "stop_grace_period": "1s",
        "network_mode": "none",
    });
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service
}
