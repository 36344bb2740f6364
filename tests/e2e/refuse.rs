//! What is not done, and who is told so.

use gitops_core::name::{Digest, Generation};
use gitops_core::plan::{NodePlan, Remove, Step};
use gitops_core::status::PlanId;

use super::docker::ids;
use super::fake::FakeDaemon;
use super::program::Program;
use super::support::said;
use super::world::{Side, World, compose};
use Side::{Left, Right};

#[test]
fn an_invalid_commit_changes_nothing_and_all_its_mistakes_are_shown() {
    let Some(mut world) = World::new("bad") else { return };
    world.service("web", &[Left, Right], &compose(&[("app", "")]));
    world.start();
    world.deploy("a good one");
    let before = [Left, Right].map(|side| (world.containers(side), world.node_status(side)["plan"].clone()));

    world.service("web", &[Left], &compose(&[("app", "environment: {LEVEL: \"${LEVEL}\"}")]));
    world.service("job", &[Right], &compose(&[("app", "build: .")]));
    world.define("nodes/third.yaml", "node: third\nlabel: {}\n");
    let bad = world.push("three mistakes");
    let synced = world.gitops(&["sync", "--wait"]);
    assert_eq!(synced.status.code(), Some(1), "{}", said(&synced));

    let status = world.status();
    assert_eq!((&status["source"]["state"], &status["source"]["newest"]), (&"invalid".into(), &bad.into()));
    let shown = said(&world.gitops(&["status"]));
    for place in ["nodes/third.yaml:2", "services/bad-job/compose.yaml:6", "services/bad-web/compose.yaml:6"]
    {
        assert!(shown.contains(place), "{place} is not in\n{shown}");
    }
    let after = [Left, Right].map(|side| (world.containers(side), world.node_status(side)["plan"].clone()));
    assert_eq!(before, after);

    world.sandbox.git("work", &["revert", "--no-edit", "HEAD"]);
    world.deploy("mended");
}

#[test]
fn a_rewind_waits_until_it_is_accepted() {
    let Some(mut world) = World::new("rewind") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one");
    world.service("web", &[Left], &compose(&[("app", "environment: {STEP: two}")]));
    world.deploy("two");
    let before = world.containers(Left);

    world.sandbox.git("work", &["reset", "--quiet", "--hard", "HEAD~1"]);
    world.service("web", &[Left], &compose(&[("app", "environment: {STEP: other}")]));
    world.commit("another two");
    world.sandbox.git("work", &["push", "--quiet", "--force", "origin", "HEAD:main"]);
    let synced = world.gitops(&["sync"]);
    assert_eq!(synced.status.code(), Some(1), "{}", said(&synced));
    assert!(said(&synced).contains("--accept-rewind"), "{}", said(&synced));
    assert_eq!(world.status()["source"]["state"], "held");
    assert_eq!(world.containers(Left), before);

    let accepted = world.gitops(&["sync", "--accept-rewind", "--wait", "--timeout", "120s"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    let after = world.containers(Left);
    assert_ne!(ids(&after), ids(&before));
    assert!(after["rewind-web/app"][0].environment.contains(&"STEP=other".to_owned()), "{after:?}");
    assert_eq!(world.status()["source"]["state"], "ok");
}

#[test]
fn a_deleted_branch_is_reported_and_the_last_plans_stand_until_it_is_back() {
    let Some(mut world) = World::new("branch") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one");
    let before = (world.containers(Left), world.node_status(Left)["plan"].clone());
    world.sandbox.git("origin.git", &["update-ref", "-d", "refs/heads/main"]);
    world.wait("it is noticed", |world| world.status()["source"]["state"] == "stale");
    let message = world.status()["source"]["message"].to_string();
    assert!(message.contains("the branch `main` has no commit"), "{message}");
    let synced = world.gitops(&["sync"]);
    assert!(!synced.status.success(), "{}", said(&synced));
    assert_eq!((world.containers(Left), world.node_status(Left)["plan"].clone()), before);
    assert_eq!(world.node_status(Left)["state"], "ok");

    world.service("web", &[Left], &compose(&[("app", "environment: {STEP: two}")]));
    world.deploy("two");
    assert_eq!(world.status()["source"]["state"], "ok");
    assert!(world.containers(Left)["branch-web/app"][0].environment.contains(&"STEP=two".to_owned()));
}

#[test]
fn a_second_agent_for_a_node_is_refused_while_the_first_works_on() {
    let Some(mut world) = World::new("twin") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one");
    let command = world.agent_command(Left, "second", &world.url());
    let second = Program::start(command, &world.sandbox.path("second.log"));
    world.wait("the second agent is refused", |_| second.said().contains("second-agent"));

    world.service("web", &[Left], &compose(&[("app", "environment: {STEP: two}")]));
    world.deploy("two");
    assert_eq!(ids(&world.containers(Left)).len(), 1);
    assert!(!world.agent(Left).said().contains("second-agent"), "the first was refused");
    assert!(!world.sandbox.path("state/second/ledger.json").exists(), "the second accepted a plan");
    let first = std::fs::read_to_string(world.sandbox.path("state/twin-left/agent-id")).expect("it has one");
    assert!(second.said().contains(&format!("agent `{first}` on")), "{}", second.said());
}

#[test]
fn an_agent_with_the_token_of_another_node_is_told_so() {
    let Some(mut world) = World::new("token") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one");
    let own = std::fs::read_to_string(world.sandbox.path("token-left.token")).expect("it has one");
    let other = std::fs::read_to_string(world.sandbox.path("token-right.token")).expect("it has one");
    world.agent(Right).stop();
    world.sandbox.write("token-left.token", &other);
    world.wait("it is told", |world| world.agent(Left).said().contains("(wrong-node)"));
    let said = world.agent(Left).said();
    assert!(said.contains("the token is that of node `token-right`"), "{said}");
    assert!(!said.contains("second-agent"), "{said}");
    // It did not take the other node over, and works again with its own token, which it reads by itself.
    world.start_agent(Right);
    world.sandbox.write("token-left.token", &own);
    world.service("web", &[Left, Right], &compose(&[("app", "")]));
    world.deploy("two");
    assert!(!world.agent(Right).said().contains("second-agent"));
}

/// A plan without work: it names one service that is not there and must not be.
fn plan(world: &World, generation: u64, service: &str) -> NodePlan {
    let service: gitops_core::name::ServiceName = service.parse().expect("a name");
    let step = Remove {
        project: service.as_str().into(),
        service,
        volumes_kept: Vec::new(),
        after: Vec::new(),
        wave: 0,
        spans: Vec::new(),
        because: Vec::new(),
    };
    let revision = "0123456789012345678901234567890123456789".parse().expect("a revision");
    let node = world.node(Left).parse().expect("a name");
    NodePlan::new(
        node,
        Generation(generation),
        Some(Digest::of("parent")),
        revision,
        vec![Step::Remove(step)],
    )
}

#[test]
fn a_plan_that_breaks_a_rule_is_refused_by_name() {
    let Some(mut world) = World::new("ledger") else { return };
    let daemon = FakeDaemon::start();
    let json = |plan: &NodePlan| serde_json::to_value(plan).expect("a plan is JSON");
    let offer = |plan: &NodePlan| daemon.offer(json(plan));
    world.sandbox.write("ledger-left.token", "secret");
    let command = world.agent_command(Left, "ledger-left", &format!("http://127.0.0.1:{}", daemon.port));
    let agent = Program::start(command, &world.sandbox.path("ledger-left.log"));

    let newest = plan(&world, 7, "one");
    offer(&newest);
    let holds = |status: &gitops_core::status::NodeStatus| status.accepted == Some(PlanId::of(&newest));
    world.wait("the plan is accepted", |_| daemon.status().is_some_and(|status| holds(&status)));

    let mut forged = plan(&world, 9, "two");
    forged.digest = Digest::of("something else");
    let mut foreign = plan(&world, 10, "two");
    foreign.node = world.node(Right).parse().expect("a name");
    foreign.digest = foreign.content_digest();
    let mut twice = plan(&world, 11, "two");
    twice.steps.extend(twice.steps.clone());
    twice.digest = twice.content_digest();
    let mut misnamed = json(&plan(&world, 12, "two"));
    misnamed["steps"][0]["remove"]["service"] = "../two".into();
    for (rule, offered) in [
        ("older-generation", json(&plan(&world, 6, "one"))),
        ("changed-plan", json(&plan(&world, 7, "two"))),
        ("bad-digest", json(&forged)),
        ("wrong-node", json(&foreign)),
        ("two-steps", json(&twice)),
        ("unreadable", misnamed),
    ] {
        daemon.offer(offered);
        world.wait(rule, |_| {
            let status = daemon.status().expect("it was reported before");
            status.refused.as_ref().is_some_and(|refused| &*refused.rule == rule) && holds(&status)
        });
    }

    let next = plan(&world, 8, "two");
    offer(&next);
    world.wait("the next plan is accepted", |_| {
        let status = daemon.status().expect("it was reported before");
        status.accepted == Some(PlanId::of(&next)) && status.refused.is_none()
    });
    drop(agent);
}

#[test]
fn a_ledger_that_cannot_be_written_is_told_and_tried_again() {
    let Some(mut world) = World::new("disk") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one");
    let before = world.containers(Left);

    // Where new content is written before it takes the place of the old. A full disk fails in the same place.
    let in_the_way = world.sandbox.path("state").join(world.node(Left)).join(".ledger.json.new");
    std::fs::create_dir(&in_the_way).expect("the state folder is there");
    world.service("web", &[Left], &compose(&[("app", "environment: {STEP: two}")]));
    world.push("two");
    world.wait("the reason is told", |world| world.node_status(Left)["refused"]["rule"] == "not-stored");
    assert_eq!(world.node_status(Left)["state"], "failing");
    let shown = said(&world.gitops(&["status"]));
    assert!(shown.contains("cannot be kept in the agent's state folder"), "{shown}");
    assert!(shown.contains(".ledger.json.new: Is a directory"), "{shown}");
    assert_eq!(world.containers(Left), before);

    std::fs::remove_dir(&in_the_way).expect("it is empty");
    world.settle();
    assert_eq!(world.node_status(Left)["refused"], serde_json::Value::Null);
    assert!(world.containers(Left)["disk-web/app"][0].environment.contains(&"STEP=two".to_owned()));
}
