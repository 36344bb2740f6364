//! The reference: where each service should be and what each node should be told, worked out from what was written by
//! the rules of `docs/placement.md` and `docs/architecture.md`, with nothing but loops over names.

use std::collections::{BTreeMap, BTreeSet};

use super::repository::{Content, Node, Place, Repository, Service};

/// What a node is told of a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    Ensure(Content),
    /// The project that goes.
    Remove(String),
}

/// What a node was told last, by service, and whether it said that this is done.
pub(crate) type Told = BTreeMap<String, (Word, bool)>;

/// What a node should be told, by service.
pub(crate) type Words = BTreeMap<String, Word>;

/// What all nodes were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) told: BTreeMap<String, Told>,
    /// The nodes of each service, as the last commit placed it.
    pub(crate) placed: BTreeMap<String, BTreeSet<String>>,
}

impl Fleet {
    /// Places everything; false where that cannot be.
    pub(crate) fn place(&mut self, repository: &Repository) -> bool {
        let placing = Placing { repository, fleet: self, load: BTreeMap::new(), placed: BTreeMap::new() };
        let placed = placing.run();
        let possible = placed.is_some();
        self.placed = placed.unwrap_or_else(|| std::mem::take(&mut self.placed));
        possible
    }

    fn holds(&self, node: &str, service: &str) -> bool {
        matches!(self.told.get(node).and_then(|told| told.get(service)), Some((Word::Ensure(_), _)))
    }

    fn runs_image(&self, node: &str, image: &str) -> bool {
        let told = self.told.get(node).into_iter().flat_map(BTreeMap::values);
        told.into_iter().any(|(word, _)| matches!(word, Word::Ensure(content) if content.image == image))
    }

    /// What each node should be told now.
    pub(crate) fn expected(&self, repository: &Repository) -> BTreeMap<String, Words> {
        repository
            .nodes
            .iter()
            .map(|node| (node.name.clone(), self.of_node(repository, &node.name)))
            .collect()
    }

    fn of_node(&self, repository: &Repository, node: &str) -> Words {
        let nothing = Told::new();
        let had = self.told.get(node).unwrap_or(&nothing);
        let mut words = Words::new();
        for (name, service) in &repository.services {
            if self.placed[name].contains(node) {
                let word = self.wanted(repository, node, (name, service), had.get(name));
                words.extend(word.map(|word| (name.clone(), word)));
            }
        }
        for (name, (word, done)) in had {
            let project = match word {
                Word::Ensure(content) => &content.project,
                Word::Remove(_) if *done => continue,
                Word::Remove(project) => project,
            };
            words.entry(name.clone()).or_insert_with(|| Word::Remove(project.clone()));
        }
        words
    }

    /// What is said of a service that should be here.
    fn wanted(
        &self,
        repository: &Repository,
        node: &str,
        (name, service): (&str, &Service),
        had: Option<&(Word, bool)>,
    ) -> Option<Word> {
        let content = service.content(name);
        let new = Word::Ensure(content.clone());
        let before =
            had.filter(|(word, done)| !(matches!(word, Word::Remove(_)) && *done)).map(|(word, _)| word);
        match before {
            Some(Word::Ensure(old)) if old.project != content.project => {
                Some(Word::Remove(old.project.clone()))
            }
            Some(Word::Remove(project)) if *project != content.project => before.cloned(),
            Some(before) if *before == new => Some(new),
            before if self.waits(repository, node, service) => before.cloned(),
            _ => Some(new),
        }
    }

    /// Whether something that it depends on is not ready on some other node.
    fn waits(&self, repository: &Repository, node: &str, service: &Service) -> bool {
        service.depends_on.iter().any(|need| {
            let new = Word::Ensure(repository.services[need].content(need));
            let others = self.placed[need].iter().filter(|other| *other != node);
            let mut others = others.map(|other| self.told.get(other).and_then(|told| told.get(need)));
            others.any(|told| told != Some(&(new.clone(), true)))
        })
    }

    /// What was said to be done counts under the plan that it was said of.
    pub(crate) fn remember(&mut self, expected: BTreeMap<String, Words>, published: &BTreeSet<&str>) {
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
}

/// What is reserved of a node.
#[derive(Clone, Copy, Default)]
struct Load {
    cpu: u64,
    instances: u64,
}

/// One placing of everything.
struct Placing<'a> {
    repository: &'a Repository,
    fleet: &'a Fleet,
    load: BTreeMap<&'a str, Load>,
    placed: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Placing<'a> {
    fn run(mut self) -> Option<BTreeMap<String, BTreeSet<String>>> {
        for (name, service) in &self.repository.services {
            self.placed.entry(name.clone()).or_default();
            if let Place::Nodes(nodes) = &service.place {
                for node in self.repository.nodes.iter().filter(|node| nodes.contains(&node.name)) {
                    if node.tainted || self.load(node).cpu + service.cpu > node.cpu {
                        return None;
                    }
                    self.put(name, service, node);
                }
            }
        }
        let choosing = self.choosing();
        for (name, service) in &choosing {
            self.pick(name, service, |node| self.fleet.holds(&node.name, name));
        }
        for (name, service) in &choosing {
            self.pick(name, service, |node| self.fleet.holds(&node.name, name) || !node.cordon);
            let wanted = if let Place::Some { count, .. } = service.place { count } else { 1 };
            if (self.placed[*name].len() as u64) < wanted {
                return None;
            }
        }
        Some(self.placed)
    }

    /// Those for all nodes first, then the larger, then by name.
    fn choosing(&self) -> Vec<(&'a String, &'a Service)> {
        let is_chosen = |(_, service): &(&String, &Service)| !matches!(service.place, Place::Nodes(_));
        let mut choosing: Vec<(&String, &Service)> =
            self.repository.services.iter().filter(is_chosen).collect();
        let is_some = |service: &Service| matches!(service.place, Place::Some { .. });
        choosing.sort_by_key(|(name, service)| (is_some(service), std::cmp::Reverse(service.cpu), *name));
        choosing
    }

    /// Puts the service on the best of the nodes that are open to it, until it is on enough of them.
    fn pick(&mut self, name: &str, service: &'a Service, is_open: impl Fn(&Node) -> bool) {
        loop {
            let fits = |node: &&Node| {
                let suits = match &service.place {
                    Place::Nodes(_) => false,
                    Place::All { zone, tolerates } => node.zone == *zone && (*tolerates || !node.tainted),
                    Place::Some { tolerates, .. } => *tolerates || !node.tainted,
                };
                let has_room = self.load(node).cpu + service.cpu <= node.cpu;
                suits && is_open(node) && has_room && !self.placed[name].contains(&node.name)
            };
            let enough = match service.place {
                Place::Some { count, .. } => self.placed[name].len() as u64 >= count,
                _ => false,
            };
            let best =
                self.repository.nodes.iter().filter(fits).max_by_key(|node| self.rank(name, service, node));
            match best.filter(|_| !enough) {
                Some(node) => self.put(name, service, node),
                None => return,
            }
        }
    }

    /// Where it stands, then where its image is and the node is least in use; of equals where its image is, then by name.
    fn rank(&self, name: &str, service: &Service, node: &'a Node) -> impl Ord + use<'a> {
        let Load { cpu, instances } = self.load(node);
        let stands = self.fleet.holds(&node.name, name);
        let image = self.fleet.runs_image(&node.name, &service.content(name).image);
        let used = (cpu + service.cpu).min(node.cpu) * 100 / node.cpu + instances;
        let points = if image { 50 } else { 0 } - used as i64;
        (stands, points, image, std::cmp::Reverse(&node.name))
    }

    fn load(&self, node: &Node) -> Load {
        self.load.get(&*node.name).copied().unwrap_or_default()
    }

    fn put(&mut self, name: &str, service: &Service, node: &'a Node) {
        let load = self.load.entry(&node.name).or_default();
        load.cpu += service.cpu;
        load.instances += 1;
        self.placed.entry(name.to_owned()).or_default().insert(node.name.clone());
    }
}
