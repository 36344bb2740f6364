//! A hook and an agent that dies in it.

use super::world::{Side, World};

use Side::Left;

/// Each run writes a line when it begins and one when it ends, which it does not as long as `/kept/hold` is there.
const COMPOSE: &str = r#"services:
  app:
    image: busybox:1.36
    command: sleep 1d
    init: true
    environment: {VERSION: "1"}
    volumes: ["kept:/kept"]
  migrate:
    image: busybox:1.36
    command: sh -c 'echo ran >> /kept/ran; while test -e /kept/hold; do sleep 0.1; done; echo ended >> /kept/ended'
    init: true
    volumes: ["kept:/kept"]
volumes:
  kept:
"#;

/// How many runs of the hook have begun, and how many have ended.
fn runs(world: &World) -> [usize; 2] {
    let containers = world.containers(Left);
    let app = &containers["hook-web/app"][0].id;
    ["/kept/ran", "/kept/ended"]
        .map(|file| world.engine(Left).docker(&["exec", app, "cat", file]).lines().count())
}

#[test]
fn a_hook_runs_once_although_the_agent_is_killed_in_it() {
    let Some(mut world) = World::new("hook") else { return };
    world.service_with("web", &[Left], "hooks: {before: [migrate]}\n", COMPOSE);
    world.start();
    world.deploy("one");
    assert_eq!(runs(&world), [1, 1]);
    let hold = |world: &World, verb: &str| {
        let app = &world.containers(Left)["hook-web/app"][0].id;
        world.engine(Left).docker(&["exec", app, verb, "/kept/hold"]);
    };
    hold(&world, "touch");

    let second = COMPOSE.replace("VERSION: \"1\"", "VERSION: \"2\"");
    world.service_with("web", &[Left], "hooks: {before: [migrate]}\n", &second);
    world.push("two");
    world.wait("the hook is at work", |world| runs(world) == [2, 1]);
    world.agent(Left).kill();
    world.start_agent(Left);
    hold(&world, "rm");
    world.settle();
    assert!(world.containers(Left)["hook-web/app"][0].runs_with("VERSION=2"));
    assert_eq!(runs(&world), [2, 2]);
}
