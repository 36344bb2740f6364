//! The document an agent receives: everything that should run on one node, in order, and why.
//!
//! A plan is a state with an order, not a list of deltas: applying it twice changes nothing the second time, and
//! an agent that missed ten generations needs only the newest. What is not named is not touched: something is
//! removed only by a [`Remove`] step.
//!
//! **Invariant:** a plan never changes. `digest` covers every other field, `generation` only rises, and `parent`
//! names the plan before it, so that a store can refuse two different successors of one plan and an agent can
//! refuse anything that does not follow from what it holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::name::{Digest, Generation, NodeName, Revision, ServiceName};

mod terms;

pub use terms::{DriftAction, DriftTerms, HealthCheck, Hook, Hooks, Probe, Retries, Span, Terms};

/// The version of this document that is written. An agent refuses a newer one instead of guessing.
pub const SCHEMA: u32 = 1;

/// The plan of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NodePlan {
    /// [`SCHEMA`] of whoever wrote it.
    pub schema: u32,
    /// The node that it is for.
    pub node: NodeName,
    /// One more than the plan before it, or more where the agent was already further.
    pub generation: Generation,
    /// Digest of the plan before it; none for the first.
    pub parent: Option<Digest>,
    /// The commit whose definitions first asked for these steps.
    pub revision: Revision,
    /// In dependency order: a step comes after every step it names in `after`.
    pub steps: Vec<Step>,
    /// Covers every field above.
    pub digest: Digest,
}

impl NodePlan {
    /// Seals a plan: the digest is computed here and nowhere else.
    pub fn new(
        node: NodeName,
        generation: Generation,
        parent: Option<Digest>,
        revision: Revision,
        steps: Vec<Step>,
    ) -> Self {
        let mut plan =
            Self { schema: SCHEMA, node, generation, parent, revision, steps, digest: Digest::of("") };
        plan.digest = plan.content_digest();
        plan
    }

    /// What `digest` must be. An agent compares the two before it believes a plan.
    pub fn content_digest(&self) -> Digest {
        let Self { schema, node, generation, parent, revision, steps, digest: _ } = self;
        let content = (schema, node, generation, parent, revision, steps);
        Digest::of(serde_json::to_vec(&content).expect("a plan has no map with keys that are not strings"))
    }

    /// The step of a service, if the plan says anything about it.
    pub fn step(&self, service: &ServiceName) -> Option<&Step> {
        self.steps.iter().find(|step| step.service() == service)
    }
}

/// What should be true of one service on the node. Tagged from outside (`{"ensure": {…}}`), because the model is
/// kept as it was written and serde cannot carry that through an inner tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "nearly every step ensures something")]
pub enum Step {
    /// The instance exists exactly so.
    Ensure(Ensure),
    /// The instance does not exist. Its volumes stay.
    Remove(Remove),
}

impl Step {
    /// The service it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Ensure(ensure) => &ensure.service,
            Self::Remove(remove) => &remove.service,
        }
    }

    /// The Compose project name on the node.
    pub fn project(&self) -> &Arc<str> {
        match self {
            Self::Ensure(ensure) => &ensure.project,
            Self::Remove(remove) => &remove.project,
        }
    }

    /// Why it is in the plan.
    pub fn because(&self) -> &[Reason] {
        match self {
            Self::Ensure(ensure) => &ensure.because,
            Self::Remove(remove) => &remove.because,
        }
    }

    /// The services whose steps on this node come first.
    pub fn after(&self) -> &[ServiceName] {
        match self {
            Self::Ensure(ensure) => &ensure.after,
            Self::Remove(remove) => &remove.after,
        }
    }

    /// Its place in the order of a release.
    pub fn wave(&self) -> i32 {
        match self {
            Self::Ensure(ensure) => ensure.terms.wave,
            Self::Remove(remove) => remove.wave,
        }
    }

    /// When what it asks for may begin: see [`Terms::spans`].
    pub fn spans(&self) -> &[Span] {
        match self {
            Self::Ensure(ensure) => &ensure.terms.spans,
            Self::Remove(remove) => &remove.spans,
        }
    }

    /// The `Ensure` in it, if it is one.
    pub fn as_ensure(&self) -> Option<&Ensure> {
        match self {
            Self::Ensure(ensure) => Some(ensure),
            Self::Remove(_) => None,
        }
    }

    /// Whether both ask for the same thing of the host. Reasons do not count: they tell how it came to be.
    pub fn same_effect(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ensure(a), Self::Ensure(b)) => a.same_effect(b),
            (Self::Remove(a), Self::Remove(b)) => (&a.service, &a.project) == (&b.service, &b.project),
            _ => false,
        }
    }
}

/// An instance, fully specified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ensure {
    /// The service that it is an instance of.
    pub service: ServiceName,
    /// The Compose project name on the node.
    pub project: Arc<str>,
    /// The instance digest: what it covers is in `docs/architecture.md`, and nothing else restarts anything.
    pub digest: Digest,
    /// Whether its containers run.
    pub state: RunState,
    /// The rendered Compose model in canonical form, without our labels: the agent adds those.
    pub model: Model,
    /// What travels beside it, by path relative to the instance's folder.
    pub files: BTreeMap<Arc<str>, FileRef>,
    /// What the agent compares with what Docker reports, by Compose service.
    pub containers: BTreeMap<Arc<str>, ContainerSpec>,
    /// Services whose steps on this node come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ServiceName>,
    /// Seconds in which it must become healthy.
    pub health_within: u32,
    /// What happens to containers that mount a file when only that file's content changes.
    pub on_file_change: OnFileChange,
    /// How it is carried out.
    #[serde(default, skip_serializing_if = "Terms::is_default")]
    pub terms: Terms,
    /// What changed when this step took its present form.
    pub because: Vec<Reason>,
}

impl Ensure {
    /// The files that Compose itself reads for its services, `env_file` and `label_file`, by Compose service, with their
    /// content. What they say becomes environment and labels: a change of one makes a new container, whatever is said of
    /// files that are mounted. `model` is its own, as a value.
    pub fn environment_files(
        &self,
        model: &serde_json::Value,
    ) -> BTreeMap<String, BTreeMap<String, Option<Digest>>> {
        let services = model.get("services").and_then(|services| services.as_object()).into_iter().flatten();
        services.map(|(name, service)| (name.clone(), self.read_by_compose(service))).collect()
    }

    /// `env_file: a`, `env_file: [a, {path: b}]`, and `label_file` in the same forms.
    fn read_by_compose(&self, service: &serde_json::Value) -> BTreeMap<String, Option<Digest>> {
        let entries = ["env_file", "label_file"].into_iter().filter_map(|field| service.get(field));
        let entries =
            entries.flat_map(|entry| entry.as_array().map_or(std::slice::from_ref(entry), Vec::as_slice));
        let paths = entries.filter_map(|entry| entry.as_str().or_else(|| entry.get("path")?.as_str()));
        let digest = |path: &str| self.files.get(path).map(|file| file.digest);
        paths
            .map(|path| path.strip_prefix("./").unwrap_or(path))
            .map(|path| (path.to_owned(), digest(path)))
            .collect()
    }

    /// The volumes that Compose made for this project and will not remove. External ones were never its own.
    pub fn named_volumes(&self) -> Vec<Arc<str>> {
        self.volumes_of(&self.model.value())
    }

    /// The same, where its model was read already.
    pub fn volumes_of(&self, model: &serde_json::Value) -> Vec<Arc<str>> {
        let volumes = model.get("volumes").and_then(|volumes| volumes.as_object());
        let is_external =
            |volume: &serde_json::Value| volume.get("external").and_then(|is| is.as_bool()) == Some(true);
        let own = volumes.into_iter().flatten().filter(|(_, volume)| !is_external(volume));
        own.map(|(key, volume)| match volume.get("name").and_then(|name| name.as_str()) {
            Some(name) => name.into(),
            None => format!("{}_{key}", self.project).into(),
        })
        .collect()
    }

    /// Whether both ask for the same thing of the host. Reasons do not count: they tell how it came to be.
    pub fn same_effect(&self, other: &Self) -> bool {
        let Self { service, project, digest, after, health_within, terms, because: _, .. } = self;
        // `digest` covers the model, the files, the containers, the state and the file-change rule.
        digest == &other.digest
            && (service, project, after, health_within)
                == (&other.service, &other.project, &other.after, &other.health_within)
            && terms.same_effect(&other.terms)
    }
}

/// An instance that must go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Remove {
    /// The service that it was an instance of.
    pub service: ServiceName,
    /// The Compose project name on the node.
    pub project: Arc<str>,
    /// Named volumes that stay behind, as far as the last model knew them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_kept: Vec<Arc<str>>,
    /// Services whose removal comes first: those that depended on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ServiceName>,
    /// Which wave it belonged to: see [`Terms::wave`].
    #[serde(default, skip_serializing_if = "terms::is_zero")]
    pub wave: i32,
    /// It may only begin within one of these, in order; none where it may at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Why it goes.
    pub because: Vec<Reason>,
}

/// Whether the containers of a service run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Created and started.
    #[default]
    Running,
    /// Created, and not started: files, networks and volumes stand.
    Stopped,
}

/// What a change of nothing but file content does to the containers that mount the file.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnFileChange {
    /// A new container.
    #[default]
    Recreate,
    /// The same container, stopped and started.
    Restart,
    /// The file is replaced and the container is left alone: for programs that watch their files.
    Nothing,
}

/// A file that travels to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileRef {
    /// Of its content: the name under which the blob is fetched.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Mode 0755 instead of 0644.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// What one Compose service of an instance should look like in Docker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContainerSpec {
    /// Of everything that its container is made from, less the content of files: label `gitops.config`.
    pub config: ContainerDigest,
    /// Of the content of the files it mounts or reads; none if there are none: label `gitops.files`, under
    /// [`OnFileChange::Recreate`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
    /// How many containers.
    pub replicas: u32,
    /// It may end with exit code 0 and stay so: its restart policy does not bring it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub completes: bool,
}

/// A digest together with the version of the rule that made it, written `1:sha256:…`. Digests of different rules
/// cannot be compared, so a container that carries one of another rule is adopted instead of recreated.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerDigest {
    /// Version of the rule.
    pub rule: u32,
    /// The digest under that rule.
    pub digest: Digest,
}

impl fmt::Display for ContainerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.rule, self.digest)
    }
}

impl From<ContainerDigest> for String {
    fn from(digest: ContainerDigest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for ContainerDigest {
    type Error = crate::name::NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parse = || {
            let (rule, digest) = text.split_once(':')?;
            Some(Self { rule: rule.parse().ok()?, digest: digest.parse().ok()? })
        };
        let rule = "a container digest is a rule number, `:` and a digest";
        parse().ok_or_else(|| crate::name::NameError {
            kind: "container digest",
            text: text.chars().take(120).collect(),
            rule,
        })
    }
}

/// Why a step is as it is: one field and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reason {
    /// What was changed, as a path: `services.app.image`, `files/nginx.conf`, `placement`.
    pub field: Arc<str>,
    /// Before; none where it was not there. Never a secret: those read `(hidden)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Arc<str>>,
    /// After; none where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Arc<str>>,
    /// The file that says so, with its line where one is known: `services/web/compose.yaml:4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
}

/// A Compose model as canonical JSON text: kept as text, so that its bytes survive every hop, and shared, because
/// the instances of a service on a thousand nodes are mostly the same.
#[derive(Clone)]
pub struct Model(Arc<RawValue>);

impl Model {
    /// From canonical JSON. The caller vouches that it is JSON.
    pub fn from_canonical(json: impl Into<String>) -> Self {
        let raw = RawValue::from_string(json.into()).expect("the caller vouches that it is JSON");
        Self(raw.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The model as a value.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(self.as_str()).expect("a model holds JSON: it was parsed or made as such")
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Model {}

impl schemars::JsonSchema for Model {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Model".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "description": "A rendered Compose model" })
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}
