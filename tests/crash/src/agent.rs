//! The agent: its real loop on its real state folder, with a daemon and a Docker that are made up.
//!
//! Those two go on while the agent is dead: what they were told and made to do is written down outside of the folder, and
//! the next process meets them as the last one left them. They look over the agent's shoulder, too: what it is about to do,
//! the disk must know already.

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gitops_agent::agent::state::{Settings, State};
use gitops_agent::agent::{self, Parts};
use gitops_agent::apply::Limits;
use gitops_agent::attempt::LogDir;
use gitops_agent::blobs::BlobDir;
use gitops_agent::disk::StateDir;
use gitops_agent::ledger::{Ledger, Loaded};
use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::{Ensure, Hook, Hooks, NodePlan, Step};
use gitops_core::status::AgentInfo;
use tokio::sync::mpsc;

use self::world::{Facts, World};
use crate::facts::{ensure, name, plan, remove};
use crate::work::{Loss, Problem, Work, block_on, new_folder, told};

const NODE: &str = "edge-1";

/// Longer than any of the work takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The contents that the plans name.
const FILES: [(&str, &str); 4] =
    [("web.conf", "one"), ("conf/extra.conf", "extra"), ("web.conf", "two"), ("conf.d/more.conf", "more")];

/// A service with hooks around its change, of which `attempt` is the name.
fn with_hooks(step: Ensure, attempt: &str, before: &str) -> Step {
    let hook = |service: &str| Hook { service: service.into(), timeout: 60 };
    let mut step = step;
    step.terms.hooks = Hooks {
        before: vec![hook(before)],
        after: vec![hook("smoke")],
        on_failure: vec![hook("tell")],
        content: None,
        attempt: Some(Digest::of(attempt)),
    };
    Step::Ensure(step)
}

/// What the daemon asks for, one after the other: two services, one of them with files and hooks; a change whose first hook
/// fails; a good one, with other files, and one of the services is gone.
fn plans() -> Vec<Arc<NodePlan>> {
    let db = || Step::Ensure(ensure("db", "1", &[]));
    let [one, extra, two, more] = FILES;
    let steps = [
        vec![db(), with_hooks(ensure("web", "1", &[one, extra]), "first", "migrate")],
        vec![db(), with_hooks(ensure("web", "2", &[two, extra]), "second", world::BROKEN)],
        vec![remove("db"), with_hooks(ensure("web", "3", &[two, more]), "third", "migrate")],
    ];
    let next = |plans: Vec<Arc<NodePlan>>, steps| {
        let next = plan(NODE, plans.last().map(|plan| &**plan), steps);
        plans.into_iter().chain([next]).collect()
    };
    steps.into_iter().fold(Vec::new(), next)
}

/// The state folder: below the folder that is watched, because the agent makes it.
fn state_folder(folder: &Path) -> PathBuf {
    folder.join("agent")
}

/// Runs the agent until the last plan is done with.
async fn live(folder: &Path, outside: &Path) -> Result<(), Problem> {
    let state = StateDir::open(&state_folder(folder)).map_err(told)?;
    let id = state.agent_id().map_err(told)?;
    let start = state.next_start().map_err(told)?;
    state.count_start(start).map_err(told)?;
    let blobs = BlobDir::open(state.join("blobs")).map_err(told)?;
    let logs = LogDir::open(state.join("logs")).map_err(told)?;
    let held = Held::load(&state_folder(folder))?;
    let world = Arc::new(World::new(plans(), outside, &state_folder(folder), blobs.clone()));
    world.meet(&id, start, held.plan.as_deref());
    let settings = Settings {
        node: name(NODE),
        agent: AgentInfo { id: id.into(), version: "1".into(), start: Some(start) },
        limits: Limits { concurrency: 1, settle: Duration::ZERO },
        observe_every: Duration::from_millis(100),
        heartbeat: Duration::from_secs(15),
    };
    let Held { ledger, plan, record, journal, pictures } = held;
    let machine = State::new(settings, plan, record, journal).with_pictures(pictures);
    let (_wake, wakes) = mpsc::channel(1);
    let parts = Parts {
        host: world.clone(),
        daemon: world.clone(),
        ledger,
        blobs,
        logs,
        snapshot: state.join("status.json"),
        wakes,
        stop_within: Duration::from_secs(1),
    };
    let end = {
        let world = world.clone();
        async move { world.end().await }
    };
    let ran = tokio::time::timeout(PATIENCE, agent::run(machine, parts, end)).await;
    ran.map_err(|_| format!("the agent does not get on: {:?}", world.facts()))
}

/// What the agent finds on its disk.
struct Held {
    ledger: Ledger,
    plan: Option<Arc<NodePlan>>,
    record: gitops_agent::ledger::Record,
    journal: gitops_agent::journal::Journal,
    pictures: gitops_agent::drift::Pictures,
}

impl Held {
    /// # Errors
    ///
    /// Something of it is damaged, where nothing should ever be.
    fn load(folder: &Path) -> Result<Self, Problem> {
        let ledger = Ledger::at(folder);
        Ok(Self {
            plan: undamaged(ledger.load(&name::<NodeName>(NODE)).map_err(told)?)?,
            record: undamaged(ledger.load_record().map_err(told)?)?.unwrap_or_default(),
            journal: undamaged(ledger.load_journal().map_err(told)?)?.unwrap_or_default(),
            pictures: undamaged(ledger.load_pictures().map_err(told)?)?.unwrap_or_default(),
            ledger,
        })
    }
}

fn undamaged<T>(loaded: Loaded<T>) -> Result<Option<T>, Problem> {
    match loaded {
        Loaded::Found(content) => Ok(Some(content)),
        Loaded::Missing => Ok(None),
        Loaded::Corrupt { aside, problem } => Err(format!("{} is damaged: {problem}", aside.display())),
    }
}

/// Every file of the state folder, but for what is made up anew by each agent, and what goes to the daemon.
fn files(folder: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files).map_err(told)?;
    files.retain(|name, _| {
        !["agent-id", "agent-starts", "status.json"].contains(&name.as_str()) && !name.starts_with("logs/")
    });
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if path.is_dir() {
            files.insert(format!("{name}/"), String::new());
            collect(root, &path, files)?;
        } else {
            files.insert(name, String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        }
    }
    Ok(())
}

/// How two contents of a file differ, from where they do.
fn differ(name: &str, wanted: Option<&String>, found: Option<&String>) -> Problem {
    let [wanted, found] = [wanted, found].map(|text| text.map_or("missing", String::as_str));
    let same = wanted.chars().zip(found.chars()).take_while(|(wanted, found)| wanted == found).count();
    let [wanted, found] =
        [wanted, found].map(|text| text.chars().skip(same.saturating_sub(40)).take(200).collect::<String>());
    format!("{name} should be … {wanted} … and is … {found} …")
}

/// The agent of a node, from its first start on.
pub(crate) struct Agent {
    /// What there is in the end, where nothing went wrong.
    files: BTreeMap<String, String>,
    hooks: Vec<String>,
}

impl Agent {
    pub(crate) fn new() -> Result<Self, Problem> {
        let temp = new_folder().map_err(told)?;
        block_on(live(temp.path(), temp.path()))?;
        let facts = Facts::read(temp.path());
        facts.verdict()?;
        Ok(Self { files: files(&state_folder(temp.path()))?, hooks: facts.hooks })
    }

    /// What was done is done as it would have been without the kill, and nothing twice.
    fn is_as_ever(&self, folder: &Path, facts: &Facts) -> Result<(), Problem> {
        facts.verdict()?;
        if facts.hooks != self.hooks {
            return Err(format!(
                "these hooks should have begun: {:?}, and these did: {:?}",
                self.hooks, facts.hooks
            ));
        }
        let mut found = files(&state_folder(folder))?;
        // Content that no plan names goes when the next plan comes.
        found.retain(|name, _| !name.starts_with("blobs/") || self.files.contains_key(name));
        let names = self.files.keys().chain(found.keys());
        let other = names.filter(|name| self.files.get(*name) != found.get(*name));
        let told = |name: &String| differ(name, self.files.get(name), found.get(name));
        let differences: Vec<String> = other.map(told).collect();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n  ")) }
    }
}

impl Work for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    /// What the agent shows to people, and its logs, may be lost: the power may take the last of them.
    fn must_last(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.contains("status.json") && path.parent().is_none_or(|folder| !folder.ends_with("logs"))
    }

    fn kind(&self, path: &Path) -> String {
        let inside = path.strip_prefix("agent").unwrap_or(path);
        match inside.components().next().map(|part| part.as_os_str().to_string_lossy()) {
            // A file is written beside its place first.
            Some(name) => name.trim_start_matches('.').trim_end_matches(".new").to_owned(),
            None => "the folder".to_owned(),
        }
    }

    fn recover(&self, folder: &Path, outside: &Path, _: Loss) -> Result<(), Problem> {
        Facts::read(outside).verdict()?;
        block_on(live(folder, outside))?;
        self.is_as_ever(folder, &Facts::read(outside))
    }
}

/// The work, in the process that may be killed.
pub(crate) fn carry_out(folder: &Path, outside: &Path) -> Result<(), Problem> {
    block_on(live(folder, outside))
}
