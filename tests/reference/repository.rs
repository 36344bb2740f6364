//! Random repositories: what people wrote, as data and as files.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::tree::Tree;

/// The reference knows nothing of roll-outs: whatever is ready may change at once, and a failure undoes nothing.
const SETTINGS: &str =
    "format = 1\nname = \"random\"\n[rollout]\nmax_unavailable = \"100%\"\non_failure = \"continue\"\n";

/// Numbers from a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn some<T: Clone>(&mut self, of: &[T], percent: u64) -> Vec<T> {
        of.iter().filter(|_| self.chance(percent)).cloned().collect()
    }
}

/// What people wrote.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) nodes: Vec<Node>,
    pub(crate) services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) zone: u64,
    /// Thousandths of cores.
    pub(crate) cpu: u64,
    pub(crate) cordon: bool,
    pub(crate) tainted: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) image: u64,
    /// Thousandths of cores.
    pub(crate) cpu: u64,
    pub(crate) stopped: bool,
    pub(crate) project: bool,
    pub(crate) depends_on: Vec<String>,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Nodes(Vec<String>),
    All { zone: u64, tolerates: bool },
    Some { count: u64, tolerates: bool },
}

/// What a service is on a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) project: String,
    pub(crate) image: String,
    pub(crate) stopped: bool,
}

impl Repository {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let count = dice.below(4) + 1;
        let node = |number: u64, dice: &mut Dice| Node {
            name: format!("n{number}"),
            zone: dice.below(2),
            cpu: [500, 1000, 4000][dice.below(3) as usize],
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
        let tolerates = dice.chance(60);
        let place = match dice.below(10) {
            0..5 => Place::Nodes(dice.some(&names, 50)),
            5..7 => Place::All { zone: self.nodes[0].zone, tolerates },
            _ => Place::Some { count: dice.below(2) + 1, tolerates },
        };
        let service = Service {
            image: dice.below(3),
            cpu: [50, 100, 300][dice.below(3) as usize],
            stopped: dice.chance(10),
            project: dice.chance(15),
            depends_on: dice.some(&before, 30),
            place,
        };
        self.services.insert(name, service);
    }

    /// One commit.
    pub(crate) fn change(&mut self, dice: &mut Dice) {
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

    pub(crate) fn tree(&self) -> Arc<Tree> {
        let mut files = vec![("gitops.toml".to_owned(), SETTINGS.to_owned())];
        files.extend(self.nodes.iter().map(|node| (format!("nodes/{}.yaml", node.name), node.yaml())));
        for (name, service) in &self.services {
            files.push((format!("services/{name}/service.yaml"), service.yaml(name)));
            files.push((format!("services/{name}/compose.yaml"), service.compose(name)));
        }
        Arc::new(Tree::from_files(files))
    }
}

impl Node {
    fn yaml(&self) -> String {
        let Self { name, zone, cpu, cordon, tainted } = self;
        let taints = if *tainted { "\ntaints: [\"old:NoSchedule\"]" } else { "" };
        format!(
            "node: {name}\nlabels: {{zone: z{zone}}}\ncapacity: {{cpu: {cpu}m}}\ncordon: {cordon}{taints}\n"
        )
    }
}

impl Service {
    fn yaml(&self, name: &str) -> String {
        let tolerate = |tolerates: &bool| if *tolerates { ", tolerate: [old]" } else { "" };
        let place = match &self.place {
            Place::Nodes(names) => format!("nodes: [{}]", names.join(", ")),
            Place::All { zone, tolerates } => {
                format!("all: true, select: {{zone: z{zone}}}{}", tolerate(tolerates))
            }
            Place::Some { count, tolerates } => {
                format!("count: {count}, select: {{zone: \"*\"}}{}", tolerate(tolerates))
            }
        };
        let state = if self.stopped { "stopped" } else { "running" };
        let (cpu, needs) = (self.cpu, self.depends_on.join(", "));
        format!(
            "service: {name}\nplace: {{{place}}}\nresources: {{cpu: {cpu}m}}\nstate: {state}\ndepends_on: [{needs}]\n"
        )
    }

    fn compose(&self, name: &str) -> String {
        let Content { project, image, .. } = self.content(name);
        format!("name: {project}\nservices:\n  app:\n    image: {image}\n")
    }

    pub(crate) fn content(&self, name: &str) -> Content {
        let project = if self.project { format!("{name}-other") } else { name.to_owned() };
        Content { project, image: format!("image:{}", self.image), stopped: self.stopped }
    }
}
