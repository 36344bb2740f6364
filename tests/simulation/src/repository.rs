//! Small definitions repositories, and what people do to them.
//!
//! A [`Shape`] is what a repository says, as data; [`Shape::tree`] writes it as files, which are then read as any other.
//! How the containers of an image behave is part of its tag, so that a bad image is bad on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use gitops_core::name::{NodeName, ServiceName};
use gitops_core::plan::Ensure;
use gitops_core::tree::Tree;
use jiff::Timestamp;

use crate::dice::Dice;
use crate::rollout::{Rollout, Window};

/// How the containers made from an image behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Temper {
    /// They run.
    Good,
    /// They run, and their health check passes after a while.
    Checked,
    /// Their health check never passes.
    Sick,
    /// They end at once.
    Ends,
    /// They end at once, and Docker starts them again and again.
    Loops,
    /// Compose cannot even make them.
    Refused,
}

impl Temper {
    const ALL: [Self; 6] = [Self::Good, Self::Checked, Self::Sick, Self::Ends, Self::Loops, Self::Refused];

    fn tag(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Checked => "checked",
            Self::Sick => "sick",
            Self::Ends => "ends",
            Self::Loops => "loops",
            Self::Refused => "refused",
        }
    }

    /// Of the image that a step asks for.
    pub(crate) fn of(ensure: &Ensure) -> Self {
        let model = ensure.model.as_str();
        let is_in = |temper: &Self| model.contains(&format!("-{}\"", temper.tag()));
        Self::ALL.into_iter().find(is_in).unwrap_or(Self::Good)
    }

    /// Whether what is made from it becomes well.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Good | Self::Checked)
    }
}

/// A service, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Version of its image.
    pub(crate) version: u64,
    /// How that behaves.
    pub(crate) temper: Temper,
    /// On which nodes, by number.
    pub(crate) nodes: BTreeSet<usize>,
    /// Services with smaller numbers.
    pub(crate) depends_on: BTreeSet<usize>,
    /// It mounts a file with this content.
    pub(crate) file: Option<u64>,
    /// Its Compose project has another name.
    pub(crate) renamed: bool,
    /// It does not run.
    pub(crate) stopped: bool,
    /// It has a volume.
    pub(crate) volume: bool,
    /// How releases bring it to its nodes; none where nothing is said of it.
    pub(crate) rollout: Option<Rollout>,
    /// Something runs before and after each change of it.
    pub(crate) hooks: bool,
}

/// A repository, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// By number.
    pub(crate) services: BTreeMap<usize, Spec>,
    /// It has a mistake.
    pub(crate) is_broken: bool,
    /// It says how releases go.
    is_gated: bool,
    /// When changes may begin.
    windows: Vec<Window>,
}

/// The most services of one repository.
const MOST: usize = 6;

/// The name of a node.
pub(crate) fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn service_name(number: usize) -> String {
    format!("s{number}")
}

fn number_of(service: &ServiceName) -> usize {
    service.as_str()[1..].parse().expect("services of stories are named so")
}

impl Shape {
    /// The first commit.
    pub(crate) fn first(nodes: usize, is_gated: bool, dice: &mut Dice) -> Self {
        let (services, windows) = (BTreeMap::new(), Vec::new());
        let mut shape = Self { nodes, services, is_broken: false, is_gated, windows };
        for number in 0..dice.between(1, 4) as usize {
            let spec = shape.spec(number, dice);
            shape.services.insert(number, spec);
        }
        shape
    }

    fn spec(&self, number: usize, dice: &mut Dice) -> Spec {
        let some = |dice: &mut Dice, from: Vec<usize>| {
            from.into_iter().filter(|_| dice.chance(450)).collect::<BTreeSet<usize>>()
        };
        let mut nodes = some(dice, (0..self.nodes).collect());
        nodes.insert(dice.below(self.nodes));
        let depends_on = if dice.chance(500) { some(dice, (0..number).collect()) } else { BTreeSet::new() };
        Spec {
            version: dice.between(1, 1_000_000),
            temper: temper(dice),
            nodes,
            depends_on,
            file: dice.chance(300).then(|| dice.between(1, 9)),
            renamed: false,
            stopped: dice.chance(40),
            volume: dice.chance(200),
            rollout: self.is_gated.then(|| Rollout::any(number, dice)),
            hooks: self.is_gated && dice.chance(250),
        }
    }

    /// The next commit: one or a few changes.
    #[must_use]
    pub(crate) fn next(&self, dice: &mut Dice) -> Self {
        let mut next = self.clone();
        next.is_broken = dice.chance(80);
        for _ in 0..dice.between(1, 3) {
            next.change(dice);
        }
        if self.is_gated {
            next.change_gates(dice);
        }
        next
    }

    /// What is said of releases, or much at once.
    fn change_gates(&mut self, dice: &mut Dice) {
        match dice.below(8) {
            0 => self.windows = vec![Window::any(MOST, dice)],
            1 => self.windows.clear(),
            2 => {
                let specs = self.services.iter_mut();
                specs.for_each(|(number, spec)| spec.rollout = Some(Rollout::any(*number, dice)));
            }
            3 => self.services.values_mut().for_each(|spec| spec.version += 1),
            4 if dice.chance(300) => self.services.retain(|number, _| *number == 0),
            _ => {}
        }
    }

    fn change(&mut self, dice: &mut Dice) {
        let number = dice.below(MOST);
        let fresh = self.spec(number, dice);
        let Some(spec) = self.services.get_mut(&number) else {
            self.services.insert(number, fresh);
            return;
        };
        match dice.below(10) {
            0 => _ = self.services.remove(&number),
            1 => spec.nodes = fresh.nodes,
            2 => spec.file = fresh.file,
            3 => spec.depends_on = fresh.depends_on,
            4 => spec.renamed = !spec.renamed,
            5 => spec.stopped = !spec.stopped,
            _ => (spec.version, spec.temper) = (fresh.version, fresh.temper),
        }
    }

    /// The same with nothing in it that cannot become well.
    #[must_use]
    pub(crate) fn mended(&self) -> Self {
        let mut mended = Self { is_broken: false, ..self.clone() };
        for spec in mended.services.values_mut().filter(|spec| !spec.temper.is_well()) {
            (spec.temper, spec.version) = (Temper::Good, spec.version + 1);
        }
        mended.windows.retain(Window::is_frequent);
        mended
    }

    /// The same, in which some services have a new version and one cannot become well, so that its release is undone; none
    /// where no service runs on any node.
    pub(crate) fn spoiled(&self, dice: &mut Dice) -> Option<(Self, ServiceName)> {
        let running: Vec<usize> =
            self.services.iter().filter(|(_, spec)| !spec.stopped).map(|(number, _)| *number).collect();
        if running.is_empty() {
            return None;
        }
        let mut spoiled = self.clone();
        spoiled.windows.clear();
        // It waits for no other, and no wave with a change is before its own, so that it does begin.
        let bad = *running.iter().find(|number| self.services[number].depends_on.is_empty())?;
        for (number, spec) in &mut spoiled.services {
            spec.rollout = spec.rollout.as_ref().map(Rollout::undoing);
            spec.version += u64::from(*number > bad && dice.chance(600));
        }
        let spec = spoiled.services.get_mut(&bad).expect("it was just listed");
        spec.version += 1;
        spec.temper = dice.pick(&[Temper::Sick, Temper::Ends, Temper::Loops, Temper::Refused]);
        Some((spoiled, service_name(bad).parse().expect("a name")))
    }

    /// Whether a service is on the node of this name.
    pub(crate) fn is_at(&self, service: &ServiceName, node: &NodeName) -> bool {
        (0..self.nodes).any(|number| node_name(number) == node.as_str() && self.is_on(service, number))
    }

    /// Whether a service is on a node.
    pub(crate) fn is_on(&self, service: &ServiceName, node: usize) -> bool {
        self.service(service).is_some_and(|spec| spec.nodes.contains(&node))
    }

    /// The same with nothing that limits how many instances are away.
    pub(crate) fn limitless(&self) -> Self {
        let mut other = self.clone();
        for spec in other.services.values_mut() {
            spec.rollout = Some(spec.rollout.clone().unwrap_or_default().limitless());
        }
        other
    }

    /// The same without windows.
    pub(crate) fn always_open(&self) -> Self {
        Self { windows: Vec::new(), ..self.clone() }
    }

    /// How many instances of a service a release may take away at once.
    pub(crate) fn most_away(&self, service: &ServiceName) -> usize {
        let Some(spec) = self.service(service) else { return usize::MAX };
        spec.rollout.clone().unwrap_or_default().most_away(spec.nodes.len())
    }

    /// Whether its release goes on where an instance of a service failed.
    pub(crate) fn goes_on_without(&self, service: &ServiceName) -> bool {
        self.service(service).and_then(|spec| spec.rollout.as_ref()).is_some_and(Rollout::goes_on)
    }

    /// Whether a window keeps a change of a service from beginning at this time.
    pub(crate) fn is_shut(&self, service: &ServiceName, at: Timestamp) -> bool {
        let number = number_of(service);
        self.said_windows().any(|window| window.shuts(number, at))
    }

    fn service(&self, name: &ServiceName) -> Option<&Spec> {
        self.services.get(&number_of(name))
    }

    /// A window that names what is not there would be a mistake.
    fn said_windows(&self) -> impl Iterator<Item = &Window> {
        let is_there = |window: &&Window| window.service().is_none_or(|own| self.services.contains_key(&own));
        self.windows.iter().filter(is_there)
    }

    fn settings(&self) -> String {
        let mut text = "format = 1\nname = \"simulation\"\n".to_owned();
        for (number, window) in self.said_windows().enumerate() {
            text.push_str(&window.table(number, window.service().map(service_name)));
        }
        text
    }

    /// As files.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        let mut files = vec![("gitops.toml".to_owned(), self.settings())];
        let nodes = (0..self.nodes).map(node_name);
        files.extend(nodes.map(|name| (format!("nodes/{name}.yaml"), format!("node: {name}\n"))));
        for (number, spec) in &self.services {
            let name = service_name(*number);
            files.push((format!("services/{name}/service.yaml"), self.service_file(*number, spec)));
            files.push((format!("services/{name}/compose.yaml"), compose_file(&name, spec)));
            let content = spec.file.map(|file| (format!("services/{name}/config"), format!("{file}\n")));
            files.extend(content);
        }
        Arc::new(Tree::from_files(files))
    }

    fn service_file(&self, number: usize, spec: &Spec) -> String {
        let list = |names: Vec<String>| names.join(", ");
        let nodes = list(spec.nodes.iter().map(|node| node_name(*node)).collect());
        let is_there = |other: &&usize| self.services.contains_key(other);
        let needs = list(spec.depends_on.iter().filter(is_there).map(|other| service_name(*other)).collect());
        let mut text = format!(
            "service: {}\nplace:\n  nodes: [{nodes}]\ndepends_on: [{needs}]\nhealth: {{within: 30s}}\n",
            service_name(number)
        );
        if spec.stopped {
            text.push_str("state: stopped\n");
        }
        if let Some(rollout) = &spec.rollout {
            text.push_str(&rollout.line());
        }
        if spec.hooks {
            text.push_str("hooks: {before: [prepare], after: [check]}\n");
        }
        if self.is_broken {
            text.push_str("no_such_field: here\n");
        }
        text
    }
}

/// What runs around a change.
const HOOKS: [&str; 2] = ["prepare", "check"];

fn temper(dice: &mut Dice) -> Temper {
    match dice.below(20) {
        0 => Temper::Sick,
        1 => Temper::Ends,
        2 => Temper::Loops,
        3 => Temper::Refused,
        4..=8 => Temper::Checked,
        _ => Temper::Good,
    }
}

fn compose_file(name: &str, spec: &Spec) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a String");
    if spec.renamed {
        line(format!("name: {name}-other"));
    }
    line("services:".to_owned());
    line("  app:".to_owned());
    line(format!("    image: app:{}-{}", spec.version, spec.temper.tag()));
    line("    restart: unless-stopped".to_owned());
    if spec.file.is_some() || spec.volume {
        line("    volumes:".to_owned());
    }
    if spec.file.is_some() {
        line("      - ./config:/etc/config:ro".to_owned());
    }
    if spec.volume {
        line("      - data:/data".to_owned());
    }
    for hook in HOOKS.iter().filter(|_| spec.hooks) {
        line(format!("  {hook}:\n    image: tool:1"));
    }
    if spec.volume {
        line("volumes:".to_owned());
        line("  data:".to_owned());
    }
    text
}
