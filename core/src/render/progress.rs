//! A release as it goes on: a tree of its waves, of the nodes in each and of the steps on each, with how long they took, under
//! a bar.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::release::state;
use super::status::instance_word;
use super::table::Cell;
use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted, span};
use crate::fleet::{InstanceState, InstanceView, NodeView};
use crate::name::{NodeName, ServiceName};
use crate::release::{ReleaseView, Standing};

/// How many signs the bar has.
const BAR: usize = 30;

/// The tree, line by line. Where it is drawn over and over, a bar is above it, and of what is done only one line is left.
pub fn text(view: &ReleaseView, fleet: &[NodeView], now: Timestamp, is_live: bool) -> String {
    let Cell(word, style) = state(&view.standing);
    let head = painted(BOLD, &format!("release {}", view.release.number));
    let revision = view.release.release.revision.short();
    let mut text = format!("{head}  {}  {revision}\n", painted(style, &word));
    if let Some(failed) = &view.release.failed {
        text.push_str(&format!("  {}\n", painted(BAD, &inert(&failed.reason))));
    }
    let leaves = leaves(view, fleet);
    if is_live {
        let done = leaves.values().filter(|leaf| leaf.is_done()).count();
        text.push_str(&format!("{}\n", bar(done, leaves.len())));
    }
    let tree = Tree { leaves, is_over: is_over(&view.standing), is_live, now };
    text.push_str(&tree.text());
    text
}

fn bar(done: usize, all: usize) -> String {
    let filled = done * BAR / all.max(1);
    let (full, empty) = ("█".repeat(filled), "░".repeat(BAR - filled));
    format!("{}{}  {done} of {}", painted(GOOD, &full), painted(DIM, &empty), count(all, "step"))
}

/// Whether nothing more comes of it.
fn is_over(standing: &Standing) -> bool {
    match standing {
        Standing::InProgress { .. } | Standing::Failed { .. } | Standing::Undoing { .. } => false,
        Standing::Undone { .. } | Standing::Done | Standing::Superseded { .. } => true,
    }
}

/// One service on one node.
#[derive(Default)]
struct Leaf<'a> {
    wave: i32,
    began_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    /// How it stands, where it is not done.
    stands: Option<&'a InstanceView>,
}

impl Leaf<'_> {
    fn is_done(&self) -> bool {
        self.done_at.is_some()
    }
}

/// What the release changed, and what of it may not begin yet.
fn leaves<'a>(
    view: &'a ReleaseView,
    fleet: &'a [NodeView],
) -> BTreeMap<(&'a NodeName, &'a ServiceName), Leaf<'a>> {
    let mut leaves: BTreeMap<(&NodeName, &ServiceName), Leaf<'_>> = BTreeMap::new();
    // The newest form of each comes last.
    for step in &view.steps {
        let (began_at, done_at) = (step.published_at, step.satisfied_at);
        let leaf = Leaf { wave: step.change.wave, began_at, done_at, stands: None };
        leaves.insert((&step.change.node, &step.change.service), leaf);
    }
    if is_over(&view.standing) {
        return leaves;
    }
    for node in fleet {
        for instance in node.instances.iter() {
            let key = (&node.node, &instance.service);
            if instance.state == InstanceState::Waiting && leaves.get(&key).is_none_or(Leaf::is_done) {
                // It waits to take another form.
                leaves.insert(key, Leaf { wave: instance.wave, stands: Some(instance), ..Leaf::default() });
            } else if let Some(leaf) = leaves.get_mut(&key).filter(|leaf| !leaf.is_done()) {
                leaf.stands = Some(instance);
            }
        }
    }
    leaves
}

struct Tree<'a> {
    leaves: BTreeMap<(&'a NodeName, &'a ServiceName), Leaf<'a>>,
    is_over: bool,
    is_live: bool,
    now: Timestamp,
}

type Branch<'t, 'a> = Vec<(&'t (&'a NodeName, &'a ServiceName), &'t Leaf<'a>)>;

impl<'a> Tree<'a> {
    fn text(&self) -> String {
        let mut waves: BTreeMap<i32, Branch<'_, 'a>> = BTreeMap::new();
        for (key, leaf) in &self.leaves {
            waves.entry(leaf.wave).or_default().push((key, leaf));
        }
        if let [wave] = &*waves.values().collect::<Vec<_>>() {
            return self.nodes(wave, "");
        }
        let wave = |(number, wave): (&i32, &Branch<'_, 'a>)| {
            let head = format!("wave {number}  {}\n", self.stand(wave));
            if self.is_folded(wave) { head } else { head + &self.nodes(wave, "  ") }
        };
        waves.iter().map(wave).collect()
    }

    fn nodes(&self, wave: &Branch<'_, 'a>, indent: &str) -> String {
        let mut text = String::new();
        for node in wave.chunk_by(|one, other| one.0.0 == other.0.0) {
            text.push_str(&format!("{indent}{}  {}\n", node[0].0.0, self.stand(node)));
            let steps = node.iter().filter(|_| !self.is_folded(node));
            let steps =
                steps.map(|((_, service), leaf)| format!("{indent}  {service}  {}\n", self.step(leaf)));
            text.push_str(&steps.collect::<String>());
        }
        text
    }

    /// What is done is not in the way of what is watched.
    fn is_folded(&self, branch: &[(&(&NodeName, &ServiceName), &Leaf<'_>)]) -> bool {
        self.is_live && branch.iter().all(|(_, leaf)| leaf.is_done())
    }

    /// How far a node or a wave is.
    fn stand(&self, branch: &[(&(&NodeName, &ServiceName), &Leaf<'_>)]) -> String {
        let leaves = || branch.iter().map(|(_, leaf)| *leaf);
        let began_at = leaves().filter_map(|leaf| leaf.began_at).min();
        if leaves().all(Leaf::is_done) {
            return self.done(began_at, leaves().filter_map(|leaf| leaf.done_at).max());
        }
        let waits_since =
            || leaves().filter_map(|leaf| leaf.stands).filter_map(|instance| instance.since).min();
        match began_at {
            _ if self.is_over => painted(DIM, "not done"),
            Some(at) => format!("{}{}", painted(WARN, "in progress"), self.since(Some(at))),
            None => format!("{}{}", painted(WARN, "waiting"), self.since(waits_since())),
        }
    }

    fn step(&self, leaf: &Leaf<'_>) -> String {
        if leaf.is_done() {
            return self.done(leaf.began_at, leaf.done_at);
        }
        let Some(instance) = leaf.stands else {
            let word = if self.is_over { "not done" } else { "in progress" };
            return painted(DIM, word);
        };
        let (word, style) = instance_word(instance.state);
        let message =
            instance.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
        let message = if message.is_empty() { String::new() } else { format!("  {}", inert(message)) };
        format!("{}{}{message}", painted(style, word), self.since(instance.since))
    }

    fn done(&self, began_at: Option<Timestamp>, done_at: Option<Timestamp>) -> String {
        let took =
            began_at.zip(done_at).map(|(began, done)| format!(" after {}", span(done.duration_since(began))));
        format!("{}{}", painted(GOOD, "done"), took.unwrap_or_default())
    }

    fn since(&self, at: Option<Timestamp>) -> String {
        at.map_or(String::new(), |at| format!(" for {}", span(self.now.duration_since(at))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use crate::diff::{Diff, Summary};
    use crate::fleet::NodeState;
    use crate::name::Generation;
    use crate::release::{KeptDiff, NewRelease, Release, StepChange, StepEffect, StepRecord};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// `edge-1/web/1 2 4`: of wave 1, published after two seconds and done after four.
    fn step(text: &str) -> StepRecord {
        let mut words = text.split(' ');
        let names: Vec<&str> = words.next().expect("a step").split('/').collect();
        let mut time = || words.next().map(|word| at(word.parse().expect("a number")));
        let change = StepChange {
            node: names[0].parse().expect("a name"),
            service: names[1].parse().expect("a name"),
            generation: Generation(1),
            wave: names[2].parse().expect("a number"),
            digest: None,
            effect: StepEffect::Create,
        };
        StepRecord { change, release: Some(7), published_at: time(), satisfied_at: time() }
    }

    fn view(standing: Standing, steps: &[&str]) -> ReleaseView {
        let release = NewRelease {
            revision: "a".repeat(40).parse().expect("a revision"),
            before: None,
            plan: None,
            began_at: at(0),
            commit: None,
            summary: Summary::default(),
        };
        ReleaseView {
            release: Release::begun(7, release),
            standing,
            nodes: Vec::new(),
            steps: steps.iter().map(|text| step(text)).collect(),
            kept: KeptDiff::cut(Diff::default()),
        }
    }

    fn check(view: &ReleaseView, fleet: &[NodeView], is_live: bool, expected: &str) {
        let text = text(view, fleet, at(61), is_live);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text.split_once('\n').expect("a head").1, expected);
    }

    #[test]
    fn a_release_shows_what_took_how_long_and_what_the_rest_waits_for() {
        let on: BTreeSet<_> = ["edge-2".parse().expect("a name")].into();
        let steps = ["edge-1/db/0 0 4", "edge-1/web/1 4 9", "edge-2/web/1 20"];
        let view = view(Standing::InProgress { on }, &steps);
        let instance = |service: &str, state, since, message: Option<&str>| InstanceView {
            message: message.map(str::to_owned),
            since: Some(at(since)),
            wave: 1,
            ..InstanceView::bare(service.parse().expect("a name"), state)
        };
        let instances = [
            instance("api", InstanceState::Waiting, 0, Some("one at a time\nmore")),
            instance("db", InstanceState::Healthy, 0, None),
            instance("web", InstanceState::Applying, 20, Some("starting")),
        ];
        let node = "edge-2".parse().expect("a name");
        let fleet = [NodeView { instances: instances.into(), ..NodeView::bare(node, NodeState::Pending) }];
        let whole = "wave 0  done after 4s\n  edge-1  done after 4s\n    db  done after 4s\n\
                     wave 1  in progress for 57s\n  edge-1  done after 5s\n    web  done after 5s\n  \
                     edge-2  in progress for 41s\n    api  waiting for 1m  one at a time\n    \
                     web  applying for 41s  starting\n";
        check(&view, &fleet, false, whole);
        let live = format!(
            "{}{}  2 of 4 steps\nwave 0  done after 4s\nwave 1  in progress for 57s\n  edge-1  done after 5s\n  \
             edge-2  in progress for 41s\n    api  waiting for 1m  one at a time\n    \
             web  applying for 41s  starting\n",
            "█".repeat(15),
            "░".repeat(15)
        );
        check(&view, &fleet, true, &live);
    }

    #[test]
    fn what_an_older_release_left_open_is_not_shown_as_going_on() {
        let view = view(Standing::Superseded { by: 8, on: BTreeSet::new() }, &["edge-1/web/0 0"]);
        check(&view, &[], false, "edge-1  not done\n  web  not done\n");
    }
}
