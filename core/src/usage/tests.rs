//! From files to what a service uses.

use super::*;
use crate::catalog;
use crate::tree::Tree;

/// `== path` and the content below it, one after another, beside settings and a node.
fn catalog(fixture: &str) -> (Catalog, Vec<Diagnostic>) {
    let files = fixture.split("== ").skip(1).map(|part| {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        (path.trim().to_owned(), content.to_owned())
    });
    let ground = [
        ("gitops.toml", "format = 1\nname = \"t\"\n[defaults]\nfeatures = [\"by.default\"]\n"),
        ("nodes/n.yaml", "node: n\nlabels: {gpu: l4}\n"),
        ("features/d.yaml", "feature: by.default\nstate: implemented\n"),
    ];
    let ground = ground.map(|(path, content)| (path.to_owned(), content.to_owned()));
    let tree = Tree::from_files(ground.into_iter().chain(files));
    catalog::load(&Arc::new(tree), None)
}

fn shown(uses: &Uses) -> Vec<String> {
    let by = |used: &Use| match used {
        Use::Named { by, index } => format!("{by:?} {index}"),
        Use::Found { document, way, .. } => format!("{document:?} {}", way.join("/")),
    };
    uses.iter().map(|(name, used)| format!("{name}: {}", by(used))).collect()
}

/// What a service `web` with these fields and this Compose file uses; the feature `found` has these paths.
fn uses(paths: &str, service: &str, compose: &str) -> Vec<String> {
    let fixture = format!(
        "== features/f.yaml\nfeature: found\nstate: implemented\nused_by: [{paths}]\n\
         == services/web/service.yaml\nservice: web\nplace: {{nodes: [n]}}\n{service}\n\
         == services/web/compose.yaml\n{compose}\n"
    );
    let (catalog, found) = catalog(&fixture);
    assert_eq!(found, [], "{fixture}");
    let entry = &catalog.services["web"];
    let subject = Subject { catalog: &catalog, entry, deployment: &entry.deployments[0] };
    let (_, uses) = subject.render(&subject.deployment.source, &Variables::new()).expect("it renders");
    shown(&uses)
}

#[test]
fn a_service_uses_what_it_names_and_what_a_path_finds() {
    let check = |paths: &str, service: &str, compose: &str, expected: &[&str]| {
        assert_eq!(uses(paths, service, compose), expected, "{paths} in {service} or {compose}");
    };
    let plain = "services: {app: {image: i}}";
    let default = "by.default: Defaults 0";
    check("path: services.*.gpus", "", plain, &[default]);
    check("path: services.*.gpus", "features: [found]", plain, &["found: Service 0"]);
    check("path: services.*.gpus", "features: []", plain, &[]);
    let gpus = "services: {app: {image: i}, ml: {image: i, gpus: all}}";
    check("path: services.*.gpus", "features: []", gpus, &["found: Compose services/ml/gpus"]);
    check("path: services.*.gpus", "features: [found]", gpus, &["found: Service 0"]);
    let two = "{path: services.*.privileged}, {path: place.slot}";
    check(two, "features: []", "services: {app: {image: i, privileged: false}}", &[]);
    check(two, "features: []", plain, &[]);
    check("{path: place.nodes.0, value: n}", "features: []", plain, &["found: Service place/nodes/0"]);
    check("path: labels.tier", "features: []\nlabels: {tier: front}", plain, &["found: Service labels/tier"]);
}

#[test]
fn extension_fields_are_searched_as_they_were_merged() {
    let check = |path: &str, compose: &str, expected: &[&str]| {
        assert_eq!(uses(path, "features: []", compose), expected, "{path} in {compose}");
    };
    let found = ["found: Compose x-tls/rotation/strategy"];
    let top = "x-tls: {rotation: {strategy: \"${DAILY}\"}}\nservices: {app: {image: i}}";
    check("path: x-tls.rotation.strategy", top, &found);
    check("path: tls.rotation.strategy", top, &found);
    check("path: tls.rotation", "x-tls: {rotation: {}}\nservices: {app: {image: i}}", &[]);
    let inner = "services: {app: {image: i, x-tls: {on: true}}}";
    check("path: services.*.x-tls.on", inner, &["found: Compose services/app/x-tls/on"]);
    check("path: services.*.tls.on", inner, &[]);
    let extended = "services: {base: {image: i, x-tls: on, profiles: [none]}, app: {extends: base, profiles: !reset []}}";
    check("path: services.*.x-tls", extended, &["found: Compose services/app/x-tls"]);
    let inactive = "services: {app: {image: i}, old: {image: i, x-tls: on, profiles: [old]}}";
    check("path: services.*.x-tls", inactive, &[]);
    let reset = "x-tls: on\nservices: {app: {image: i}}\n---\nx-tls: !reset null";
    check("path: x-tls", reset, &[]);
    let other_kind = "x-tls: [a]\nservices: {app: {image: i}}\n---\nx-tls: {b: c}";
    check("path: x-tls.b", other_kind, &["found: Compose x-tls/b"]);
}

#[test]
fn extension_fields_are_in_no_model() {
    let model = |compose: &str| {
        let text = format!(
            "== services/web/service.yaml\nservice: web\nplace: {{nodes: [n]}}\n== services/web/compose.yaml\n{compose}"
        );
        let (catalog, _) = catalog(&text);
        let entry = &catalog.services["web"];
        entry.deployments[0].source.render(&catalog.tree, &Variables::new()).expect("it renders")
    };
    let [with, without] =
        ["x-a: {b: 1}\nservices: {app: {image: i, x-c: 2}}", "services: {app: {image: i}}"].map(model);
    assert_eq!(with.model, without.model);
    let extensions = with.extensions.expect("it has some");
    assert_eq!(extensions.as_str(), r#"{"services":{"app":{"x-c":2}},"x-a":{"b":1}}"#);
    assert_eq!(without.extensions, None);
}

#[test]
fn an_environment_gives_its_own_list_and_its_own_fields() {
    let (catalog, _) = catalog(
        "== features/f.yaml\nfeature: found\nstate: implemented\nused_by: [{path: place.slot}, {path: variables.B}]\n\
         == services/web/service.yaml\nservice: web\nfeatures: [a]\nplace: {slot: any, count: 2}\nvariables: {A: 1}\n\
         environments:\n  staging: {features: [b], place: {count: 1}}\n  live: {variables: {B: 2}, place: {}}\n  test:\n\
         == services/web/compose.yaml\nservices: {app: {image: i}}\n",
    );
    let entry = &catalog.services["web"];
    let check = |environment: &str, expected: &[&str]| {
        let is =
            |one: &&Deployment| one.environment.as_ref().is_some_and(|name| name.as_str() == environment);
        let deployment = entry.deployments.iter().find(is).expect("it is in the environment");
        let subject = Subject { catalog: &catalog, entry, deployment };
        let (rendered, uses) =
            subject.render(&subject.deployment.source, &Variables::new()).expect("it renders");
        assert_eq!(shown(&uses), expected, "{environment}");
        let lines = uses.values().map(|used| subject.place(Some(&rendered), used).line);
        assert!(lines.into_iter().all(|line| line > 1), "each has a place");
    };
    check("staging", &["b: Environment 0"]);
    check("live", &["a: Service 0", "found: Environment variables/B"]);
    check("test", &["a: Service 0", "found: Service place/slot"]);
}

#[test]
fn the_overlay_of_a_feature_that_was_found_is_merged_once() {
    let (catalog, found) = catalog(
        "== features/a.yaml\nfeature: a\nstate: implemented\nused_by: [path: services.*.gpus]\noverlay: more/a.yaml\n\
         == features/b.yaml\nfeature: b\nstate: implemented\nused_by: [path: services.*.tty]\noverlay: more/b.yaml\n\
         == features/more/a.yaml\nservices: {\"*\": {tty: true}}\n\
         == features/more/b.yaml\nservices: {\"*\": {init: true}}\n\
         == services/web/service.yaml\nservice: web\nfeatures: []\nplace: {nodes: [n]}\n\
         == services/web/compose.yaml\nservices: {app: {image: i, gpus: all, labels: {v: '${V}'}}}\n",
    );
    assert_eq!(found, []);
    let entry = &catalog.services["web"];
    let subject = Subject { catalog: &catalog, entry, deployment: &entry.deployments[0] };
    let variables = [("V".into(), "1".into())].into();
    let (rendered, uses) = subject.render(&subject.deployment.source, &variables).expect("it renders");
    assert_eq!(shown(&uses), ["a: Compose services/app/gpus"]);
    let app = &rendered.model.value()["services"]["app"];
    assert_eq!((app["tty"].as_bool(), app.get("init")), (Some(true), None));
    assert!(rendered.used_variables.contains("V"));
}

#[test]
fn mistakes_in_features_are_found_whoever_uses_them() {
    let check = |features: &str, expected: &[&str]| {
        let (catalog, read) = catalog(&format!("== features/f.yaml\n{features}"));
        let mut found: Vec<String> = read
            .iter()
            .chain(&check_ground(&catalog))
            .map(|one| format!("{}:{} {}", one.place.line, one.place.column, one.code))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{features}");
    };
    let feature = |name: &str, rest: &str| format!("feature: {name}\nstate: implemented\n{rest}\n---\n");
    check(&feature("a", "used_by: [path: services.*.gpus, path: x-a.b]"), &[]);
    check(&feature("a", "used_by: [{path: a..b}]"), &["3:18 invalid-value"]);
    check(&feature("a", "used_by: [{path: '*'}]"), &["3:18 invalid-value"]);
    check(&feature("a", "used_by: [{path: servcies.*.gpus}]"), &["3:18 unknown-path"]);
    check(&feature("a", "used_by: [{path: services.*}]"), &["3:18 path-fits-all"]);
    check(&feature("a", "used_by: [{path: service, value: web}, {path: tls.x}]"), &[]);
    check(&feature("a", "needs: {labels: {}}"), &["3:17 empty-selector"]);
    check(&feature("a", "needs: {labels: {gpu: l4}}"), &[]);
    check(&feature("a", "needs: {capabilities: [gpu@1]}"), &["3:8 feature-nowhere"]);
    check(&feature("a", "needs: {capabilities: [gpu]}"), &["3:24 invalid-value"]);
    check(&feature("a", "replaced_by: a"), &["3:14 replacement-cycle"]);
    let removed = "feature: b\nstate: removed\nreplaced_by: c\n---\nfeature: c\nstate: planned\n";
    check(&(feature("a", "replaced_by: b") + removed), &["3:14 replacement-removed"]);
    let circle =
        feature("a", "replaced_by: b") + &feature("b", "replaced_by: c") + &feature("c", "replaced_by: b");
    check(&circle, &["11:14 replacement-cycle"]);
}

#[test]
fn what_features_need_is_told_by_feature() {
    let (catalog, _) = catalog(
        "== features/f.yaml\nfeature: gpu\nstate: implemented\nneeds: {labels: {gpu: '*'}}\n---\n\
         feature: later\nstate: planned\nneeds: {labels: {rack: '*'}}\n",
    );
    let names: Vec<FeatureName> =
        ["later", "gpu", "gpu", "by.default", "none"].map(|name| name.parse().expect("a name")).into();
    let needs = needs(&catalog, &names);
    assert_eq!(needs.iter().map(|need| need.feature.as_str()).collect::<Vec<_>>(), ["gpu"]);
    let named = |name: &str| &catalog.features[name].value;
    assert_eq!(offered_by(&catalog, named("gpu")).len(), 1);
    assert_eq!(offered_by(&catalog, named("later")).len(), 0);
}
