//! Releases over a thousand nodes, through the state machine of the daemon and a database on disk: what a pass costs in
//! the midst of one, and how long it takes from the last word of a wave to the durable plans of the next.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitops::api::control::{Answer, Plans, Request};
use gitops::clock;
use gitops::config::Deploy;
use gitops::daemon::state::{Effect, Event, Policy, State, step};
use gitops::store::Store as _;
use gitops::store::sqlite::{self, SqliteStore};
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Protocols, Report};
use gitops_core::tree::Tree;
use jiff::SignedDuration;
use tokio::runtime::Runtime;

use super::workload::{Size, compose_file, files, service};
use super::{sample, status};

/// Measures both: many services on a few nodes each, and a few services on many.
pub(crate) fn releases(quick: bool) {
    let (nodes, acks, waves, instances) = if quick { (10, 5, 3, 2) } else { (1_000, 300, 50, 20) };
    let wide = Size { services: nodes, nodes, instances: 3 };
    let what = format!("a pass in the midst of a release of {} services over {nodes} nodes", wide.services);
    let mut release = Release::begin(wide, |_| String::new());
    let times = release.acks(acks);
    sample::print(&what, &mut times.passes(), "≤ 10 ms");
    sample::print("… an ack to the durable plans that it allows", &mut times.planned(), "");

    let waves = Size { services: waves, nodes, instances };
    let what = format!("a pass in the midst of a release of {} waves over {nodes} nodes", waves.services);
    let rollout = |number| format!("rollout: {{wave: {number}, max_unavailable: 100%}}\n");
    let mut release = Release::begin(waves, rollout);
    let times = release.acks(waves.services * waves.instances);
    assert_eq!(times.planned().len(), waves.services - 1, "each wave follows the one before");
    sample::print(&what, &mut times.passes(), "≤ 10 ms");
    sample::print(
        "… the last ack of a wave to the durable plans of the next",
        &mut times.planned(),
        "≤ 5 ms",
    );
}

/// How long the parts of each ack took.
#[derive(Default)]
struct Times(Vec<Ack>);

struct Ack {
    whole: Duration,
    passes: Vec<Duration>,
    has_plans: bool,
}

impl Times {
    fn passes(&self) -> Vec<Duration> {
        self.0.iter().flat_map(|ack| ack.passes.iter().copied()).collect()
    }

    /// The acks after which nodes got plans.
    fn planned(&self) -> Vec<Duration> {
        self.0.iter().filter(|ack| ack.has_plans).map(|ack| ack.whole).collect()
    }
}

/// A release that has begun.
struct Release {
    daemon: Daemon,
    /// What each node was told last, and has not done yet.
    open: VecDeque<Arc<NodePlan>>,
    known: Plans,
}

impl Release {
    /// A fleet that runs one form of everything gets another.
    fn begin(size: Size, rollout: impl Fn(usize) -> String) -> Self {
        let mut release =
            Self { daemon: Daemon::start(), open: VecDeque::new(), known: Arc::new(BTreeMap::new()) };
        release.deploy(size, 0, &rollout);
        while let Some(plan) = release.open.pop_front() {
            release.ack(&plan);
        }
        release.deploy(size, 1, &rollout);
        release
    }

    fn deploy(&mut self, size: Size, edit: usize, rollout: impl Fn(usize) -> String) {
        let mut files: BTreeMap<String, String> = files(size).into_iter().collect();
        let settings = files.get_mut("gitops.toml").expect("it is there");
        *settings = settings.replace("max_parallel = 1000\n", "");
        for number in 0..size.services {
            let name = service(number);
            files.insert(format!("services/{name}/compose.yaml"), compose_file(number, edit));
            files
                .get_mut(&format!("services/{name}/service.yaml"))
                .expect("it is there")
                .push_str(&rollout(number));
        }
        let files = files.into_iter().map(|(path, text)| (path, text.into_bytes()));
        self.daemon.tree = Arc::new(Tree::from_files(files));
        self.daemon.head = Some(format!("{:040}", edit + 1).parse().expect("a commit id"));
        self.daemon.tell(Event::Wake);
        self.note_plans();
        assert!(!self.open.is_empty(), "the commit is deployed");
    }

    /// So many nodes say, one after the other, that they did what they were told.
    fn acks(&mut self, most: usize) -> Times {
        let mut times = Times::default();
        while let Some(plan) = self.open.pop_front().filter(|_| times.0.len() < most) {
            times.0.push(self.ack(&plan));
        }
        times
    }

    fn ack(&mut self, plan: &NodePlan) -> Ack {
        let wish = Request::Report {
            node: plan.node.clone(),
            hello: hello(&plan.node),
            report: Report::Status(Arc::new(status(plan))),
        };
        self.daemon.passes.clear();
        let started = started();
        self.daemon.tell(Event::Asked(1, wish));
        let whole = started.elapsed();
        let passes = std::mem::take(&mut self.daemon.passes);
        Ack { whole, passes, has_plans: self.note_plans() }
    }

    /// Whether there are new ones.
    fn note_plans(&mut self) -> bool {
        let plans = self.daemon.state.plans.clone();
        let is_new =
            |plan: &&Arc<NodePlan>| self.known.get(&plan.node).is_none_or(|old| old.digest != plan.digest);
        let new: Vec<_> = plans.values().filter(is_new).cloned().collect();
        self.open.retain(|open| new.iter().all(|plan| plan.node != open.node));
        self.open.extend(new.iter().cloned());
        self.known = plans;
        !new.is_empty()
    }
}

fn hello(node: &NodeName) -> Hello {
    Hello {
        protocols: Protocols { first: 1, last: 1 },
        agent: "bench".into(),
        version: "0".into(),
        host: node.as_str().into(),
        node: Some(node.clone()),
        start: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn started() -> Instant {
    Instant::now()
}

/// The state machine, and a loop that carries out one effect after the other.
struct Daemon {
    state: State,
    store: SqliteStore,
    runtime: Runtime,
    tree: Arc<Tree>,
    head: Option<Revision>,
    passes: Vec<Duration>,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let store = runtime.block_on(sqlite::open(&folder.path().join("gitops.db"))).expect("a database");
        let snapshot = runtime.block_on(store.load()).expect("the database works");
        let hours = SignedDuration::from_hours;
        let policy = Policy {
            url: Path::new("/repository").to_string_lossy().into(),
            branch: "main".into(),
            poll: hours(1),
            deploy: Deploy::Auto,
            heartbeat: hours(1),
            prune: hours(1),
            forge: None,
            seed: 0,
        };
        let (state, effects) = State::new(policy, snapshot, clock::now());
        let (tree, head, passes) = (Arc::new(Tree::default()), None, Vec::new());
        let mut daemon = Self { state, store, runtime, tree, head, passes, _folder: folder };
        daemon.carry_out(effects.into());
        daemon
    }

    /// An event, and all that comes of it.
    fn tell(&mut self, event: Event) {
        let effects = step(&mut self.state, event, clock::now());
        self.carry_out(effects.into());
    }

    fn carry_out(&mut self, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            if let Some(event) = self.perform(effect) {
                effects.extend(step(&mut self.state, event, clock::now()));
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        const WORKS: &str = "the database works";
        let (runtime, store) = (&self.runtime, &self.store);
        match effect {
            Effect::Fetch => Some(Event::Fetched(Ok(self.head.clone()))),
            Effect::Compare { .. } => Some(Event::Compared(Ok(true))),
            // Nobody else writes.
            Effect::Peek { after } => Some(Event::Peeked(Ok(after))),
            Effect::Load(load) => Some(Event::Loaded(Ok(load.read(&self.tree, clock::now())))),
            Effect::Pass(pass) => {
                let started = started();
                let outcome = pass.outcome();
                self.passes.push(started.elapsed());
                Some(Event::Passed(outcome, pass.opened(None)))
            }
            Effect::Publish(publication) => {
                Some(Event::Published(Ok(runtime.block_on(store.publish(publication)).expect(WORKS))))
            }
            Effect::Record { reports, events, finished, .. } => {
                let numbered = runtime.block_on(async {
                    let numbered = match events {
                        events if events.is_empty() => Vec::new(),
                        events => store.append_events(events).await.expect(WORKS),
                    };
                    if let Some((revision, at)) = finished {
                        store.finish_release(&revision, at).await.expect(WORKS);
                    }
                    store.record_statuses(reports).await.expect(WORKS);
                    numbered
                });
                Some(Event::Recorded(Ok(numbered)))
            }
            Effect::Answer(_, answer) => {
                assert!(matches!(answer, Answer::Received(_)), "the daemon takes what nodes say");
                None
            }
            Effect::Keep(_) | Effect::Prune => None,
            other => unreachable!("a release alone has no use for {other:?}"),
        }
    }
}
