//! `kill -9` at random moments, in the midst of work.

use std::time::Duration;

use super::docker::ids;
use super::world::{Side, World, compose};

use Side::{Left, Right};

const ROUNDS: u64 = 20;

/// Moments that look random and are the same in every run (Marsaglia's xorshift, 64 bits).
struct Moments(u64);

impl Moments {
    fn next(&mut self, within: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        within.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Every round asks for three new containers on one node and one on the other.
fn push_round(world: &World, round: u64) {
    let round = format!("environment: {{ROUND: \"{round}\"}}");
    world.service("web", &[Left], &compose(&[("a", &round), ("b", &round), ("c", &round)]));
    world.service("app", &[Right], &compose(&[("app", &round)]));
    world.push(&round);
}

fn check_round(world: &World, round: u64) {
    for (side, number) in [(Left, 3), (Right, 1)] {
        let containers = world.containers(side);
        assert_eq!(ids(&containers).len(), number, "{containers:?}");
        for container in containers.values().flatten() {
            assert!(container.is_running(), "{container:?}");
            assert!(container.environment.contains(&format!("ROUND={round}")), "{container:?}");
        }
    }
}

#[test]
fn an_agent_killed_in_the_midst_of_its_work_ends_it_after_its_next_start() {
    let Some(mut world) = World::new("agent") else { return };
    push_round(&world, 0);
    world.start();
    world.settle();
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    let mut in_the_midst = 0;
    for round in 1..=ROUNDS {
        push_round(&world, round);
        let begun = world.agent(Left).said().len();
        world.wait("the agent begins", |world| {
            world.agent(Left).said()[begun..].contains("services.a.environment")
        });
        std::thread::sleep(moments.next(Duration::from_millis(1500)));
        let was_done = world.node_status(Left)["state"] == "ok";
        world.agent(Left).kill();
        in_the_midst += u64::from(!was_done);
        world.start_agent(Left);
        world.settle();
        check_round(&world, round);
    }
    assert!(
        in_the_midst >= ROUNDS / 4,
        "only {in_the_midst} of {ROUNDS} kills came before the work was done"
    );
}

#[test]
fn a_daemon_killed_in_the_midst_of_its_work_ends_it_after_its_next_start() {
    let Some(mut world) = World::new("daemon") else { return };
    push_round(&world, 0);
    world.start();
    world.settle();
    let mut moments = Moments(0x2545_f491_4f6c_dd1d);
    for round in 1..=ROUNDS {
        push_round(&world, round);
        std::thread::sleep(moments.next(Duration::from_millis(300)));
        world.daemon.as_mut().expect("it was started").kill();
        world.start_daemon();
        world.settle();
        check_round(&world, round);
    }
}
