//! Two services on one node, and what they may not both have.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::reconcile::{Definitions, Known};
use crate::tree::Tree;

/// What is found where these Compose files are those of `one`, `two` and so on, all on one node.
fn found(composes: &[&str]) -> Vec<Diagnostic> {
    let mut files = vec![
        ("gitops.toml".to_owned(), "format = 1\nname = \"t\"\ncapabilities = \"warn\"\n".to_owned()),
        ("nodes/a.yaml".to_owned(), "node: a\n".to_owned()),
    ];
    for (name, compose) in ["one", "two", "three"].into_iter().zip(composes) {
        files.push((
            format!("services/{name}/service.yaml"),
            format!("service: {name}\nplace: {{nodes: [a]}}\n"),
        ));
        files.push((format!("services/{name}/compose.yaml"), (*compose).to_owned()));
    }
    let revision = "0".repeat(40).parse().expect("a revision");
    let known = Known::at("2026-01-01T00:00:00Z".parse().expect("a time"));
    let all = Definitions::examine(revision, &Arc::new(Tree::from_files(files)), &known).findings;
    // Many of these take a grant, too, which is not what is looked at.
    all.into_iter().filter(|one| one.code.as_ref() != "capability-not-granted").collect()
}

fn check(composes: &[&str], expected: &[&str]) {
    let found: Vec<String> =
        found(composes).iter().map(|one| format!("{}: {}", one.code, one.message)).collect();
    assert_eq!(found, expected, "{composes:#?}");
}

/// A Compose file whose only container has these fields.
fn container(fields: &str) -> String {
    format!("services: {{c: {{image: 'busybox:1', {fields}}}}}\n")
}

fn ports(one: &str, two: &str, expected: &[&str]) {
    let of = |ports: &str| container(&format!("ports: [{ports}]"));
    check(&[&of(one), &of(two)], expected);
    check(&[&of(two), &of(one)], expected);
}

#[test]
fn a_port_of_the_host_is_for_one() {
    let both = |port: &str| {
        format!("port-collision: services `one` and `two` would both publish port {port} on node `a`")
    };
    ports("'80:80'", "'80:8080'", &[&both("80/tcp")]);
    ports("'80:80'", "'81:80'", &[]);
    ports("'80:80'", "'80:80/udp'", &[]);
    ports("'80:80/udp'", "{target: 1, published: '80', protocol: udp}", &[&both("80/udp")]);
    ports("'80'", "'80'", &[]);
    ports("'0:80'", "'0:80'", &[]);
    ports("'8000-8010:8000-8010'", "'8005:1'", &[&both("8005/tcp")]);
    ports("'8000-8010:8000-8010'", "'8009-8012:9-12'", &[&both("8009/tcp and 1 more")]);
    ports("'20000-30000:20000-30000/udp'", "'25000:1/udp'", &[&both("25000/udp")]);
    ports("'20000-30000:20000-30000/udp'", "'29999-32000:9999-12000/udp'", &[&both("29999/udp and 1 more")]);
    ports("'20000-30000:20000-30000/udp'", "'25000:1/tcp'", &[]);
    // One target takes any port of a range that is free.
    ports("'8000-8010:80'", "'8005:1'", &[]);
}

#[test]
fn different_addresses_of_the_host_have_ports_of_their_own() {
    let both = &["port-collision: services `one` and `two` would both publish port 80/tcp on node `a`"];
    for any in ["", "0.0.0.0:"] {
        ports(&format!("'{any}80:80'"), "'127.0.0.1:80:80'", both);
        ports(&format!("'{any}80:80'"), "'0.0.0.0:80:80'", both);
    }
    ports("'80:80'", "'[::1]:80:80'", both);
    ports("'80:80'", "'[::]:80:80'", both);
    ports("'[::]:80:80'", "'[::1]:80:80'", both);
    ports("'127.0.0.1:80:80'", "'127.0.0.1:80:80'", both);
    ports("'127.0.0.1:80:80'", "'127.0.0.2:80:80'", &[]);
    ports("'127.0.0.1:80:80'", "'[::1]:80:80'", &[]);
    ports("'0.0.0.0:80:80'", "'[::]:80:80'", &[]);
    ports("'0.0.0.0:80:80', '[::]:80:80'", "'81:80'", &[]);
    ports("'127.0.0.1:80:80', '127.0.0.2:80:80'", "'127.0.0.3:80:80', '80:81/udp'", &[]);
    ports("'127.0.0.1:80-99:80-99', '127.0.0.2:80:80'", "'127.0.0.2:90:80', '127.0.0.3:80:80'", &[]);
}

#[test]
fn what_cannot_be_known_or_does_not_run_takes_no_port() {
    let one = container("ports: ['80:80']");
    check(&[&one, &container("network_mode: host, expose: ['80']")], &[]);
    check(&[&one, &container("ports: ['80:80'], scale: 0")], &[]);
}

#[test]
fn three_at_one_port_are_two_findings() {
    let one = container("ports: ['80:80']");
    let both = |two: &str, port: &str| {
        format!("port-collision: services `one` and `{two}` would both publish port {port} on node `a`")
    };
    check(&[&one, &one, &one], &[&both("three", "80/tcp"), &both("two", "80/tcp")]);
}

#[test]
fn containers_of_one_service_collide_too() {
    let two = "services:\n  a: {image: 'i:1', ports: ['80:80']}\n  b: {image: 'i:1', ports: ['80:81']}\n";
    check(
        &[two],
        &["port-collision: two containers of service `one` would both publish port 80/tcp on node `a`"],
    );
    let replicas = |ports: &str| container(&format!("scale: 3, ports: [{ports}]"));
    check(
        &[&replicas("'80:80'")],
        &[
            "port-collision: service `one` has 3 replicas of `c`, and each would publish port 80/tcp on node `a`",
        ],
    );
    check(&[&replicas("'80-82:80'")], &[]);
    check(&[&replicas("'80'")], &[]);
    let found = found(&[&replicas("'80-81:80'")]);
    assert_eq!(found.len(), 1, "two ports are not enough for three: {found:#?}");
    check(
        &[&container("scale: 2, container_name: xy")],
        &[
            "container-name-collision: service `one` has 2 replicas of `c`, and each would have a container `xy` on node `a`",
        ],
    );
}

#[test]
fn a_name_of_docker_is_for_one() {
    let named =
        |name: &str, service: &str| format!("name: {name}\nservices: {{{service}: {{image: 'i:1'}}}}\n");
    let both = |name: &str| {
        format!(
            "container-name-collision: services `one` and `two` would both have a container `{name}` on node `a`"
        )
    };
    check(&[&container("container_name: db"), &container("container_name: db")], &[&both("db")]);
    check(&[&container("container_name: db"), &container("container_name: db2")], &[]);
    check(&[&container("container_name: two-c-1"), &container("")], &[&both("two-c-1")]);
    check(&[&container("container_name: two-c-2"), &container("")], &[]);
    check(&[&container("container_name: two-c-2"), &container("scale: 2")], &[&both("two-c-2")]);
    check(&[&container("container_name: two-c-01"), &container("")], &[]);
    check(&[&named("a-b", "c"), &named("a", "b-c")], &[&both("a-b-c-1")]);
}

#[test]
fn one_project_is_said_and_not_all_names_in_it() {
    let shop = "name: shop\nservices: {c: {image: 'i:1', volumes: ['data:/v'], ports: ['80:80']}}\nvolumes: {data: {}}\n";
    check(
        &[shop, shop],
        &[
            "shared-project: services `one` and `two` would both be Compose project `shop` on node `a`",
            "port-collision: services `one` and `two` would both publish port 80/tcp on node `a`",
        ],
    );
}

#[test]
fn who_only_uses_a_volume_or_a_network_makes_none() {
    let volume = |definition: &str| {
        format!(
            "services: {{c: {{image: 'i:1', volumes: ['data:/v']}}}}\nvolumes: {{data: {{{definition}}}}}\n"
        )
    };
    let both = |thing: &str, name: &str| {
        format!(
            "{thing}-collision: services `one` and `two` would both make the {thing} `{name}` on node `a`"
        )
    };
    check(&[&volume(""), &volume("")], &[]);
    check(&[&volume("name: x"), &volume("name: x")], &[&both("volume", "x")]);
    check(&[&volume("name: x"), &volume("name: x, external: true")], &[]);
    check(&[&volume("name: x, external: true"), &volume("name: x, external: true")], &[]);
    check(&[&volume(""), &volume("name: one_data")], &[&both("volume", "one_data")]);
    let unused = "services: {c: {image: 'i:1'}}\nvolumes: {data: {name: x}}\n";
    check(&[&volume("name: x"), unused], &[]);
    let network = |definition: &str| {
        format!("services: {{c: {{image: 'i:1', networks: [n]}}}}\nnetworks: {{n: {{{definition}}}}}\n")
    };
    check(&[&network("name: x"), &network("name: x")], &[&both("network", "x")]);
    check(&[&container(""), &network("name: one_default")], &[&both("network", "one_default")]);
    check(&[&container("network_mode: none"), &network("name: one_default")], &[]);
    check(&[&container(""), &network("name: one_default, external: true")], &[]);
}
