//! The controls of `examples/controls`: each is met by a service that does what it asks, and says what is missing to one
//! that does not.

#![allow(clippy::disallowed_methods, reason = "the test reads the example")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use gitops_core::diagnostic::Diagnostic;
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::tree::Tree;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Compose fields of a container that no sample has anything to say against.
const GOOD: &str = "image: shop@DIGEST, mem_limit: 64m, restart: unless-stopped, read_only: true, healthcheck: {test: [CMD, 'true']}";

/// The files of the samples.
fn samples() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/controls");
    let mut files = Vec::new();
    for folder in ["controls", "features"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the samples are there") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().expect("it is a file").to_string_lossy().into_owned();
            files.push((format!("{folder}/{name}"), std::fs::read(&path).expect("it can be read")));
        }
    }
    files
}

/// The findings about one service `shop`, in a repository with the samples and a node on each side of the ocean.
fn findings(service: &str, compose: &str) -> Vec<Diagnostic> {
    let text = |path: &str, text: String| (path.to_owned(), text.into_bytes());
    let compose = compose.replace("GOOD", GOOD).replace("DIGEST", DIGEST);
    let own = [
        text("gitops.toml", "format = 1\nname = \"sample\"\n".to_owned()),
        text(
            "nodes/eu.yaml",
            "node: eu\nlabels: {region: eu-central}\ncapabilities: [disk-encryption@1]\n".to_owned(),
        ),
        text("nodes/us.yaml", "node: us\nlabels: {region: us-east}\n".to_owned()),
        text("services/shop/service.yaml", format!("service: shop\n{service}\n")),
        text("services/shop/compose.yaml", compose),
    ];
    let tree = Tree::from_files(samples().into_iter().chain(own));
    let now = "2026-06-01T00:00:00Z".parse().expect("a timestamp");
    let revision = "0000000000000000000000000000000000000000".parse().expect("a revision");
    Definitions::examine(revision, &Arc::new(tree), &Known::at(now)).findings
}

/// What a control found missing: `✗ NAME …` in the lines below its finding.
fn missing(found: &[Diagnostic], control: &str) -> BTreeSet<String> {
    let about = format!("control `{control}` ");
    let of_control = found.iter().filter(|one| &*one.code == "control-not-satisfied");
    let notes = of_control.filter(|one| one.message.starts_with(&about)).flat_map(|one| &one.notes);
    let names = notes.filter_map(|note| note.strip_prefix("✗ ")?.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_samples_have_no_mistake_by_themselves() {
    let found = findings("place: {nodes: [eu]}", "services: {app: {GOOD}}");
    let errors: Vec<&Diagnostic> = found.iter().filter(|one| one.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn each_sample_is_met_by_one_service_and_not_by_another() {
    let check = |control: &str, met: [&str; 2], unmet: [&str; 2], expected: &[&str]| {
        let found = findings(met[0], met[1]);
        let errors: Vec<&Diagnostic> = found.iter().filter(|one| one.is_error()).collect();
        assert!(errors.is_empty(), "{control}: {errors:#?}");
        assert_eq!(missing(&found, control), BTreeSet::new(), "{control}");
        let found = findings(unmet[0], unmet[1]);
        let missing: Vec<String> = missing(&found, control).into_iter().collect();
        assert_eq!(missing, expected, "{control}: {found:#?}");
    };
    check(
        "compose-hygiene",
        [
            "controls: [compose-hygiene]\nplace: {nodes: [us]}",
            "services: {app: {GOOD}, task: {image: job:1.2, mem_limit: 8m}}",
        ],
        [
            "controls: [compose-hygiene]\nplace: {nodes: [us]}",
            "services: {app: {image: nginx, restart: always}}",
        ],
        &["health-check", "image-pinned", "memory-limit", "no-latest-tag"],
    );
    check(
        "pci-dss-4.0",
        [
            "labels: {data: cardholder, owner: till}\nplace: {nodes: [us]}",
            "x-tls: {rotation: {strategy: daily}}\nx-audit: {to: audit.example.com}\nservices: {app: {GOOD}}",
        ],
        [
            "labels: {data: cardholder}\nplace: {nodes: [us]}",
            "services: {app: {image: 'till:1.0', mem_limit: 8m, privileged: true, environment: {DB_PASSWORD: x}}}",
        ],
        &[
            "image-by-digest",
            "log.audit",
            "no-privileged-container",
            "no-secret-in-environment",
            "owner-named",
            "tls.rotation",
        ],
    );
    check(
        "soc2-type2",
        [
            "labels: {tier: production, owner: web}\nfeatures: [log.audit]\nplace: {nodes: [us]}",
            "services: {app: {GOOD}}",
        ],
        [
            "labels: {tier: production}\nplace: {nodes: [us]}",
            "services: {app: {image: 'web:1.0', mem_limit: 8m}}",
        ],
        &["comes-back", "log.audit", "owner-named"],
    );
    check(
        "hipaa",
        [
            "labels: {data: health}\nfeatures: [log.audit]\nplace: {nodes: [eu]}",
            "services: {app: {GOOD, ports: ['127.0.0.1:8080:80']}}",
        ],
        [
            "labels: {data: health}\nplace: {nodes: [us]}",
            "services: {app: {image: 'web:1.0', mem_limit: 8m, ports: ['8080:80']}, side: {GOOD, network_mode: host}}",
        ],
        &["disk.encrypted", "log.audit", "no-open-port", "own-network", "read-only-root"],
    );
    check(
        "gdpr",
        [
            "labels: {data: personal, retention: 90d}\ndescription: Orders, until they are paid and delivered\n\
             place: {nodes: [eu]}",
            "services: {app: {GOOD}}",
        ],
        ["labels: {data: personal}\nplace: {nodes: [us]}", "services: {app: {GOOD}}"],
        &["disk.encrypted", "purpose-stated", "retention-stated"],
    );
    check(
        "data-residency-eu",
        ["labels: {residency: eu}\nplace: {nodes: [eu]}", "services: {app: {GOOD}}\nvolumes: {data: {}}"],
        [
            "labels: {residency: eu}\nplace: {nodes: [us]}",
            "services: {app: {GOOD, volumes: ['data:/data']}}\nvolumes: {data: {driver_opts: {type: nfs, o: 'addr=10.0.0.1', device: ':/x'}}}",
        ],
        &["data-on-the-node", "node-in-the-eu", "residency.eu"],
    );
}
