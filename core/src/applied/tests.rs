//! The words and the ports of what was put somewhere. The whole document is in `tests/releases/history.md`.

use super::*;
use crate::place::Score;

#[test]
fn endpoints_are_the_ports_that_a_model_publishes() {
    let told = |endpoint: &Endpoint| {
        let Endpoint { container, port, protocol, address, target } = endpoint;
        let (port, address) = (port.as_deref().unwrap_or("any"), address.as_deref().unwrap_or("all"));
        format!("{address}:{port} to {container}:{target}/{protocol}")
    };
    let check = |services: &str, expected: &[&str]| {
        let found = endpoints(&Model::from_canonical(format!(r#"{{"services":{services}}}"#)));
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), expected, "{services}");
    };
    check(r#"{"db":{"image":"postgres"}}"#, &[]);
    check(
        r#"{"web":{"ports":[{"mode":"ingress","protocol":"tcp","published":"8080","target":80}]},
            "dns":{"ports":[{"host_ip":"127.0.0.1","protocol":"udp","published":"53","target":53},
                            {"protocol":"tcp","target":53}]}}"#,
        &["all:any to dns:53/tcp", "127.0.0.1:53 to dns:53/udp", "all:8080 to web:80/tcp"],
    );
    // Many at once, as Compose lets them be written.
    check(
        r#"{"ftp":{"ports":[{"protocol":"tcp","published":"8000-8010","target":21}]}}"#,
        &["all:8000-8010 to ftp:21/tcp"],
    );
}

#[test]
fn the_rationale_says_how_the_node_was_found() {
    let check = |asks: Asks, score: Option<Score>, expected: &str| {
        let node = "edge-1".parse().expect("a name");
        let points = score.map(|score| score.points());
        let node = NodeExplained { node, verdict: Word::Chosen, score, points, exclusions: Vec::new() };
        assert_eq!(rationale(asks, &node), expected);
    };
    check(Asks::Named(2), None, "the service names it");
    check(Asks::All, Some(Score::default()), "it is one of all nodes that fit");
    check(Asks::Count(1), Some(Score::default()), "it fits best, with 0 points");
    let score = Score { sticky: 1, preference: 1000, load: -20, ..Score::default() };
    check(Asks::Count(1), Some(score), "it fits best, with 980 points: sticky 1, preference 1000, load -20");
}
