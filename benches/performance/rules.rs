//! What it takes to judge every service by its controls: five controls of three rules each on every one of them.

use std::sync::Arc;

use gitops::clock;
use gitops_core::govern::Judgements;
use gitops_core::name::Revision;
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::tree::Tree;

use crate::sample;
use crate::workload::{self, Size};

/// Rules as people write them: of the definition, of every container, and of where it runs.
const RULES: [&str; 15] = [
    "compose.services.all(name, has(compose.services[name].mem_limit))",
    "compose.services.all(name, !compose.services[name].image.endsWith(':latest'))",
    "compose.services.all(name, compose.services[name].image.startsWith('registry.example/'))",
    "service.description != null && size(service.description) > 20",
    "compose.services.all(name, has(compose.services[name].healthcheck))",
    "!has(compose.networks) || compose.networks.all(name, name == 'default')",
    "compose.services.all(name, !has(compose.services[name].privileged))",
    "compose.services.all(name, compose.services[name].image.matches(':1[.][0-9]+[.][0-9]+$'))",
    "service.state == 'running'",
    "compose.services.exists(name, name == 'app')",
    "compose.services.all(name, compose.services[name].restart == 'unless-stopped')",
    "has(node.labels.zone) && node.labels.zone.startsWith('z')",
    "int(service.variables.PORT) >= 10000",
    "compose.services.all(name, 'LOG_LEVEL' in compose.services[name].environment)",
    "size(service.place.nodes) >= 1",
];

/// The workload, and controls that the defaults ask every service to meet.
fn tree(size: Size) -> Arc<Tree> {
    let mut files = workload::files(size);
    let names = ["one", "two", "three", "four", "five"];
    for (name, rules) in names.iter().zip(RULES.chunks(3)) {
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(number, rule)| {
                format!("  - id: rule-{number}\n    level: deny\n    message: it holds\n    expression: >-\n      {rule}\n")
            })
            .collect();
        let text = format!("control: {name}\nenforcement: strict\nrules:\n{}", rules.concat());
        files.push((format!("controls/{name}.yaml"), text));
    }
    let settings = files.iter_mut().find(|(path, _)| path == "gitops.toml").expect("it has settings");
    settings.1.push_str(&format!("\n[defaults]\ncontrols = {names:?}\n"));
    Arc::new(Tree::from_files(files))
}

pub(crate) fn rules(size: Size, runs: usize) {
    let revision: Revision = "0000000000000000000000000000000000000000".parse().expect("forty digits");
    let now = clock::now();
    let tree = tree(size);
    let definitions = Definitions::load(revision, &tree, &Known::at(now)).expect("every rule holds");
    let Definitions { catalog, desired, .. } = &definitions;
    sample::row(
        "all 15 rules of every service, from its render",
        runs,
        "≤ 150 ms",
        |_| (),
        |()| {
            let (judgements, found) = Judgements::new(catalog, desired, None, now);
            assert!(found.is_empty(), "{found:?}");
            judgements
        },
    );
}
