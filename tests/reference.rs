//! The pass against a naive reference, on random repositories.
//!
//! The reference knows nothing of plans, digests or incremental reading. It holds what a node was told as a list of
//! words, works out from the written services what each node should be told next, and compares. It is slow and short on
//! purpose: it can be read in one go and believed.
//!
//! `REPOSITORIES=200 cargo test --test reference` tries fewer; `SEED=17` tries that one alone.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks read the environment and start programs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops::name::{NodeName, Revision};
use gitops::plan::{NodePlan, Step};
use gitops::reconcile::{Definitions, Inputs, Known, Seen, reconcile};
use gitops::status::{
    AgentInfo, HostInfo, NodeStatus, PlanId, Reported, ReportedNode, SCHEMA, StepOutcome, StepResult,
};
use gitops::tree::Tree;
use jiff::{SignedDuration, Timestamp};

/// How many repositories are tried.
const REPOSITORIES: u64 = 20_000;

/// Each is read, changed and read again this often, with reports between.
const COMMITS: usize = 3;

#[test]
fn the_pass_tells_each_node_what_the_reference_tells_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        return try_repository(seed);
    }
    let count = number("REPOSITORIES").unwrap_or(REPOSITORIES);
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..count).filter(|seed| seed % 2 == half).for_each(try_repository));
        }
    });
}

fn try_repository(seed: u64) {
    let mut dice = Dice(seed);
    let mut repository = Repository::random(&mut dice);
    let mut world = World::default();
    for commit in 0..COMMITS {
        world.commit(&repository);
        for _ in 0..dice.below(3) + 1 {
            world.pass(&repository, seed);
            world.report(&mut dice);
        }
        if commit + 1 < COMMITS {
            repository.change(&mut dice);
        }
    }
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn some<T: Clone>(&mut self, of: &[T], percent: u64) -> Vec<T> {
        of.iter().filter(|_| self.chance(percent)).cloned().collect()
    }
}

/// What people wrote.
#[derive(Clone, Debug)]
struct Repository {
    nodes: Vec<WrittenNode>,
    services: BTreeMap<String, Written>,
}

#[derive(Clone, Debug)]
struct WrittenNode {
    name: String,
    zone: u64,
    cordon: bool,
    tainted: bool,
}

#[derive(Clone, Debug)]
struct Written {
    image: u64,
    stopped: bool,
    project: bool,
    depends_on: Vec<String>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Nodes(Vec<String>),
    All { zone: u64, tolerates: bool },
}

impl Repository {
    fn random(dice: &mut Dice) -> Self {
        let count = dice.below(4) + 1;
        let node = |number: u64, dice: &mut Dice| WrittenNode {
            name: format!("n{number}"),
            zone: dice.below(2),
            cordon: false,
            tainted: dice.chance(20),
        };
        let nodes = (0..count).map(|number| node(number, dice)).collect();
        let mut repository = Self { nodes, services: BTreeMap::new() };
        for number in 0..dice.below(6) + 1 {
            repository.write(number, dice);
        }
        repository
    }

    /// A service leads only to services before it: no circles.
    fn write(&mut self, number: u64, dice: &mut Dice) {
        let name = format!("s{number}");
        let before: Vec<String> = self.services.keys().filter(|other| **other < name).cloned().collect();
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let place = match dice.chance(100) {
            true => Place::Nodes(dice.some(&names, 50)),
            false => Place::All { zone: self.nodes[0].zone, tolerates: dice.chance(50) },
        };
        let written = Written {
            image: dice.below(3),
            stopped: dice.chance(10),
            project: dice.chance(15),
            depends_on: dice.some(&before, 30),
            place,
        };
        self.services.insert(name, written);
    }

    fn change(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.services.keys().cloned().collect();
        let Some(name) = names.get(dice.below(names.len().max(1) as u64) as usize) else {
            return self.write(0, dice);
        };
        match dice.below(4) {
            0 => {
                self.services.remove(name);
                self.services.values_mut().for_each(|other| other.depends_on.retain(|need| need != name));
            }
            1 => self.write(9, dice),
            2 => {
                let node = dice.below(self.nodes.len() as u64) as usize;
                self.nodes[node].cordon ^= true;
            }
            _ => self.write(name[1..].parse().expect("a number"), dice),
        }
    }

    fn tree(&self) -> Arc<Tree> {
        let mut files = vec![("gitops.toml".to_owned(), "format = 1\nname = \"random\"\n".to_owned())];
        files.extend(self.nodes.iter().map(|node| (format!("nodes/{}.yaml", node.name), node.yaml())));
        for (name, service) in &self.services {
            files.push((format!("services/{name}/service.yaml"), service.yaml(name)));
            files.push((format!("services/{name}/compose.yaml"), service.compose(name)));
        }
        Arc::new(Tree::from_files(files))
    }

    /// What a node should run: for each service, what it is there.
    fn wanted(&self, node: &str, had: &Told) -> BTreeMap<String, Content> {
        let here = |(name, service): &(&String, &Written)| self.is_placed(service, name, node, had);
        self.services
            .iter()
            .filter(here)
            .map(|(name, service)| (name.clone(), service.content(name)))
            .collect()
    }

    fn is_placed(&self, service: &Written, name: &str, node: &str, had: &Told) -> bool {
        let Some(node) = self.nodes.iter().find(|one| one.name == node) else { return false };
        match &service.place {
            Place::Nodes(names) => names.contains(&node.name),
            Place::All { zone, tolerates } => {
                let holds = matches!(had.get(name), Some((Word::Ensure(_), _)));
                node.zone == *zone && (*tolerates || !node.tainted) && (holds || !node.cordon)
            }
        }
    }
}

impl WrittenNode {
    fn yaml(&self) -> String {
        let taints = if self.tainted { "\ntaints: [\"old:NoSchedule\"]" } else { "" };
        format!("node: {}\nlabels: {{zone: z{}}}\ncordon: {}{taints}\n", self.name, self.zone, self.cordon)
    }
}

impl Written {
    fn yaml(&self, name: &str) -> String {
        let place = match &self.place {
            Place::Nodes(names) => format!("nodes: [{}]", names.join(", ")),
            Place::All { zone, tolerates } => {
                let tolerate = if *tolerates { ", tolerate: [old]" } else { "" };
                format!("all: true, select: {{zone: z{zone}}}{tolerate}")
            }
        };
        let state = if self.stopped { "stopped" } else { "running" };
        let needs = self.depends_on.join(", ");
        format!("service: {name}\nplace: {{{place}}}\nstate: {state}\ndepends_on: [{needs}]\n")
    }

    fn compose(&self, name: &str) -> String {
        let Content { project, image, .. } = self.content(name);
        format!("name: {project}\nservices:\n  app:\n    image: {image}\n")
    }

    fn content(&self, name: &str) -> Content {
        let project = if self.project { format!("other-{name}") } else { name.to_owned() };
        Content { project, image: format!("image:{}", self.image), stopped: self.stopped }
    }
}

/// What a service is on a node.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    project: String,
    image: String,
    stopped: bool,
}

/// What a node is told of a service.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    Ensure(Content),
    /// The project that goes.
    Remove(String),
}

/// What a node was told last, by service, and whether it said that this is done.
type Told = BTreeMap<String, (Word, bool)>;

/// Both sides of the comparison.
#[derive(Default)]
struct World {
    told: BTreeMap<String, Told>,
    definitions: Option<Definitions>,
    commits: u64,
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    reported: Reported,
    seen: Seen,
}

impl World {
    fn commit(&mut self, repository: &Repository) {
        self.commits += 1;
        let revision: Revision = format!("{:040x}", self.commits).parse().expect("forty digits");
        let holders = gitops::holders::Holders::of_plans(Arc::new(self.plans.clone()));
        let (previous, now) = (self.definitions.as_ref(), Timestamp::UNIX_EPOCH);
        let known = Known { previous, holders: Some(&holders), now };
        let loaded = Definitions::load(revision, &repository.tree(), &known);
        self.definitions = Some(loaded.unwrap_or_else(|found| panic!("{repository:?}: {found:#?}")));
    }

    fn pass(&mut self, repository: &Repository, seed: u64) {
        let expected = self.expected(repository);
        let inputs = Inputs {
            definitions: self.definitions.as_ref().expect("there was a commit"),
            plans: &self.plans,
            reported: &self.reported,
            now: Timestamp::UNIX_EPOCH,
            stale_after: SignedDuration::from_hours(1),
            seen: Some(&self.seen),
        };
        let outcome = reconcile(&inputs);
        self.plans.extend(outcome.plans.iter().map(|plan| (plan.node.clone(), plan.clone())));
        self.seen = outcome.seen;
        for node in &repository.nodes {
            let told = self.plans.get(node.name.as_str()).map(|plan| words(plan)).unwrap_or_default();
            // What is removed may be told again or not: it makes no difference once it is done.
            let open = |told: &BTreeMap<String, Word>| -> BTreeMap<String, Word> {
                let done = |name: &str| {
                    matches!(
                        self.told.get(&node.name).and_then(|told| told.get(name)),
                        Some((Word::Remove(_), true))
                    )
                };
                told.iter()
                    .filter(|(name, word)| !(matches!(word, Word::Remove(_)) && done(name)))
                    .map(|(name, word)| (name.clone(), word.clone()))
                    .collect()
            };
            assert_eq!(
                open(&told),
                open(&expected[&node.name]),
                "seed {seed}, node {}: {repository:#?}",
                node.name
            );
        }
        let published: BTreeSet<&str> = outcome.plans.iter().map(|plan| plan.node.as_str()).collect();
        self.remember(expected, &published);
    }

    /// What each node should be told now.
    fn expected(&self, repository: &Repository) -> BTreeMap<String, BTreeMap<String, Word>> {
        let nothing = Told::new();
        let had = |node: &str| self.told.get(node).unwrap_or(&nothing);
        let wanted: BTreeMap<&str, BTreeMap<String, Content>> = repository
            .nodes
            .iter()
            .map(|node| (&*node.name, repository.wanted(&node.name, had(&node.name))))
            .collect();
        let is_ready = |node: &str, service: &str| {
            let word = wanted[node].get(service).map(|content| Word::Ensure(content.clone()));
            had(node).get(service).is_some_and(|(told, done)| *done && Some(told) == word.as_ref())
        };
        let waits = |node: &str, service: &str| {
            let needs = &repository.services[service].depends_on;
            let others = wanted.keys().filter(|other| **other != node);
            let unready = |need: &String| {
                others.clone().any(|other| wanted[*other].contains_key(need) && !is_ready(other, need))
            };
            needs.iter().any(unready)
        };
        let of = |node: &str| tell(&wanted[node], had(node), |service| waits(node, service));
        repository.nodes.iter().map(|node| (node.name.clone(), of(&node.name))).collect()
    }

    /// What was said to be done counts under the plan that it was said of.
    fn remember(&mut self, expected: BTreeMap<String, BTreeMap<String, Word>>, published: &BTreeSet<&str>) {
        for (node, words) in expected {
            let mut had = self.told.remove(&node).unwrap_or_default();
            let is_new = published.contains(&*node);
            let done = |name: &str| !is_new && had.get(name).is_some_and(|(_, done)| *done);
            let kept: Told =
                words.into_iter().map(|(name, word)| (name.clone(), (word, done(&name)))).collect();
            // What was removed stays in the plan, done, until there is a new one.
            had.retain(|name, _| !is_new && !kept.contains_key(name));
            had.extend(kept);
            self.told.insert(node, had);
        }
    }

    /// Some nodes say how they stand; some steps fail.
    fn report(&mut self, dice: &mut Dice) {
        for (node, plan) in self.plans.clone() {
            if dice.chance(60) {
                let failed: BTreeSet<String> = plan
                    .steps
                    .iter()
                    .filter(|_| dice.chance(10))
                    .map(|step| step.service().to_string())
                    .collect();
                for (name, (_, done)) in self.told.entry(node.to_string()).or_default() {
                    *done = !failed.contains(name);
                }
                let heard_at = Timestamp::UNIX_EPOCH;
                self.reported
                    .nodes
                    .insert(node, ReportedNode { status: Arc::new(status(&plan, &failed)), heard_at });
            }
        }
    }
}

/// What a node should be told, given what it was told before.
fn tell(
    wanted: &BTreeMap<String, Content>,
    had: &Told,
    waits: impl Fn(&str) -> bool,
) -> BTreeMap<String, Word> {
    let mut told = BTreeMap::new();
    for (name, content) in wanted {
        let before = had
            .get(name)
            .filter(|(word, done)| !(matches!(word, Word::Remove(_)) && *done))
            .map(|(word, _)| word);
        let new = Word::Ensure(content.clone());
        let word = match before {
            Some(Word::Ensure(old)) if old.project != content.project => {
                Some(Word::Remove(old.project.clone()))
            }
            Some(Word::Remove(project)) if *project != content.project => before.cloned(),
            Some(before) if *before == new => Some(new),
            before if waits(name) => before.cloned(),
            _ => Some(new),
        };
        told.extend(word.map(|word| (name.clone(), word)));
    }
    for (name, (word, done)) in had {
        let project = match word {
            Word::Ensure(content) => &content.project,
            Word::Remove(_) if *done => continue,
            Word::Remove(project) => project,
        };
        told.entry(name.clone()).or_insert_with(|| Word::Remove(project.clone()));
    }
    told
}

fn words(plan: &NodePlan) -> BTreeMap<String, Word> {
    let word = |step: &Step| match step {
        Step::Remove(remove) => Word::Remove(remove.project.to_string()),
        Step::Ensure(ensure) => Word::Ensure(Content {
            project: ensure.project.to_string(),
            image: ensure.model.value()["services"]["app"]["image"].as_str().expect("an image").to_owned(),
            stopped: ensure.state == gitops::plan::RunState::Stopped,
        }),
    };
    plan.steps.iter().map(|step| (step.service().to_string(), word(step))).collect()
}

fn status(plan: &NodePlan, failed: &BTreeSet<String>) -> NodeStatus {
    let result = |step: &Step| {
        let outcome = match failed.contains(step.service().as_str()) {
            true => StepOutcome::Failed,
            false => StepOutcome::Satisfied,
        };
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        (step.service().clone(), StepResult { outcome, digest, message: None })
    };
    NodeStatus {
        schema: SCHEMA,
        node: plan.node.clone(),
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(result).collect(),
        instances: BTreeMap::new(),
        host: HostInfo::default(),
        agent: AgentInfo { id: "one".into(), version: "0".into() },
    }
}
