//! What holds a release until a person or the clock says otherwise, and a node that people empty.

use super::docker::ids;
use super::support::said;
use super::world::{Side, World, compose};

use Side::{Left, Right};

fn version(version: u8) -> String {
    compose(&[("app", &format!("environment: {{VERSION: \"{version}\"}}"))])
}

#[test]
fn a_release_waits_for_approval_by_somebody_who_is_not_its_author() {
    let Some(mut world) = World::new("vote") else { return };
    world.service("web", &[Left], &version(1));
    world.start();
    world.deploy("one");
    let before = world.containers(Left);
    let author = world.operator("robin@example.org");
    let other = world.operator("ada@example.org");

    world.service_with("web", &[Left], "rollout: {approval: true}\n", &version(2));
    world.push("two");
    world.wait("it waits for approval", |world| !world.status()["awaiting"].is_null());
    let plan = world.status()["awaiting"][0]["plan"].as_str().expect("an id").to_owned();
    let plan = &plan.trim_start_matches("sha256:")[..12];
    let (state, message) = world.instance(Left, "web");
    assert_eq!(state, "waiting");
    assert!(message.contains(&format!("`gitops approve {plan}`")), "{message}");
    assert!(world.told(&["approvals"]).contains("still needed: 1 approval"));

    let refused = world.gitops_as(&author, &["approve", plan]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("authors do not approve their own changes"), "{}", said(&refused));
    assert_eq!(world.containers(Left), before);

    let approved = world.gitops_as(&other, &["approve", plan, "-m", "the backup is done"]);
    assert!(approved.status.success(), "{}", said(&approved));
    world.settle();
    assert!(world.containers(Left)["vote-web/app"][0].runs_with("VERSION=2"));
}

#[test]
fn a_window_that_denies_changes_holds_a_release_and_is_named() {
    let Some(mut world) = World::new("freeze") else { return };
    let settings = "format = 1\nname = \"test\"\n";
    world.define("gitops.toml", settings);
    world.service("web", &[Left], &version(1));
    world.start();
    world.deploy("one");
    let before = world.containers(Left);

    let freeze = "[[window]]\nname = \"inventory\"\nkind = \"deny\"\ncron = \"0 0 * * *\"\nduration = \"24h\"\n\
                  reason = \"we count\"\n";
    world.define("gitops.toml", &format!("{settings}\n{freeze}"));
    world.service("web", &[Left], &version(2));
    world.push("two, in the freeze");
    world.wait("it waits for the window", |world| world.instance(Left, "web").0 == "waiting");
    let (_, message) = world.instance(Left, "web");
    assert!(message.starts_with("window `inventory` denies changes"), "{message}");
    assert!(message.ends_with(": we count"), "{message}");
    assert_eq!(world.containers(Left), before);

    world.define("gitops.toml", settings);
    world.deploy("the freeze is over");
    assert!(world.containers(Left)["freeze-web/app"][0].runs_with("VERSION=2"));
}

/// The number of containers of a Compose service that run, on both nodes.
fn running(world: &World, name: &str) -> usize {
    let on = |side| world.containers(side).remove(name).unwrap_or_default();
    [Left, Right].into_iter().flat_map(on).filter(super::docker::Container::is_running).count()
}

#[test]
fn a_drained_node_gives_away_what_can_be_elsewhere_and_stops_the_rest_when_it_is_told_to() {
    let Some(mut world) = World::new("drain") else { return };
    for side in [Left, Right] {
        let node = world.node(side);
        // The left one is liked better, so that it is known what is where.
        let taint = if side == Right { "taints: [\"far=yes:PreferNoSchedule\"]\n" } else { "" };
        world
            .define(&format!("nodes/{node}.yaml"), &format!("node: {node}\nlabels: {{room: hall}}\n{taint}"));
    }
    world.service("fixed", &[Left], &version(1));
    world.define("services/drain-free/service.yaml", "service: drain-free\nplace: {select: {room: hall}}\n");
    world.define("services/drain-free/compose.yaml", &version(1));
    world.start();
    world.deploy("two services");
    let left = world.containers(Left);
    assert_eq!(ids(&left).into_keys().collect::<Vec<_>>(), ["drain-fixed/app", "drain-free/app"]);

    world.told(&["node", "drain", "drain-left", "-m", "new disks"]);
    let mut gap = false;
    world.wait("what can be elsewhere is there", |world| {
        gap |= running(world, "drain-free/app") == 0;
        world.containers(Left).len() == 1 && world.containers(Right).len() == 1
    });
    assert!(!gap, "the new one runs before the old one goes");
    world.settle();
    assert_eq!(ids(&world.containers(Left))["drain-fixed/app"], ids(&left)["drain-fixed/app"]);
    let status = world.told(&["status"]);
    assert!(status.contains("node drain-left is drained") && status.contains("new disks"), "{status}");
    assert!(status.contains("drain of drain-left: 1 service is still there: drain-fixed"), "{status}");

    world.told(&["node", "uncordon", "drain-left"]);
    world.told(&["node", "drain", "drain-left", "--stop", "-m", "new disks"]);
    world.wait("nothing runs there", |world| world.containers(Left).is_empty());
    world.wait("it is told", |world| {
        world.told(&["status"]).contains("drain of drain-left: done, nothing is left there")
    });
    assert_eq!(running(&world, "drain-free/app"), 1);

    world.told(&["node", "uncordon", "drain-left"]);
    world.settle();
    assert_eq!(ids(&world.containers(Left)).into_keys().collect::<Vec<_>>(), ["drain-fixed/app"]);
    assert_eq!(ids(&world.containers(Right)).into_keys().collect::<Vec<_>>(), ["drain-free/app"]);
}
