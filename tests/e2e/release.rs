//! A release that fails undoes itself, and what fails on the first node never comes to the second.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::docker::{Containers, ids};
use super::world::{Side, World, compose};

use Side::{Left, Right};

const BOTH: [Side; 2] = [Left, Right];

/// A Compose file of one container in some version that keeps something in a volume.
fn keeping(version: u8, more: &str) -> String {
    let fields = format!("environment: {{VERSION: \"{version}\"}}\nvolumes: [\"kept:/kept\"]\n{more}");
    compose(&[("app", &fields)]) + "volumes:\n  kept:\n"
}

/// Whether every container of the service, on every node that has it, runs in this version.
fn all_run(world: &World, service: &str, version: u8) -> bool {
    let name = format!("{}/app", world.full(service));
    BOTH.iter().all(|side| {
        let containers = world.containers(*side);
        let runs = |container: &super::docker::Container| container.runs_with(&format!("VERSION={version}"));
        containers.get(&name).is_some_and(|all| all.len() == 1 && all.iter().all(runs))
    })
}

fn wait_until_undone(world: &mut World) {
    world.wait("the release is undone", |world| {
        let newest = world.told(&["releases", "--limit", "1"]);
        newest.lines().nth(1).is_some_and(|line| line.contains("  undone  "))
    });
}

fn id<'c>(containers: &'c Containers, name: &str) -> &'c str {
    ids(containers)[name]
}

#[test]
fn a_release_whose_second_wave_fails_gives_both_nodes_back_what_ran_before_with_its_data() {
    let Some(mut world) = World::new("undo") else { return };
    let second = "rollout: {wave: 1, max_unavailable: 100%}\nhealth: {within: 8s}\n";
    let healthy = "healthcheck: {test: [CMD, test, -e, /kept/ready], interval: 1s, retries: 2}";
    let define = |world: &World, version: u8, check: &str| {
        world.service_with("db", &BOTH, "rollout: {max_unavailable: 100%}\n", &keeping(version, ""));
        world.service_with("web", &BOTH, second, &keeping(version, check));
    };
    define(&world, 1, "");
    world.start();
    world.deploy("one");
    let before = BOTH.map(|side| world.containers(side));
    let data = |world: &World| {
        BOTH.map(|side| {
            let (engine, containers) = (world.engine(side).clone(), world.containers(side));
            ["db", "web"].map(|service| {
                let volume = engine.volume(&format!("undo-{service}_kept"));
                let app = id(&containers, &format!("undo-{service}/app")).to_owned();
                (volume, engine.docker(&["exec", &app, "ls", "/kept"]))
            })
        })
    };
    for (side, containers) in BOTH.iter().zip(&before) {
        for id in ids(containers).into_values() {
            world.engine(*side).docker(&["exec", id, "touch", "/kept/rows"]);
        }
    }
    let kept = data(&world);
    assert!(kept.iter().flatten().all(|(_, files)| files == "rows\n"), "{kept:?}");

    define(&world, 2, healthy);
    let bad = world.push("two");
    world.wait("the first wave is done", |world| all_run(world, "db", 2));
    wait_until_undone(&mut world);
    assert!(all_run(&world, "db", 1) && all_run(&world, "web", 1));
    assert_eq!(data(&world), kept, "the same volumes with the same files");
    let undone = BOTH.map(|side| world.containers(side));
    for (side, before) in undone.iter().zip(&before) {
        assert_ne!(id(side, "undo-db/app"), id(before, "undo-db/app"), "it was another one in between");
    }
    is_told(&world, &bad);
    // It stays so by itself.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(BOTH.map(|side| world.containers(side)), undone);

    for side in BOTH {
        let app = id(&undone[side as usize], "undo-web/app");
        world.engine(side).docker(&["exec", app, "touch", "/kept/ready"]);
    }
    world.told(&["retry"]);
    world.wait("it has begun again", |world| world.status()["source"]["state"] == "ok");
    world.settle();
    assert!(all_run(&world, "db", 2) && all_run(&world, "web", 2));
    assert_eq!(world.status()["source"]["state"], "ok");
}

/// The revision is in quarantine, and it is said which, why, and what to do.
fn is_told(world: &World, bad: &str) {
    let source = world.status()["source"].clone();
    assert_eq!((&source["state"], &source["deployed"]), (&"failed".into(), &bad.into()));
    let status = world.told(&["status"]);
    // Which of the two nodes is the first to say so, is not known.
    for text in ["`undo-web` on undo-", " failed: not healthy within 8 seconds", "gitops retry"] {
        assert!(status.contains(text), "`{text}` is not in\n{status}");
    }
    let synced = world.gitops(&["sync", "--wait"]);
    assert_eq!(synced.status.code(), Some(1), "{}", super::support::said(&synced));
    assert!(
        super::support::said(&synced).contains("failed and is undone"),
        "{}",
        super::support::said(&synced)
    );
}

#[test]
fn a_canary_that_fails_is_the_only_one_and_the_next_revision_goes_on() {
    let Some(mut world) = World::new("canary") else { return };
    let fields = "rollout: {strategy: canary, soak: 2s}\nhealth: {within: 60s}\n";
    world.service_with("web", &BOTH, fields, &keeping(1, ""));
    world.start();
    world.deploy("one");
    let before = BOTH.map(|side| world.containers(side));

    // It ends at once, and again each time that Docker starts it.
    let bad = keeping(2, "restart: always\nentrypoint: [sh, -c, \"echo no such table >&2; exit 3\"]");
    world.service_with("web", &BOTH, fields, &bad);
    world.push("two");
    wait_until_undone(&mut world);
    assert!(all_run(&world, "web", 1));
    let after = BOTH.map(|side| world.containers(side));
    assert_ne!(id(&after[0], "canary-web/app"), id(&before[0], "canary-web/app"));
    assert_eq!(after[1], before[1], "the second node runs on, untouched");
    let shown = world.told(&["status"]);
    assert!(
        shown.contains("`canary-web` on canary-left failed") && shown.contains("no such table"),
        "{shown}"
    );

    world.service_with("web", &BOTH, fields, &keeping(3, ""));
    world.deploy("three");
    assert!(all_run(&world, "web", 3));
    let started = BOTH.map(|side| {
        let app = &world.containers(side)["canary-web/app"][0];
        app.started.parse::<Timestamp>().expect("Docker tells the time")
    });
    let stood = started[1].duration_since(started[0]);
    assert!(stood >= SignedDuration::from_secs(2), "the second followed after {stood:#}");
}
