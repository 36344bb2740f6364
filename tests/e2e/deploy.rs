//! From a push to containers, and to none where none are due.

use super::docker::ids;
use super::world::{Side, World, compose};

use Side::{Left, Right};

#[test]
fn a_push_reaches_both_nodes() {
    let Some(mut world) = World::new("push") else { return };
    world.service("web", &[Left, Right], &compose(&[("app", ""), ("side", "")]));
    world.service("cache", &[Right], &compose(&[("store", "")]));
    world.start();
    world.deploy("the first services");

    let (left, right) = (world.containers(Left), world.containers(Right));
    assert_eq!(ids(&left).into_keys().collect::<Vec<_>>(), ["push-web/app", "push-web/side"]);
    assert_eq!(
        ids(&right).into_keys().collect::<Vec<_>>(),
        ["push-cache/store", "push-web/app", "push-web/side"]
    );
    assert!(left.values().chain(right.values()).flatten().all(super::docker::Container::is_running));
    for side in [Left, Right] {
        let node = world.node_status(side);
        assert_eq!(node["accepted"], node["plan"], "the agent says that it has the plan");
        assert_eq!(node["state"], "ok");
    }
    what_was_done_is_shown(&mut world);
}

/// The agents hand over what they did while they do it; the last of it comes within a second or two.
fn what_was_done_is_shown(world: &mut World) {
    let logs = |world: &World, what: &str| {
        let output = world.gitops(&["logs", what]);
        assert!(output.status.success(), "{}", super::support::said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    world.wait("the log of both nodes is whole", |world| {
        logs(world, "push-web").matches("  done\n").count() == 2
    });
    let left = logs(world, "push-web@push-left");
    assert!(!left.contains("push-right"), "{left}");
    let said =
        ["begins: ", "docker compose up\n", "Container push-web-app-1  Started", "returned after", "done"];
    let places: Vec<Option<usize>> = said.iter().map(|text| left.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in\n{left}");
}

#[test]
fn an_edited_file_recreates_the_one_container_that_mounts_it() {
    let Some(mut world) = World::new("mount") else { return };
    let mounting = "volumes: [\"./site:/site:ro\"]";
    world.service("web", &[Left], &compose(&[("front", mounting), ("back", "")]));
    world.service("other", &[Left], &compose(&[("app", "")]));
    world.define("services/mount-web/site/page", "one");
    world.start();
    world.deploy("one");
    let before = world.containers(Left);

    world.define("services/mount-web/site/page", "two");
    world.deploy("two");
    let after = world.containers(Left);
    let (before, after) = (ids(&before), ids(&after));
    let changed: Vec<&str> = before.keys().copied().filter(|name| before[name] != after[name]).collect();
    assert_eq!((changed.as_slice(), after.len()), (&["mount-web/front"][..], 3));
    let page = world.engine(Left).docker(&["exec", after["mount-web/front"], "cat", "/site/page"]);
    assert_eq!(page, "two");
}

#[test]
fn fifty_commits_that_touch_nothing_restart_nothing() {
    let Some(mut world) = World::new("idle") else { return };
    let file = compose(&[("app", ""), ("side", "environment: {A: \"1\", B: \"2\"}")]);
    world.service("web", &[Left, Right], &file);
    world.start();
    world.deploy("the service");
    let state = |world: &World| {
        [Left, Right].map(|side| (world.containers(side), world.node_status(side)["plan"].clone()))
    };
    let before = state(&world);

    for number in 0..50 {
        match number % 5 {
            0 => world.define("README.md", &format!("Commit {number}.\n")),
            1 => world.define("services/idle-web/notes.txt", &format!("Not mounted, {number}.\n")),
            2 => world.define("services/idle-web/compose.yaml", &format!("# Comment {number}.\n{file}")),
            3 => {
                let turned = file.replace("{A: \"1\", B: \"2\"}", "{B: \"2\",   A: \"1\"}");
                world.define("services/idle-web/compose.yaml", &turned);
            }
            _ => world
                .define("nodes/idle-left.yaml", &format!("node: idle-left\ndescription: Commit {number}\n")),
        }
        let revision = world.push(&format!("commit {number}"));
        let synced = world.gitops(&["sync"]);
        assert!(synced.status.success(), "{}", super::support::said(&synced));
        assert_eq!(world.status()["source"]["deployed"], revision);
    }
    world.settle();
    assert_eq!(state(&world), before, "the same containers run since the same time, by the same plan");
}

#[test]
fn a_removed_service_goes_and_its_volume_stays() {
    let Some(mut world) = World::new("gone") else { return };
    let file = compose(&[("store", "volumes: [\"pages:/pages\"]")]) + "volumes:\n  pages:\n";
    world.service("cache", &[Left], &file);
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("both");
    let before = world.containers(Left);
    let store = ids(&before)["gone-cache/store"];
    world.engine(Left).docker(&["exec", store, "sh", "-c", "echo kept > /pages/page"]);

    std::fs::remove_dir_all(world.sandbox.path("work/services/gone-cache")).expect("the folder is there");
    world.push("without the cache");
    world.wait("the data that stays behind is asked about", |world| {
        let waiting = world.status()["awaiting"].as_array().cloned().unwrap_or_default();
        waiting.iter().any(|one| {
            let plan = one["plan"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
            world.gitops(&["approve", &plan[..12]]).status.success()
        })
    });
    world.settle();
    let after = world.containers(Left);
    assert_eq!(ids(&after).into_keys().collect::<Vec<_>>(), ["gone-web/app"]);
    assert_eq!(world.engine(Left).networks("gone-cache"), [""; 0]);
    assert_eq!(world.engine(Left).volumes("gone-cache"), ["gone-cache_pages"]);

    world.service("cache", &[Left], &file);
    world.deploy("with the cache again");
    let back = world.containers(Left);
    let page = world.engine(Left).docker(&["exec", ids(&back)["gone-cache/store"], "cat", "/pages/page"]);
    assert_eq!(page, "kept\n");
}
