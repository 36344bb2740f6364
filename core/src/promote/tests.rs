//! What is carried and what is not, and in which order.

use super::*;
use crate::reconcile::{Definitions, Known};
use crate::tree::Tree;

const SETTINGS: &str = "format = 1\nname = \"t\"\n[environments.test]\nnodes = { stage = \"test\" }\norder = 1\n\
    [environments.staging]\nnodes = { stage = \"staging\" }\norder = 2\n\
    [environments.production]\nnodes = { stage = \"production\" }\norder = 3\n\
    [environments.lab]\nnodes = { stage = \"lab\" }\n[environments.attic]\nnodes = { stage = \"attic\" }\n";

/// Definitions with one service that has these environments.
fn definitions(environments: &str) -> Definitions {
    let service = format!("service: web\nplace: {{all: true}}\nenvironments:\n{environments}");
    let stages = ["test", "staging", "production", "lab", "attic"];
    let mut files: Vec<(String, String)> = stages
        .map(|stage| (format!("nodes/{stage}.yaml"), format!("node: {stage}\nlabels: {{stage: {stage}}}\n")))
        .to_vec();
    files.push(("gitops.toml".into(), SETTINGS.into()));
    files.push(("services/web/service.yaml".into(), service));
    files.push(("features/tls.yaml".into(), "feature: tls\nstate: implemented\n".into()));
    for path in ["compose.yaml", "other.yaml"] {
        files.push((format!("services/web/{path}"), "services: {app: {image: 'i:1'}}\n".into()));
    }
    let revision = "0".repeat(40).parse().expect("a revision");
    let known = Known::at("2026-01-01T00:00:00Z".parse().expect("a time"));
    Definitions::examine(revision, &Arc::new(Tree::from_files(files)), &known)
}

/// What the service's environments become, or why not.
fn promoted(
    environments: &str,
    from: &str,
    to: &str,
    variables: &[&str],
) -> Result<Option<String>, PromoteError> {
    let variables: Vec<String> = variables.iter().map(|name| (*name).to_owned()).collect();
    let request = Request { service: "web", from, to, variables: &variables };
    let promotion = promotion(&definitions(environments).catalog, &request)?;
    let after = |promotion: Promotion| {
        promotion.content.split_once("environments:\n").map(|(_, after)| after.to_owned())
    };
    Ok(promotion.and_then(after))
}

fn check(environments: &str, variables: &[&str], expected: Option<&str>) {
    let found = promoted(environments, "staging", "production", variables);
    assert_eq!(found, Ok(expected.map(str::to_owned)), "{environments}");
}

#[test]
fn what_runs_is_carried_and_where_and_how_it_runs_is_not() {
    check(
        "  staging:\n    compose: other.yaml\n    profiles: [a, b]\n    features: [tls]\n    controls: []\n    state: stopped\n    \
         place: {nodes: [staging]}\n    health: {within: 1m}\n    on_file_change: nothing\n    resources: {cpu: 1}\n    \
         variables: {TAG: '1'}\n  production:\n    place: {nodes: [production]} # here\n",
        &[],
        Some(
            "  staging:\n    compose: other.yaml\n    profiles: [a, b]\n    features: [tls]\n    controls: []\n    state: stopped\n    \
             place: {nodes: [staging]}\n    health: {within: 1m}\n    on_file_change: nothing\n    resources: {cpu: 1}\n    \
             variables: {TAG: '1'}\n  production:\n    place: {nodes: [production]} # here\n    compose: other.yaml\n    \
             profiles: [a, b]\n    features: [tls]\n    variables:\n      TAG: \"1\"\n",
        ),
    );
}

#[test]
fn only_what_differs_is_carried() {
    check("  staging:\n  production:\n", &[], None);
    check("  staging: {variables: {A: '1'}}\n  production: {variables: {A: 1}}\n", &[], None);
    check("  staging: {state: stopped}\n  production:\n", &[], None);
    let both = "  staging: {compose: other.yaml, variables: {A: x, B: z}}\n  production:\n";
    check(
        both,
        &["B"],
        Some(
            "  staging: {compose: other.yaml, variables: {A: x, B: z}}\n  production:\n    variables:\n      B: z\n",
        ),
    );
    check(
        "  staging: {variables: {A: x}}\n  production: {variables: {A: w, B: mine}}\n",
        &[],
        Some("  staging: {variables: {A: x}}\n  production: {variables: {A: x, B: mine}}\n"),
    );
}

#[test]
fn a_change_goes_to_the_next_environment_of_the_service() {
    let all =
        "  test: {variables: {A: x}}\n  staging:\n  production:\n  lab: {variables: {A: x}}\n  attic:\n";
    let goes =
        |environments: &str, from, to| promoted(environments, from, to, &[]).map(|content| content.is_some());
    assert_eq!(goes(all, "test", "staging"), Ok(true));
    assert_eq!(
        goes("  test: {variables: {A: x}}\n  production:\n", "test", "production"),
        Ok(true),
        "it skips no stage of its own"
    );
    assert_eq!(goes(all, "lab", "attic"), Ok(true), "nothing says which comes first");
    let not_next = |from: &str, to: &str, next: Option<&str>| PromoteError::NotNext {
        from: from.into(),
        to: to.into(),
        next: next.map(Into::into),
    };
    assert_eq!(goes(all, "test", "production"), Err(not_next("test", "production", Some("staging"))));
    assert_eq!(goes(all, "staging", "test"), Err(not_next("staging", "test", Some("production"))));
    assert_eq!(goes(all, "production", "test"), Err(not_next("production", "test", None)));
    assert_eq!(goes(all, "test", "lab"), Err(PromoteError::NoOrder { environment: "lab".into() }));
    assert_eq!(goes(all, "lab", "test"), Err(PromoteError::NoOrder { environment: "lab".into() }));
    assert_eq!(goes(all, "lab", "lab"), Err(PromoteError::Same { environment: "lab".into() }));
}

#[test]
fn what_only_a_person_should_change_is_left() {
    let shared = "  staging: {variables: &all {A: x}}\n  production: {variables: *all}\n";
    check(shared, &[], None);
    let merged = "  staging: {variables: {A: x}}\n  test: &base {variables: {A: w}}\n  production: *base\n";
    let found = promoted(merged, "staging", "production", &[]);
    assert!(matches!(found, Err(PromoteError::Edit { .. })), "{found:?}");
}
