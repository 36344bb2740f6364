//! Dangerous powers of Compose, whatever is written: none without a live grant reaches a plan, all spellings of one are
//! the same, and no text makes the reader of Compose files panic or wait.

#![allow(clippy::disallowed_methods, reason = "tests read the corpus of Compose files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::compose::powers::{CapabilityPattern, KINDS, Kind};
use gitops_core::compose::{ReadSpec, Source, Variables, labelled};
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::{Ensure, NodePlan, Step};
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, reconcile};
use gitops_core::render;
use gitops_core::status::Reported;
use gitops_core::tree::Tree;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

/// One power, in several spellings of the same, as fields of a service.
const POWERS: &[(&str, &[&str])] = &[
    ("privileged", &["privileged: true", "privileged: 'yes'", "privileged: \"on\""]),
    ("cap-add:SYS_ADMIN", &["cap_add: [SYS_ADMIN]", "cap_add: [cap_sys_admin]", "cap_add: CAP_SYS_ADMIN"]),
    (
        "docker-socket",
        &[
            "volumes: ['/var/run/docker.sock:/s']",
            "volumes: ['/run/docker.sock:/s:ro']",
            "volumes: ['//var/run/../run//docker.sock:/s']",
            "volumes: [{type: bind, source: /proc/1/root/run/docker.sock/, target: /s, read_only: true}]",
            "volumes: [{type: bind, source: /var/./run/docker.sock, target: /s}]",
            "use_api_socket: true",
        ],
    ),
    (
        "bind:/srv/media",
        &[
            "volumes: ['/srv/media:/m']",
            "volumes: ['/srv//media/:/m:ro']",
            "volumes: [{type: bind, source: /srv/x/../media/., target: /m}]",
            "env_file: /srv/media",
        ],
    ),
    (
        "host-port:53",
        &[
            "ports: ['53:53/udp']",
            "ports: ['127.0.0.1:53:1053']",
            "ports: [{target: 53, published: 53}]",
            "ports: [{target: 53, published: '53', mode: host, protocol: udp}]",
        ],
    ),
    ("host-network", &["network_mode: host", "network_mode: \"host\""]),
    (
        "foreign-container:db",
        &[
            "network_mode: 'container:db'",
            "pid: 'container:db'",
            "volumes_from: ['container:db:ro']",
            "external_links: ['db:x']",
        ],
    ),
    (
        "gpu",
        &[
            "gpus: all",
            "gpus: [{driver: nvidia, count: 1}]",
            "runtime: nvidia",
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
        ],
    ),
    (
        "device:/dev/kvm",
        &[
            "devices: ['/dev/kvm:/dev/kvm']",
            "devices: [/dev/kvm]",
            "devices: [{source: /dev//kvm, target: /dev/kvm}]",
        ],
    ),
    (
        "security-opt:seccomp:unconfined",
        &["security_opt: ['seccomp:unconfined']", "security_opt: ['seccomp=unconfined']"],
    ),
    ("sysctl:net.core.somaxconn", &["sysctls: [net.core.somaxconn=1]", "sysctls: {net.core.somaxconn: 1}"]),
    (
        "foreign-label",
        &[
            "labels: {gitops.node: x}",
            "labels: ['com.docker.compose.project=x']",
            "deploy: {labels: {gitops.service: x}}",
        ],
    ),
    ("logging-driver:syslog", &["logging: {driver: syslog}"]),
    ("container-name", &["container_name: mine"]),
    ("hooks", &["post_start: [{command: date}]", "pre_stop: [{command: date}]"]),
];

const NOW: &str = "2026-06-15T12:00:00Z";

/// A service that uses some powers, each in one spelling.
#[derive(Clone, Debug)]
struct Wish {
    powers: BTreeMap<usize, usize>,
}

/// A grant of one power, or of all of them, to one service or to all, on one node or on all.
#[derive(Clone, Debug)]
struct Gift {
    power: Option<usize>,
    service: Option<usize>,
    node: Option<usize>,
    until: Option<&'static str>,
}

const SERVICES: [&str; 2] = ["one", "two"];
const NODES: [&str; 2] = ["a", "b"];

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let wish =
        prop::collection::btree_map(0..POWERS.len(), 0..6usize, 0..4).prop_map(|powers| Wish { powers });
    prop::collection::vec(wish, SERVICES.len()).prop_map(without_collisions)
}

/// Two services cannot both have a port or a name of the host.
fn without_collisions(mut wishes: Vec<Wish>) -> Vec<Wish> {
    let mut taken = BTreeSet::new();
    for wish in &mut wishes {
        wish.powers.retain(|power, _| {
            let is_single = matches!(POWERS[*power].0, "host-port:53" | "container-name");
            !is_single || taken.insert(*power)
        });
    }
    wishes
}

fn gifts() -> impl Strategy<Value = Vec<Gift>> {
    let until = prop::sample::select(&[None, Some("2026-06-14"), Some("2026-06-15"), Some("2027-01-31")][..]);
    let gift = (
        prop::option::weighted(0.7, 0..POWERS.len()),
        prop::option::of(0..SERVICES.len()),
        prop::option::weighted(0.3, 0..NODES.len()),
        until,
    );
    let gift = gift.prop_map(|(power, service, node, until)| Gift { power, service, node, until });
    prop::collection::vec(gift, 0..6)
}

fn spelling(power: usize, number: usize) -> &'static str {
    let spellings = POWERS[power].1;
    spellings[number % spellings.len()]
}

/// Each power is a Compose service of its own, so that their fields do not meet.
fn compose(wish: &Wish) -> String {
    let service = |(power, number): (&usize, &usize)| {
        format!("  s{power}:\n    image: i\n    {}\n", spelling(*power, *number))
    };
    format!("services:\n  main:\n    image: i\n{}", wish.powers.iter().map(service).collect::<String>())
}

fn control(gifts: &[Gift]) -> String {
    let grant = |gift: &Gift| {
        let power = gift.power.map_or("*", |power| POWERS[power].0);
        let service = gift.service.map_or("*", |service| SERVICES[service]);
        let nodes =
            gift.node.map(|node| format!("    nodes: {{node: {}}}\n", NODES[node])).unwrap_or_default();
        let until = gift.until.map(|day| format!("    until: {day}\n")).unwrap_or_default();
        format!(
            "  - capabilities: [\"{power}\"]\n    services: [\"{service}\"]\n{nodes}{until}    reason: r\n"
        )
    };
    let grants: String = gifts.iter().map(grant).collect();
    let grants = if grants.is_empty() { " []\n".to_owned() } else { format!("\n{grants}") };
    format!("control: c\nenforcement: strict\ngrants:{grants}")
}

fn tree(wishes: &[Wish], gifts: &[Gift]) -> Arc<Tree> {
    let mut files = vec![
        ("gitops.toml".to_owned(), "format = 1\nname = \"t\"\n".to_owned()),
        ("controls/c.yaml".to_owned(), control(gifts)),
    ];
    files.extend(NODES.map(|node| (format!("nodes/{node}.yaml"), format!("node: {node}\n"))));
    for (name, wish) in SERVICES.iter().zip(wishes) {
        let definition = format!("service: {name}\nplace: {{nodes: [{}]}}\n", NODES.join(", "));
        files.push((format!("services/{name}/service.yaml"), definition));
        files.push((format!("services/{name}/compose.yaml"), compose(wish)));
    }
    Arc::new(Tree::from_files(files))
}

/// Whether some grant that has not ended gives it, said as plainly as can be.
fn is_granted(gifts: &[Gift], service: usize, node: usize, power: usize, now: &str) -> bool {
    gifts.iter().any(|gift| {
        gift.power.is_none_or(|one| one == power)
            && gift.service.is_none_or(|one| one == service)
            && gift.node.is_none_or(|one| one == node)
            && gift.until.is_none_or(|day| now[..10] <= *day)
    })
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn load(tree: &Arc<Tree>, now: &str) -> Result<Definitions, String> {
    let revision: Revision = "1".repeat(40).parse().expect("forty digits");
    Definitions::load(revision, tree, &Known::at(time(now)))
        .map_err(|found| render::diagnostics::text(&found, render::diagnostics::Form::Lines))
}

fn plan(definitions: &Definitions, plans: &BTreeMap<NodeName, Arc<NodePlan>>, now: &str) -> Outcome {
    let (reported, stale_after) = (Reported::default(), SignedDuration::from_secs(45));
    let reported = &reported;
    reconcile(&Inputs {
        facts: gitops_core::planner::Facts::none(),
        definitions,
        plans,
        reported,
        now: time(now),
        listening_since: time(now),
        stale_after,
        seen: None,
    })
}

fn planned(outcome: &Outcome) -> BTreeSet<(String, String)> {
    let of_plan = |plan: &Arc<NodePlan>| {
        let node = plan.node.to_string();
        let ensured = plan.steps.iter().filter_map(Step::as_ensure);
        ensured.map(|ensure: &Ensure| (node.clone(), ensure.service.to_string())).collect::<Vec<_>>()
    };
    outcome.plans.iter().flat_map(of_plan).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_capability_without_a_live_grant_reaches_a_plan(wishes in wishes(), gifts in gifts(), days in 0..400i64) {
        let wanted = |now: &str| -> bool {
            let uses = |(service, wish): (usize, &Wish)| {
                let granted = |power: &usize| (0..NODES.len()).all(|node| is_granted(&gifts, service, node, *power, now));
                wish.powers.keys().all(granted)
            };
            wishes.iter().enumerate().all(uses)
        };
        let tree = tree(&wishes, &gifts);
        let loaded = load(&tree, NOW);
        prop_assert_eq!(loaded.is_ok(), wanted(NOW), "{:?}", loaded.err());
        let Ok(definitions) = loaded else { return Ok(()) };
        // The same definitions, planned later for the first time: only what is granted by then.
        let later = (time(NOW) + SignedDuration::from_hours(24 * days)).to_string();
        let planned = planned(&plan(&definitions, &BTreeMap::new(), &later));
        for (service, wish) in wishes.iter().enumerate() {
            for (node, name) in NODES.iter().enumerate() {
                let live = wish.powers.keys().all(|power| is_granted(&gifts, service, node, *power, &later));
                let there = planned.contains(&((*name).to_owned(), SERVICES[service].to_owned()));
                prop_assert_eq!(there, live, "{} on {} at {}", SERVICES[service], name, later);
            }
        }
    }

    #[test]
    fn a_power_is_the_same_in_every_spelling(power in 0..POWERS.len(), spelled in 0..6usize) {
        let file = format!("services:\n  a:\n    image: i\n    {}\n", spelling(power, spelled));
        let tree = Tree::from_files([("services/t/compose.yaml", &file)]);
        let source = Source::read(&tree, "services/t", &ReadSpec::default()).expect("it is right");
        let powers = source.render(&tree, &Variables::new()).expect("it is right").powers;
        let names: Vec<String> = powers.below(1024).map(|power| power.capability.to_string()).collect();
        prop_assert_eq!(&names, &[POWERS[power].0], "{}", file);
        let pattern = CapabilityPattern::parse(POWERS[power].0).expect("a name is a pattern");
        prop_assert!(powers.below(1024).all(|power| pattern.covers(&power.capability)));
    }
}

#[test]
fn a_grant_that_ended_holds_back_a_move_to_another_project_and_stops_nothing() {
    let gift = Gift { power: Some(0), service: None, node: None, until: Some("2026-06-20") };
    let wish = Wish { powers: BTreeMap::from([(0, 0)]) };
    let nothing = Wish { powers: BTreeMap::new() };
    let files = tree(&[wish, nothing], &[gift]);
    let plans = plan(&load(&files, NOW).expect("it is granted"), &BTreeMap::new(), NOW).plans;
    let plans: BTreeMap<NodeName, Arc<NodePlan>> =
        plans.into_iter().map(|plan| (plan.node.clone(), plan)).collect();
    let moved: Arc<Tree> = Arc::new(Tree::from_files(files.entries().filter_map(|(path, entry)| {
        let text = String::from_utf8_lossy(entry.content.as_deref()?).into_owned();
        let head = if &**path == "services/one/compose.yaml" { "name: one-other\n" } else { "" };
        Some((path.to_string(), format!("{head}{text}")))
    })));
    let definitions = load(&moved, NOW).expect("it is granted");
    let outcome = plan(&definitions, &plans, "2026-07-01T00:00:00Z");
    assert!(outcome.plans.is_empty(), "{:#?}", outcome.plans);
    let messages: Vec<String> = outcome
        .nodes
        .iter()
        .flat_map(|node| node.instances.iter().filter_map(|instance| instance.message.as_ref()))
        .map(ToString::to_string)
        .collect();
    let expected = "the grant of `privileged` in controls/c.yaml ended with 2026-06-20";
    assert!(messages.iter().any(|message| message.contains(expected)), "{messages:?}");
}

/// The names and meanings in the table of `docs/governance.md`.
#[test]
fn every_capability_is_in_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/governance.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let table = text.split("<!-- capabilities -->").nth(1).and_then(|rest| rest.split("<!-- end -->").next());
    let rows = table.expect("the table is between its marks").lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        let cells: Vec<String> =
            row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        (cells[0].clone(), cells.last().cloned().unwrap_or_default())
    };
    let name = |kind: &Kind| kind.of.map_or(format!("`{}`", kind.word), |of| format!("`{}:{of}`", kind.word));
    let expected: Vec<_> = KINDS.iter().map(|kind| (name(kind), kind.means.to_owned())).collect();
    assert_eq!(rows.map(cells).collect::<Vec<_>>(), expected);
}

/// Every text file below a folder.
fn texts(folder: &Path, found: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            texts(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push(text);
        }
    }
}

/// The Compose files of the corpus and of the scenarios.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut scenarios) = (Vec::new(), Vec::new());
    texts(&root.join("tests/compose"), &mut found);
    texts(&root.join("tests/scenarios"), &mut scenarios);
    for scenario in scenarios {
        let files =
            scenario.split("--- ").filter(|part| part.starts_with("file ") && part.contains("compose"));
        found.extend(files.filter_map(|part| part.split_once('\n')).map(|(_, body)| body.to_owned()));
    }
    found
}

/// A small generator (xorshift64*), so that a failure comes again with the same number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % sides.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

const SCRAPS: [&str; 24] = [
    "&a ",
    "*a",
    "<<: *a",
    "!reset null",
    "!override ",
    "${X:-",
    "}",
    "$",
    "- ",
    ": ",
    "{",
    "]",
    "\t",
    "\u{0}",
    "\u{2028}",
    "é",
    "'",
    "\"",
    "|\n",
    "---\n",
    "99999999999999999999",
    "1e309",
    "0-65535:0-65535",
    "services:\n  a: *b\n",
];

/// A few edits of lines and characters.
fn mutated(dice: &mut Dice, corpus: &[&str]) -> String {
    let mut lines: Vec<String> = dice.pick(corpus).lines().map(str::to_owned).collect();
    for _ in 0..=dice.roll(2) {
        let at = dice.roll(lines.len());
        match dice.roll(8) {
            0 if lines.len() > 1 => _ = lines.remove(at),
            1 => lines.insert(at, lines.get(at).cloned().unwrap_or_default()),
            2 | 5 => {
                let other = dice.pick(corpus).lines().collect::<Vec<_>>();
                lines.insert(at, dice.pick(&other).to_owned());
            }
            3 | 4 => lines.iter_mut().skip(at).take(3).for_each(|line| line.insert_str(0, "  ")),
            _ => {
                let Some(line) = lines.get_mut(at) else { continue };
                let end = line.char_indices().map(|(at, _)| at).nth(dice.roll(40)).unwrap_or(line.len());
                line.insert_str(end, dice.pick(&SCRAPS));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn no_edit_of_a_compose_file_makes_its_reader_panic_or_wait() {
    let corpus = corpus();
    let corpus: Vec<&str> =
        corpus.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
    assert!(corpus.len() > 100, "the corpus has only {} files", corpus.len());
    let (mut dice, mut right) = (Dice(0x5eed), 0);
    for number in 0..6_000 {
        let (file, other) = (mutated(&mut dice, &corpus), mutated(&mut dice, &corpus));
        let files = [
            ("services/t/compose.yaml", &file),
            ("services/t/base.yaml", &other),
            ("services/t/app.env", &other),
        ];
        let tree = Tree::from_files(files);
        let started = std::time::Instant::now();
        let source = Source::read(&tree, "services/t", &ReadSpec::default());
        if let Ok(rendered) = source.and_then(|source| source.render(&tree, &Variables::new())) {
            right += 1;
            let places = rendered.places_in(&tree);
            for power in rendered.powers.below(1024) {
                let keys: Vec<&str> = power.path.iter().map(|key| &**key).collect();
                assert!(places(&keys).is_some(), "edit {number}: {keys:?} is nowhere in\n{file}");
            }
            let _ = labelled(&rendered.model, &BTreeMap::new());
        }
        assert!(started.elapsed().as_secs() < 5, "edit {number} took {:?}:\n{file}", started.elapsed());
    }
    assert!(right > 300, "only {right} edited files could be rendered: the edits are too rough to test much");
}

/// Thousands of powers against thousands of grants, and mistakes in grants: answered, in bounded time.
#[test]
fn a_flood_of_powers_and_grants_is_neither_a_panic_nor_a_wait() {
    let sysctls: String = (0..5_000).map(|number| format!("      - a.b{number}=1\n")).collect();
    let many = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<Vec<_>>().join(", ");
    let grants: String = (0..2_000)
        .map(|number| format!("  - {{capabilities: ['sysctl:x{number}', nonsense{number}], services: [none{number}, '*'], reason: r}}\n"))
        .collect();
    let (capabilities, services) =
        (many(5_000, &|number| format!("'bind:/{number}'")), many(5_000, &|number| format!("s{number}")));
    let files = [
        ("gitops.toml", "format = 1\nname = \"t\"\n".to_owned()),
        ("nodes/a.yaml", "node: a\n".to_owned()),
        ("controls/many.yaml", format!("control: many\nenforcement: strict\ngrants:\n{grants}")),
        (
            "controls/wide.yaml",
            format!(
                "control: wide\nenforcement: strict\ngrants:\n  - capabilities: [{capabilities}]\n    services: [{services}]\n    reason: r\n"
            ),
        ),
        ("services/web/service.yaml", "service: web\nplace: {nodes: [a]}\n".to_owned()),
        ("services/web/compose.yaml", format!("services:\n  app:\n    image: i\n    sysctls:\n{sysctls}")),
    ];
    let started = std::time::Instant::now();
    let found = load(&Arc::new(Tree::from_files(files)), NOW).expect_err("nothing of it is granted");
    assert!(found.contains("capability-not-granted"), "{found}");
    assert!(started.elapsed().as_secs() < 20, "it took {:?}", started.elapsed());
}

#[test]
fn what_is_deployed_goes_on_after_its_grant_has_ended_and_gains_nothing() {
    let (granted, later) = ("2026-01-01T00:00:00Z", "2027-06-01T00:00:00Z");
    let wishes = [Wish { powers: BTreeMap::from([(0, 0)]) }];
    let gift = Gift { power: Some(0), service: Some(0), node: None, until: Some("2027-01-31") };
    let tree = tree(&wishes, &[gift]);
    let deployed = plan(&load(&tree, granted).expect("it is granted"), &BTreeMap::new(), granted);
    let plans: BTreeMap<NodeName, Arc<NodePlan>> =
        deployed.plans.iter().map(|plan| (plan.node.clone(), plan.clone())).collect();
    assert_eq!(planned(&deployed).len(), NODES.len());
    assert!(load(&tree, later).is_err(), "a commit that uses an ended grant is refused");
    let revision: Revision = "1".repeat(40).parse().expect("forty digits");
    let resumed = Definitions::resume(revision, &tree, &Known::at(time(later))).expect("it is deployed");
    assert!(plan(&resumed, &plans, later).plans.is_empty(), "what runs is left alone");
    let lost = plan(&resumed, &BTreeMap::new(), later);
    assert!(planned(&lost).is_empty(), "without its plans, nothing is planned that nothing grants any more");
}
