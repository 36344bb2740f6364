//! Scenarios: a text file tells a story of definitions, reports and time; the golden beside it holds everything the
//! pure pass says to it. A new scenario is two text files and no Rust.
//!
//! A scenario opens with prose that says what it shows. Then each line that starts with `--- ` is a command:
//!
//! ```text
//! --- file PATH            the lines that follow are its content
//! --- delete PATH
//! --- link PATH TARGET     a symbolic link
//! --- submodule PATH
//! --- size PATH BYTES      a file of that size, whose content was not read
//! --- pass                 commits the files, runs a pass and publishes its plans: a new release
//! --- again                runs another pass over the same commit
//! --- ack [NODE…]          those nodes (all of them) report their newest plan as done
//! --- accept NODE          it reports its newest plan as accepted and being applied
//! --- fail NODE SERVICE M  as `ack`, but this step failed with message M
//! --- status NODE          the lines that follow are the report, as JSON
//! --- time SPAN            that much time passes
//! --- approve NAME         says yes to all that waits for approval
//! --- reject NAME          says no to it
//! --- lock M               nothing may change, for reason M
//! --- suspend WHAT NAME M  no change of that service, node or environment
//! --- resume               ends every lock and suspension
//! --- retry                begins the release again that failed
//! --- forget plans         the plans are lost, as after the restore of an empty database
//! ```
//!
//! After the last command three things are checked in every scenario whose definitions are valid: acknowledging
//! everything until nothing is left to plan comes to an end and then changes nothing; the order and the names of
//! definition files make no difference; and every plan passes `check`.
//!
//! `UPDATE_GOLDENS=1 cargo test --test scenarios` writes the goldens anew.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks read the environment and start programs")]

mod support;
#[path = "scenarios/rollout.rs"]
mod rollout;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::check;
use gitops_core::decision::{Awaiting, Decisions, Held, Hold, Part, Vote};
use gitops_core::desired::Desired;
use gitops_core::diff;
use gitops_core::holders::Holders;
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::{NodePlan, RunState, Step};
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, reconcile};
use gitops_core::release;
use gitops_core::render;
use gitops_core::render::diagnostics::Form;
use gitops_core::status::{
    AgentInfo, Container, ContainerState, Health, HostInfo, NodeStatus, PlanId, Reported, ReportedNode,
    SCHEMA, StepOutcome, StepResult,
};
use gitops_core::tree::{BlobId, Entry, EntryKind, Tree};
use jiff::{SignedDuration, Timestamp};

use rollout::Rollout;
use support::script::commands;

#[test]
fn scenarios_say_what_their_goldens_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenarios = text_files(&folder);
    assert!(scenarios.len() >= 60, "only {} scenarios were found in {}", scenarios.len(), folder.display());
    let failures: Vec<String> = scenarios.iter().filter_map(|path| check_scenario(path).err()).collect();
    assert!(failures.is_empty(), "{} scenarios failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

fn text_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios is there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths
}

fn check_scenario(path: &Path) -> Result<(), String> {
    let name = path.file_stem().expect("it has an extension").to_string_lossy().into_owned();
    let script = std::fs::read_to_string(path).expect("a scenario is UTF-8");
    let mut world = World::new();
    for (number, (command, body)) in commands(&script).into_iter().enumerate() {
        world
            .run(&command, &body)
            .map_err(|error| format!("{name}: command {} `{command}`: {error}", number + 1))?;
    }
    let invariants = world.invariants();
    let golden_path = path.with_extension("golden");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden_path, &world.output).expect("goldens can be written");
    }
    let golden = std::fs::read_to_string(&golden_path).unwrap_or_default();
    if golden != world.output {
        let diff = similar::TextDiff::from_lines(&golden, &world.output);
        return Err(format!("{name} differs from its golden:\n{}", diff.unified_diff().context_radius(3)));
    }
    invariants.map_err(|broken| format!("{name}: {broken}"))
}

struct World {
    files: BTreeMap<String, Entry>,
    now: Timestamp,
    commits: u8,
    definitions: Option<Arc<Definitions>>,
    holders: Holders,
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    reported: Reported,
    valid: bool,
    rollout: Rollout,
    awaiting: Vec<Awaiting>,
    output: String,
}

const STALE_AFTER: SignedDuration = SignedDuration::from_secs(45);

impl World {
    fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a timestamp"),
            commits: 0,
            definitions: None,
            holders: Holders::default(),
            plans: BTreeMap::new(),
            reported: Reported::default(),
            valid: false,
            rollout: Rollout::new(),
            awaiting: Vec::new(),
            output: String::new(),
        }
    }

    fn run(&mut self, command: &str, body: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["file", path] => self.put(path, body.as_bytes(), EntryKind::File { executable: false }),
            ["link", path, target] => self.put(path, target.as_bytes(), EntryKind::Link),
            ["submodule", path] => self.put(path, b"", EntryKind::Submodule),
            ["size", path, bytes] => {
                let size = bytes.parse().map_err(|_| "the size is a number of bytes")?;
                let entry =
                    Entry { size, content: None, id: BlobId::of(bytes.as_bytes()), ..Entry::default() };
                self.files.insert((*path).to_owned(), entry);
            }
            ["delete", path] => _ = self.files.remove(*path).ok_or("no such file")?,
            ["pass"] => self.pass(),
            ["again"] => self.plan_again(),
            ["approve", name] => self.vote(name, true),
            ["reject", name] => self.vote(name, false),
            ["lock", ..] => self.hold(Held::Lock, command.split_once(' ').map(|(_, reason)| reason)),
            ["suspend", what, name, ..] => {
                let on = part(what, name)?;
                self.hold(Held::Suspend { on }, command.splitn(4, ' ').nth(3));
            }
            ["resume"] => self.decisions().holds.clear(),
            ["retry"] => self.rollout.retry(),
            ["ack"] => self.plans.clone().values().for_each(|plan| self.report(done(plan))),
            ["ack", nodes @ ..] => {
                for node in nodes {
                    let plan = self.plan_of(node)?;
                    self.report(done(&plan));
                }
            }
            ["accept", node] => {
                let mut status = done(&*self.plan_of(node)?);
                status.steps.values_mut().for_each(|step| step.outcome = StepOutcome::Applying);
                self.report(status);
            }
            ["fail", node, service, ..] => {
                let message = command.splitn(4, ' ').nth(3).map(str::to_owned);
                let mut status = done(&*self.plan_of(node)?);
                let step = status.steps.get_mut(*service).ok_or("the plan has no such step")?;
                (step.outcome, step.message) = (StepOutcome::Failed, message);
                self.report(status);
            }
            ["status", _] => self.report(serde_json::from_str(body).map_err(|error| error.to_string())?),
            ["time", span] => {
                let span: SignedDuration = span.parse().map_err(|_| "the time is a span such as 5m")?;
                self.now = self.now.checked_add(span).map_err(|error| error.to_string())?;
            }
            ["forget", "plans"] => self.plans.clear(),
            _ => return Err("there is no such command".into()),
        }
        Ok(())
    }

    fn put(&mut self, path: &str, content: &[u8], kind: EntryKind) {
        let entry = Entry {
            id: BlobId::of(content),
            kind,
            size: content.len() as u64,
            content: Some(content.into()),
        };
        self.files.insert(path.to_owned(), entry);
    }

    fn plan_of(&self, node: &str) -> Result<Arc<NodePlan>, String> {
        self.plans.get(node).cloned().ok_or_else(|| format!("{node} has no plan"))
    }

    fn report(&mut self, status: NodeStatus) {
        let node = status.node.clone();
        let last = self.reported.nodes.get(&node).map(|last| last.status.clone());
        let reached = self.plans.get(&node).and_then(|plan| release::reached(last.as_deref(), &status, plan));
        if let Some(reached) = reached {
            self.rollout.reached(&node, &reached, self.now);
        }
        self.reported.nodes.insert(node, ReportedNode { status: Arc::new(status), heard_at: self.now });
    }

    fn tree(&self) -> Arc<Tree> {
        let entries = self.files.iter().map(|(path, entry)| (Arc::from(path.as_str()), entry.clone()));
        Arc::new(entries.collect())
    }

    fn pass(&mut self) {
        self.commits += 1;
        let _ = writeln!(self.output, "=== pass {} at {}", self.commits, self.now);
        let silent = self.reported.nodes.iter().filter(|(_, last)| last.is_stale(self.now, STALE_AFTER));
        let silent = silent.map(|(node, _)| node.clone()).collect();
        self.holders = Holders::of_plans(Arc::new(self.plans.clone())).with_offline(silent);
        let previous = self.definitions.as_deref();
        let known = Known { previous, holders: Some(&self.holders), now: self.now };
        match Definitions::load(revision(self.commits), &self.tree(), &known) {
            Err(diagnostics) => {
                self.valid = false;
                self.say("diagnostics", &render::diagnostics::text(&diagnostics, Form::Pictures));
            }
            Ok(definitions) => {
                self.valid = true;
                self.say("diagnostics", &render::diagnostics::text(&definitions.findings, Form::Pictures));
                let nothing = Definitions::nothing(self.now);
                let before = self.definitions.as_deref().unwrap_or(&nothing);
                let sides = (before.side(""), definitions.side(""));
                let diff = diff::compare(&sides.0, &sides.1, &diff::Scope::at(self.now));
                self.say("diff", &render::diff::text(&diff, None));
                self.definitions = Some(Arc::new(definitions));
            }
        }
        if self.valid {
            self.rollout.begin(revision(self.commits), self.now);
        }
        self.plan();
    }

    fn plan_again(&mut self) {
        let _ = writeln!(self.output, "=== again at {}", self.now);
        self.plan();
    }

    fn plan(&mut self) {
        let Some(definitions) = self.definitions.clone() else { return };
        let outcome = self.reconcile(&definitions);
        self.say("plans", &outcome.plans.iter().map(|plan| render::plan::text(plan)).collect::<String>());
        self.publish(&outcome);
        let promises: String = outcome.nodes.iter().map(render::status::promises).collect();
        let nodes = render::status::nodes(&outcome.nodes, self.now);
        let fleet = format!("{nodes}{}{promises}", instances(&outcome));
        self.say("report", &fleet);
        self.say("release", &release_of(&outcome, self.now));
    }

    fn decisions(&mut self) -> &mut Decisions {
        Arc::make_mut(&mut self.rollout.facts.decisions)
    }

    fn hold(&mut self, what: Held, reason: Option<&str>) {
        let since = self.now;
        let holds = &mut self.decisions().holds;
        let (number, reason) = (holds.len() as u64 + 1, reason.unwrap_or_default().into());
        holds.push(Hold { number, what, reason, owner: "ada".into(), since, until: None });
    }

    fn vote(&mut self, by: &str, approves: bool) {
        let at = self.now;
        for awaiting in self.awaiting.clone() {
            let Awaiting { plan, revision, changes, needed, .. } = awaiting;
            let (by, roles) = (by.into(), needed.roles);
            let vote = Vote { plan, revision, changes, by, roles, approves, reason: None, at };
            self.decisions().votes.push(vote);
        }
    }

    fn say(&mut self, heading: &str, text: &str) {
        let plain = anstream::adapter::strip_str(text).to_string();
        if !plain.trim().is_empty() {
            let _ = writeln!(self.output, "--- {heading}\n{}\n", plain.trim_end());
        }
    }

    fn reconcile(&self, definitions: &Definitions) -> Outcome {
        let (plans, reported, now) = (&self.plans, &self.reported, self.now);
        reconcile(&Inputs {
            facts: &self.rollout.facts,
            definitions,
            plans,
            reported,
            now,
            stale_after: STALE_AFTER,
            listening_since: Timestamp::UNIX_EPOCH,
            seen: None,
        })
    }

    fn publish(&mut self, outcome: &Outcome) {
        self.rollout.publish(&self.plans, outcome, self.now);
        self.awaiting.clone_from(&outcome.awaiting);
        for plan in &outcome.plans {
            self.plans.insert(plan.node.clone(), plan.clone());
        }
    }

    fn invariants(&mut self) -> Result<(), String> {
        let Some(definitions) = self.definitions.clone().filter(|_| self.valid) else { return Ok(()) };
        self.order_makes_no_difference(&definitions)?;
        self.decisions().holds.clear();
        for _ in 0..40 {
            let outcome = self.reconcile(&definitions);
            for plan in &outcome.plans {
                self.plan_is_clean(plan)?;
            }
            let is_undone = outcome.failure.is_some() || self.rollout.facts.underway.undo.is_some();
            let quiet = outcome.plans.is_empty() && outcome.awaiting.is_empty() && !is_undone;
            self.publish(&outcome);
            if quiet && self.plans.values().all(|plan| self.has_acked(plan)) {
                return self.nothing_waits(&outcome);
            }
            self.now += SignedDuration::from_mins(10);
            self.plans.clone().values().for_each(|plan| self.report(done(plan)));
            for name in ["ada", "bob", "eve"] {
                self.vote(name, true);
            }
            self.rollout.retry();
        }
        Err("forty rounds of acknowledging everything did not bring planning to an end".into())
    }

    fn has_acked(&self, plan: &NodePlan) -> bool {
        self.reported.nodes.get(&plan.node).is_some_and(|reported| reported.status.acks(plan))
    }

    fn nothing_waits(&self, outcome: &Outcome) -> Result<(), String> {
        let instances = outcome.nodes.iter().flat_map(|node| node.instances.iter());
        let mut waiting =
            instances.filter(|instance| instance.state == gitops_core::fleet::InstanceState::Waiting);
        match waiting.next() {
            Some(instance) => Err(format!("`{}` waits for ever: {:?}", instance.service, instance.message)),
            None => Ok(()),
        }
    }

    fn plan_is_clean(&self, plan: &NodePlan) -> Result<(), String> {
        let previous = self.plans.get(&plan.node).map(|plan| &**plan);
        let status = self.reported.nodes.get(&plan.node).map(|reported| &*reported.status);
        match check::violations(plan, previous, status) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(format!("the plan of {} breaks: {}", plan.node, violations.join("; "))),
        }
    }

    /// The same definitions from files with other names, in the opposite order, and read without a catalog before.
    fn order_makes_no_difference(&self, definitions: &Definitions) -> Result<(), String> {
        let renamed = |(number, (path, entry)): (usize, (&String, &Entry))| {
            let last = 10_000 - number;
            let path = match path.split('/').collect::<Vec<_>>().as_slice() {
                [folder @ ("nodes" | "features" | "controls"), file] if file.ends_with(".yaml") => {
                    format!("{folder}/{last}.yaml")
                }
                _ => path.clone(),
            };
            (Arc::from(path), entry.clone())
        };
        let tree: Arc<Tree> = Arc::new(self.files.iter().enumerate().map(renamed).collect());
        let known = Known { previous: None, holders: Some(&self.holders), now: self.now };
        let other = Definitions::load(definitions.revision.clone(), &tree, &known)
            .map_err(|_| "the definitions are no longer valid when their files are renamed")?;
        let digests = |desired: &Desired| -> Vec<(String, Digest)> {
            let keys = desired.keys();
            keys.filter_map(|(node, service)| {
                Some((format!("{node}/{service}"), desired.instance(node, service)?.ensure.digest))
            })
            .collect()
        };
        if digests(&definitions.desired) == digests(&other.desired) {
            Ok(())
        } else {
            Err("the names and the order of files make a difference".into())
        }
    }
}

fn revision(number: u8) -> Revision {
    format!("{number:02x}").repeat(20).parse().expect("forty digits")
}

fn part(what: &str, name: &str) -> Result<Part, String> {
    let mistake = |error: gitops_core::name::NameError| error.to_string();
    match what {
        "service" => name.parse().map(Part::Service).map_err(mistake),
        "node" => name.parse().map(Part::Node).map_err(mistake),
        "environment" => name.parse().map(Part::Environment).map_err(mistake),
        _ => Err("suspend a service, a node or an environment".into()),
    }
}

/// What is told of the release beyond its instances.
fn release_of(outcome: &Outcome, now: Timestamp) -> String {
    let mut text = String::new();
    for awaiting in &outcome.awaiting {
        let (plan, why) = (awaiting.plan.short(), awaiting.because.join("; "));
        let changes = render::count(awaiting.changes.len(), "change");
        let _ = writeln!(text, "plan {plan} waits for approval of {changes}: {why}");
    }
    if let Some(failure) = &outcome.failure {
        let _ = writeln!(text, "it failed: {}", failure.reason);
    }
    if let Some(at) = outcome.again_at {
        let _ = writeln!(text, "looks again in {:#}", at.duration_since(now));
    }
    text
}

fn instances(outcome: &Outcome) -> String {
    let mut text = String::new();
    for node in &outcome.nodes {
        for instance in node.instances.iter() {
            let message =
                instance.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            let state = format!("{:?}", instance.state).to_lowercase();
            let _ = writeln!(
                text,
                "{} on {}: {state} {}/{}{message}",
                instance.service, node.node, instance.running, instance.wanted
            );
        }
    }
    text
}

/// What an agent reports that has done everything that `plan` says.
fn done(plan: &NodePlan) -> NodeStatus {
    let result = |step: &Step| StepResult {
        digest: step.as_ensure().map(|ensure| ensure.digest),
        outcome: StepOutcome::Satisfied,
        message: None,
    };
    let ensures = plan.steps.iter().filter_map(Step::as_ensure);
    NodeStatus {
        schema: SCHEMA,
        node: plan.node.clone(),
        agent: AgentInfo {
            id: format!("agent-of-{}", plan.node).into(),
            version: "0.1.0".into(),
            start: None,
        },
        host: HostInfo { docker: "28.2.2".into(), compose: "2.26.1".into(), ..HostInfo::default() },
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(|step| (step.service().clone(), result(step))).collect(),
        instances: ensures.map(|ensure| (ensure.service.clone(), containers(ensure))).collect(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

fn containers(ensure: &gitops_core::plan::Ensure) -> Vec<Container> {
    let of_service = |(service, spec): (&Arc<str>, &gitops_core::plan::ContainerSpec)| {
        let (service, spec) = (service.clone(), spec.clone());
        // A service without a restart policy may end; the ones of the scenarios do not, but for `migrate`.
        let running = ensure.state == RunState::Running && &*service != "migrate";
        (1..=spec.replicas).map(move |number| Container {
            id: format!("{service}{number}").into(),
            name: format!("{service}-{number}").into(),
            service: service.clone(),
            image: "image".into(),
            image_id: "sha256:0".into(),
            image_now: None,
            config: Some(spec.config),
            files: spec.files,
            state: if running { ContainerState::Running } else { ContainerState::Exited },
            health: Health::None,
            restarts: 0,
            exit_code: (!running).then_some(0),
            oom_killed: false,
            started_at: None,
        })
    };
    ensure.containers.iter().flat_map(of_service).collect()
}
