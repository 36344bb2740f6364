//! Small definitions repositories, and what people do to them.
//!
//! A [`Shape`] is what a repository says, as data; [`Shape::tree`] writes it as files, which are then read as any other.
//! How the containers of an image behave is part of its tag, so that a bad image is bad on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use gitops::plan::Ensure;
use gitops::tree::Tree;

use crate::dice::Dice;

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

impl Shape {
    /// The first commit.
    pub(crate) fn first(nodes: usize, dice: &mut Dice) -> Self {
        let mut shape = Self { nodes, services: BTreeMap::new(), is_broken: false };
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
        next
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
        mended
    }

    /// As files.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        let mut files = vec![("gitops.toml".to_owned(), "format = 1\nname = \"simulation\"\n".to_owned())];
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
        if self.is_broken {
            text.push_str("no_such_field: here\n");
        }
        text
    }
}

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
        line("volumes:".to_owned());
        line("  data:".to_owned());
    }
    text
}
