//! The whole pass as one function: definitions, last plans and reports in; new plans and a picture of the fleet out.
//!
//! `gitops diff`, the daemon, the benchmarks and the scenarios all go through [`Definitions::load`] and
//! [`reconcile`]. Both are pure: the same inputs give the same bytes.

mod failover;
pub mod preview;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{self, Catalog};
use crate::check;
use crate::decision::Awaiting;
use crate::definition::{Located, Node};
use crate::desired::{Desired, Instance};
use crate::diagnostic::Diagnostic;
use crate::diff::Side;
use crate::fleet::{self, NodeFacts, NodeView};
use crate::govern::{Before, Judgements};
use crate::holders::Holders;
use crate::name::{Digest, NodeName, Revision};
use crate::plan::{Ensure, NodePlan, Step};
use crate::planner::{self, Facts, Failure, Permits, Planned, Situation, Undo, Unit};
use crate::spread::spread;
use crate::status::{NodeStatus, Reported};
use crate::tree::Tree;
use crate::window::Calendar;
use failover::Moved;
use preview::Touched;

/// The definitions at one revision, checked and made concrete. Only a commit without errors is planned from, and what was
/// deployed before an error was seen in it.
#[derive(Debug)]
pub struct Definitions {
    /// The commit.
    pub revision: Revision,
    /// Everything that was defined.
    pub catalog: Catalog,
    /// Everything that should be.
    pub desired: Desired,
    /// What is said of them, in order: warnings and recorded findings, unless they were only examined or resumed.
    pub findings: Vec<Diagnostic>,
    /// Whether everything could be read and rendered, whatever else is said of it.
    pub is_whole: bool,
    judgements: Judgements,
}

/// What is known when definitions are read.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The definitions before, which were whole. What both have in common is not read again.
    pub previous: Option<&'a Definitions>,
    /// Who holds what. None: as the definitions before have it.
    pub holders: Option<&'a Holders>,
    /// When they are read: grants and approvals end.
    pub now: Timestamp,
}

impl Known<'_> {
    /// Nothing but the time.
    pub fn at(now: Timestamp) -> Self {
        Self { previous: None, holders: None, now }
    }
}

impl Definitions {
    /// Reads a tree.
    ///
    /// # Errors
    ///
    /// All findings, in order, if one of them is an error.
    pub fn load(revision: Revision, tree: &Arc<Tree>, known: &Known<'_>) -> Result<Self, Vec<Diagnostic>> {
        let examined = Self::examine(revision, tree, known);
        if examined.has_errors() { Err(examined.findings) } else { Ok(examined) }
    }

    /// Reads what is deployed already. That it would not be allowed today, because a grant has ended since or a rule of
    /// this program is new, keeps nothing from going on as it is.
    ///
    /// # Errors
    ///
    /// All findings, in order, if it cannot be read and rendered.
    pub fn resume(revision: Revision, tree: &Arc<Tree>, known: &Known<'_>) -> Result<Self, Vec<Diagnostic>> {
        let examined = Self::examine(revision, tree, known);
        if examined.is_whole { Ok(examined) } else { Err(examined.findings) }
    }

    /// Reads a tree as far as it can be read, with all its findings, errors included: for commands that explain them.
    /// It must not be planned from, nor be the `previous` of other definitions, if it is not whole.
    pub fn examine(revision: Revision, tree: &Arc<Tree>, known: &Known<'_>) -> Self {
        let Known { previous, now, .. } = *known;
        let (catalog, mut findings) = catalog::load(tree, previous.map(|previous| &previous.catalog));
        let before = previous.map(|previous| (&previous.catalog, &previous.desired));
        let (desired, mistakes) = Desired::build(&catalog, before, known.holders);
        findings.extend(mistakes);
        findings.extend(desired.warnings().cloned());
        let is_whole = !findings.iter().any(Diagnostic::is_error);
        let before = previous.map(Self::as_before);
        let (judgements, judged) = Judgements::new(&catalog, &desired, before, now);
        findings.extend(judged);
        findings.sort();
        findings.dedup();
        Self { revision, catalog, desired, findings, is_whole, judgements }
    }

    /// Nothing at all: what there is before the first commit.
    pub fn nothing(now: Timestamp) -> Self {
        Self::examine(Revision::uncommitted(), &Arc::default(), &Known::at(now))
    }

    /// These as one side of a comparison, under the name that people know them by.
    pub fn side(&self, label: impl Into<Arc<str>>) -> Side<'_> {
        Side { label: label.into(), catalog: &self.catalog, desired: &self.desired }
    }

    /// These, for what comes after them.
    fn as_before(&self) -> Before<'_> {
        let Self { catalog, desired, judgements, .. } = self;
        Before { catalog, desired, judgements, is_right: !self.has_errors() }
    }

    /// Whether something that is said of them is an error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Diagnostic::is_error)
    }
}

/// What a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What should be.
    pub definitions: &'a Definitions,
    /// The newest plan of each node.
    pub plans: &'a BTreeMap<NodeName, Arc<NodePlan>>,
    /// What nodes said last.
    pub reported: &'a Reported,
    /// What is known beside them.
    pub facts: &'a Facts,
    /// When the pass runs.
    pub now: Timestamp,
    /// A report older than this is not believed: three heartbeats.
    pub stale_after: SignedDuration,
    /// Since when whoever runs the pass has been listening: silence before that says nothing about a node.
    pub listening_since: Timestamp,
    /// What the pass before saw. It never changes what comes out, only how fast.
    pub seen: Option<&'a Seen>,
}

/// What a pass comes to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Plans to publish: only of nodes whose steps changed.
    pub plans: Vec<Arc<NodePlan>>,
    /// The content that those plans name.
    pub blobs: BTreeMap<Digest, Arc<[u8]>>,
    /// How every node and instance stands, what is waited on and why; measured against the plans as they are
    /// after this pass.
    pub nodes: Vec<NodeView>,
    /// The nodes on which something changes or is held back, with what the id of this outcome covers of each.
    pub touched: BTreeMap<NodeName, Touched>,
    /// What waits for somebody's approval.
    pub awaiting: Vec<Awaiting>,
    /// The release failed, and is to be undone.
    pub failure: Option<Failure>,
    /// When to look again though nothing is heard: something may begin then, or has failed.
    pub again_at: Option<Timestamp>,
    /// Whether something of the release is left to be done, or to stand its time.
    pub is_open: bool,
    /// For the next pass.
    pub seen: Seen,
}

/// The nodes that a pass found at rest, each with what it looked at: while that is the very same, there is nothing to
/// plan for it, and it stands as it stood. And what was moved away from lost nodes.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    at_rest: BTreeMap<NodeName, AtRest>,
    moved: Option<Arc<Moved>>,
}

/// A node whose plan says all that is wanted, with nothing held back.
#[derive(Clone, Debug)]
struct AtRest {
    sight: Sight,
    view: NodeView,
    /// What is not done there yet.
    units: Vec<Unit>,
}

/// All that the plan and the picture of a node at rest depend on. Gates look at other nodes, too; but nothing waits
/// behind one here.
#[derive(Clone, Debug)]
struct Sight {
    wanted: Option<Arc<Vec<Arc<Instance>>>>,
    plan: Option<Arc<NodePlan>>,
    status: Option<Arc<NodeStatus>>,
    is_stale: bool,
    undo: Option<Arc<Undo>>,
    /// The definitions of all nodes: they are read anew together.
    promised: Arc<BTreeMap<NodeName, Located<Node>>>,
}

impl Sight {
    fn of(inputs: &Inputs<'_>, desired: &Desired, node: &NodeName) -> Self {
        let reported = inputs.reported.nodes.get(node);
        Self {
            wanted: desired.nodes.get(node).cloned(),
            plan: inputs.plans.get(node).cloned(),
            status: reported.map(|reported| reported.status.clone()),
            is_stale: reported.is_some_and(|reported| reported.is_stale(inputs.now, inputs.stale_after)),
            undo: inputs.facts.underway.undo.clone(),
            promised: inputs.definitions.catalog.nodes.clone(),
        }
    }

    /// Whether both are of the very same things, which is known without a look into them.
    fn is(&self, other: &Self) -> bool {
        fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
            one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
        }
        same(&self.wanted, &other.wanted)
            && same(&self.plan, &other.plan)
            && same(&self.status, &other.status)
            && same(&self.undo, &other.undo)
            && self.is_stale == other.is_stale
            && Arc::ptr_eq(&self.promised, &other.promised)
    }
}

/// Plans for every node, and what is waited on.
pub fn reconcile(inputs: &Inputs<'_>) -> Outcome {
    let moved = failover::moved(inputs);
    let calendar = Calendar::new(&inputs.definitions.catalog.settings.window, inputs.now);
    let situation = situation(inputs, moved.as_deref(), &calendar);
    let mut outcome = Outcome::default();
    let (mut awake, mut units) = (Vec::new(), Vec::new());
    for node in situation.nodes() {
        let sight = Sight::of(inputs, situation.desired, node);
        let stays = moved.as_ref().is_some_and(|moved| moved.stays.contains_key(node));
        let reopens_at = situation.reopens_at(node);
        // What may begin now is planned in this pass.
        outcome.look_again(reopens_at.filter(|at| *at > inputs.now));
        let is_planned = stays || reopens_at.is_some() || situation.has_renewed_spans(node);
        match at_rest(inputs, node, &sight).filter(|_| !is_planned) {
            Some((view, open)) => {
                units.extend_from_slice(&open);
                outcome.rests(view, sight, open);
            }
            None => awake.push((node, sight)),
        }
    }
    let open = spread(&awake, |(node, _)| planner::units(&situation, node));
    units.extend(open.iter().flatten().cloned());
    // Whatever was found at rest: what waits for what must not depend on it.
    units.sort_by(|one, other| (&one.node, &one.service).cmp(&(&other.node, &other.service)));
    let permits = planner::permits(&situation, &units);
    let situation = Situation { permits: &permits, ..situation };
    let planned = spread(&awake, |(node, _)| one(inputs, &situation, moved.as_deref(), node));
    for (((planned, view), (_, sight)), open) in planned.into_iter().zip(awake).zip(open) {
        outcome.takes(inputs, situation.desired, planned, view, (sight, open));
    }
    outcome.nodes.sort_by(|one, other| one.node.cmp(&other.node));
    outcome.seen.moved = moved;
    let Permits { awaiting, failure, again_at, is_open, .. } = permits;
    outcome.look_again(again_at);
    Outcome { awaiting, failure, is_open, ..outcome }
}

/// What planning looks at, before it is known what may begin.
fn situation<'a>(inputs: &Inputs<'a>, moved: Option<&'a Moved>, calendar: &'a Calendar<'a>) -> Situation<'a> {
    static NONE: std::sync::LazyLock<Permits> = std::sync::LazyLock::new(Permits::default);
    let Inputs { definitions, plans, reported, facts, now, stale_after, .. } = *inputs;
    let Definitions { revision, catalog, desired, .. } = definitions;
    let desired = moved.map_or(desired, |moved| &moved.desired);
    Situation {
        revision,
        catalog,
        desired,
        plans,
        reported,
        facts,
        permits: &NONE,
        calendar,
        now,
        stale_after,
    }
}

impl Outcome {
    fn look_again(&mut self, at: Option<Timestamp>) {
        self.again_at = [self.again_at, at].into_iter().flatten().min();
    }

    /// Takes in what planning a node came to.
    fn takes(
        &mut self,
        inputs: &Inputs<'_>,
        desired: &Desired,
        planned: Planned,
        view: NodeView,
        (sight, open): (Sight, Vec<Unit>),
    ) {
        let touched = preview::touched(inputs, desired, &view.node, &planned);
        self.touched.extend(touched.map(|touched| (view.node.clone(), touched)));
        match planned.plan {
            Some(plan) => {
                self.blobs.extend(blobs(desired, &plan));
                self.plans.push(plan);
                self.nodes.push(view);
            }
            None if planned.waiting.is_empty() => self.rests(view, sight, open),
            None => self.nodes.push(view),
        }
    }

    fn rests(&mut self, view: NodeView, sight: Sight, units: Vec<Unit>) {
        self.seen.at_rest.insert(view.node.clone(), AtRest { sight, view: view.clone(), units });
        self.nodes.push(view);
    }
}

/// The picture of a node about which nothing changed since it was found at rest, and what is not done there yet.
fn at_rest(inputs: &Inputs<'_>, node: &NodeName, sight: &Sight) -> Option<(NodeView, Vec<Unit>)> {
    let before = inputs.seen?.at_rest.get(node).filter(|before| before.sight.is(sight))?;
    let heard_at = inputs.reported.nodes.get(node).map(|reported| reported.heard_at);
    Some((NodeView { heard_at, ..before.view.clone() }, before.units.clone()))
}

/// One node's plan and picture.
fn one(
    inputs: &Inputs<'_>,
    situation: &Situation<'_>,
    moved: Option<&Moved>,
    node: &NodeName,
) -> (Planned, NodeView) {
    let mut planned = planner::plan(situation, node);
    let stays = moved.and_then(|moved| moved.stays.get(node)).cloned();
    planned.waiting.extend(stays.unwrap_or_default());
    let violations = planned.plan.iter().flat_map(|plan| violations(inputs, plan));
    debug_assert_eq!(violations.collect::<Vec<_>>(), [""; 0], "a plan breaks an invariant");
    let view = view(inputs, situation.desired, node, &planned);
    (planned, view)
}

fn violations(inputs: &Inputs<'_>, plan: &NodePlan) -> Vec<String> {
    let previous = inputs.plans.get(&plan.node).map(|plan| &**plan);
    let status = inputs.reported.nodes.get(&plan.node).map(|reported| &*reported.status);
    check::violations(plan, previous, status)
}

fn view(inputs: &Inputs<'_>, desired: &Desired, node: &NodeName, planned: &Planned) -> NodeView {
    let stored = inputs.plans.get(node);
    fleet::view(&NodeFacts {
        node,
        definition: inputs.definitions.catalog.nodes.get(node),
        wanted: desired.nodes.get(node).map_or(&[], |wanted| wanted),
        plan: planned.plan.as_deref().or(stored.map(|plan| &**plan)),
        reported: inputs.reported.nodes.get(node),
        waiting: &planned.waiting,
        underway: &inputs.facts.underway,
        now: inputs.now,
        stale_after: inputs.stale_after,
    })
}

/// The content that a new plan names. A step that was taken over from an older plan names what the store has.
fn blobs<'a>(desired: &'a Desired, plan: &'a NodePlan) -> impl Iterator<Item = (Digest, Arc<[u8]>)> + 'a {
    plan.steps.iter().filter_map(Step::as_ensure).flat_map(|ensure| content_of(desired, plan, ensure))
}

fn content_of<'a>(
    desired: &'a Desired,
    plan: &'a NodePlan,
    ensure: &'a Ensure,
) -> impl Iterator<Item = (Digest, Arc<[u8]>)> + 'a {
    let instance =
        desired.instance(&plan.node, &ensure.service).filter(|one| one.ensure.digest == ensure.digest);
    let files = instance.into_iter().flat_map(|instance| instance.rendered.files.values());
    files.map(|file| (file.reference.digest, file.content.clone()))
}
