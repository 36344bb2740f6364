//! From the files of a service to its model, through the public door.

mod mistakes;
mod properties;

use super::digest::instance_digest;
use super::*;
use crate::plan::{OnFileChange, RunState};
use crate::tree::Entry;

const FOLDER: &str = "services/web";

/// Files of one service: `== path` and the content below it, one after another.
fn tree(fixture: &str) -> Tree {
    let files = fixture.split("== ").skip(1).map(|part| {
        let (name, content) = part.split_once('\n').unwrap_or((part, ""));
        (format!("{FOLDER}/{}", name.trim()), content.to_owned())
    });
    Tree::from_files(files)
}

/// A fixture without `==` is the Compose file.
fn fixture(text: &str) -> Tree {
    if text.starts_with("== ") { tree(text) } else { tree(&format!("== compose.yaml\n{text}")) }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn render_with(text: &str, spec: &ReadSpec<'_>, given: &[(&str, &str)]) -> Result<Rendered, String> {
    let tree = fixture(text);
    let source = Source::read(&tree, FOLDER, spec).map_err(|found| show(&found))?;
    source.render(&tree, &variables(given)).map_err(|found| show(&found))
}

const GIVEN: [(&str, &str); 3] = [("TAG", "1.2"), ("PORT", "8080"), ("TOKEN", "$ecret")];

fn render(text: &str) -> Result<Rendered, String> {
    render_with(text, &ReadSpec::default(), &GIVEN)
}

/// `path:line:column+width code: message | label | notes | help`, one a line.
fn show(found: &[Diagnostic]) -> String {
    let line = |d: &Diagnostic| {
        let path = d.place.path.strip_prefix("services/web/").unwrap_or(&d.place.path);
        let place = format!("{path}:{}:{}+{}", d.place.line, d.place.column, d.place.width);
        let rest =
            [d.label.clone().unwrap_or_default(), d.notes.join(" / "), d.help.clone().unwrap_or_default()];
        format!("{place} {}: {} | {}\n", d.code, d.message, rest.join(" | "))
    };
    found.iter().map(line).collect()
}

/// The model of a service `a` that has these fields.
fn service(fields: &str) -> String {
    let text = format!("services:\n  a:\n    image: i\n{}", indented(fields, 4));
    match render(&text) {
        Ok(rendered) => {
            let model = rendered.model.value();
            let mut service = model["services"]["a"].clone();
            service.as_object_mut().unwrap().remove("image");
            service.to_string()
        }
        Err(found) => found,
    }
}

fn indented(text: &str, blanks: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(blanks))).collect()
}

#[test]
fn the_smallest_file_makes_a_model() {
    let rendered = render("services: {app: {image: 'busybox:${TAG}'}}").unwrap();
    assert_eq!(rendered.model.as_str(), r#"{"name":"web","services":{"app":{"image":"busybox:1.2"}}}"#);
    assert_eq!(&*rendered.project, "web");
    assert_eq!(rendered.used_variables.iter().map(|name| &**name).collect::<Vec<_>>(), ["TAG"]);
    assert!(rendered.files.is_empty() && rendered.warnings.is_empty());
    let spec = &rendered.containers["app"];
    assert_eq!((spec.replicas, spec.completes, spec.files), (1, true, None));
}

#[test]
fn each_field_has_one_form() {
    let check = |fields: &str, expected: &str| assert_eq!(service(fields), expected, "{fields}");
    check("environment: [A=1, 'B=x=y', C=]", r#"{"environment":{"A":"1","B":"x=y","C":""}}"#);
    check(
        "environment: {A: 1, B: true, C: 1.50, D: '', TAG: }",
        r#"{"environment":{"A":"1","B":"true","C":"1.5","D":"","TAG":"1.2"}}"#,
    );
    check("environment: [TAG]", r#"{"environment":{"TAG":"1.2"}}"#);
    check("labels: [a=b, c]", r#"{"labels":{"a":"b","c":""}}"#);
    check("labels: {x-y: 1, z: }", r#"{"labels":{"x-y":"1","z":""}}"#);
    check("command: echo hi", r#"{"command":"echo hi"}"#);
    check("command: [sleep, 5]", r#"{"command":["sleep","5"]}"#);
    check("dns: 1.1.1.1", r#"{"dns":["1.1.1.1"]}"#);
    check("scale: '3'\nprivileged: 'yes'\nuser: 1000", r#"{"privileged":true,"scale":3,"user":"1000"}"#);
    check("cpus: '0.50'\nmem_limit: 512m", r#"{"cpus":0.5,"mem_limit":"512m"}"#);
    check(
        "healthcheck: {test: curl x, retries: '3'}",
        r#"{"healthcheck":{"retries":3,"test":["CMD-SHELL","curl x"]}}"#,
    );
    check("extra_hosts: ['b:1', 'a=2']", r#"{"extra_hosts":["a=2","b=1"]}"#);
    check("extra_hosts: {b: '1', a: ['::1', '2']}", r#"{"extra_hosts":["a=2","a=::1","b=1"]}"#);
    check(
        "ulimits: {nofile: '10', nproc: {soft: 1, hard: '2'}}",
        r#"{"ulimits":{"nofile":10,"nproc":{"hard":2,"soft":1}}}"#,
    );
    check(
        "ports: ['${PORT}:80']",
        r#"{"ports":[{"mode":"ingress","protocol":"tcp","published":"8080","target":80}]}"#,
    );
    check(
        "ports: [{target: '80', published: 8080}]",
        r#"{"ports":[{"mode":"ingress","protocol":"tcp","published":"8080","target":80}]}"#,
    );
    check("ports: [80]", r#"{"ports":[{"mode":"ingress","protocol":"tcp","target":80}]}"#);
    check(
        "volumes: ['/etc/x:/x:ro']",
        r#"{"volumes":[{"bind":{"create_host_path":true},"read_only":true,"source":"/etc/x","target":"/x","type":"bind"}]}"#,
    );
    check("networks: [default]", r#"{"networks":{"default":{}}}"#);
    check("x-note: '${NOTHING}'\ndevelop: {watch: []}\nrestart:", "{}");
    check(
        "logging: {driver: json-file, options: {max-file: 3}}",
        r#"{"logging":{"driver":"json-file","options":{"max-file":"3"}}}"#,
    );
    check(
        "deploy: {replicas: '2', labels: [a=b], x-y: 1}",
        r#"{"deploy":{"labels":{"a":"b"},"replicas":2}}"#,
    );
    check("cap_add: [A, B, A]", r#"{"cap_add":["A","B"]}"#);
    check("secret_thing: 1", r#"{"secret_thing":1}"#);
}

#[test]
fn files_are_found_and_travel() {
    let rendered = render(
        "== compose.yaml
services:
  app:
    image: i
    env_file: [app.env, {path: maybe.env, required: false}]
    volumes: [./conf:/etc/app:ro, ./run.sh:/run.sh]
    configs: [{source: c, mode: 0440}]
    secrets: [s, t]
  other: {image: i}
configs: {c: {file: ./c.txt}, d: {environment: TAG}}
secrets: {s: {file: s.txt}, t: {environment: TOKEN}}
volumes: {v: {}, w: {name: own}, x: {external: true}}
== app.env
A=1
== conf/a
a
== conf/deep/b
b
== run.sh
#!
== c.txt
c
== s.txt
s
== unused
u
",
    )
    .unwrap();
    let names: Vec<&str> = rendered.files.keys().map(|path| &**path).collect();
    assert_eq!(names, [".gitops/secrets/t", "app.env", "c.txt", "conf/a", "conf/deep/b", "run.sh", "s.txt"]);
    assert_eq!(&*rendered.files[".gitops/secrets/t"].content, b"$ecret");
    let model = rendered.model.value();
    assert_eq!(model["configs"].to_string(), r#"{"c":{"file":"./c.txt"},"d":{"content":"1.2"}}"#);
    assert_eq!(model["secrets"]["t"].to_string(), r#"{"file":"./.gitops/secrets/t"}"#);
    assert_eq!(model["services"]["app"]["configs"].to_string(), r#"[{"mode":288,"source":"c"}]"#);
    assert!(rendered.containers["app"].files.is_some() && rendered.containers["other"].files.is_none());
}

#[test]
fn links_and_submodules_are_refused() {
    use crate::tree::EntryKind;
    let text = "services: {a: {image: i, env_file: [link], volumes: ['./sub/x:/x', './dir:/dir']}}";
    let mut tree = tree(&format!("== compose.yaml\n{text}\n== link\nx\n== sub\n\n== dir/inner\n"));
    for (name, kind) in
        [("link", EntryKind::Link), ("sub", EntryKind::Submodule), ("dir/inner", EntryKind::Link)]
    {
        let path = format!("{FOLDER}/{name}");
        let entry = tree.get(&path).unwrap().clone();
        tree.insert(path.into(), Entry { kind, ..entry });
    }
    let source = Source::read(&tree, FOLDER, &ReadSpec::default()).unwrap();
    let found = show(&source.render(&tree, &variables(&[])).unwrap_err());
    for part in ["symbolic-link: `link`", "submodule: `sub`", "symbolic-link: `dir/inner`"] {
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn several_files_and_overlays_are_merged_in_order() {
    let text = "== a/base.yaml
services:
  app: {image: i, environment: [A=1, B=1], env_file: x.env}
== b/over.yaml
services:
  app: {environment: {B: 2}}
---
services:
  app: {environment: {C: 3}}
== a/x.env
X=1
";
    let overlay = Overlay {
        path: "features/log.yaml".into(),
        document: 0,
        field: Some("overlay"),
        value: Arc::new(
            serde_yaml::from_str("services: {app: {labels: [log=1]}, log: {image: '${TAG}'}}").unwrap(),
        ),
    };
    let files = ["a/base.yaml".into(), "b/over.yaml".into()];
    let overlays = [overlay];
    let spec = ReadSpec { files: &files, overlays: &overlays, ..ReadSpec::default() };
    let rendered = render_with(text, &spec, &GIVEN).unwrap();
    assert_eq!(
        rendered.model.as_str(),
        r#"{"name":"web","services":{"app":{"env_file":["./a/x.env"],"environment":{"A":"1","B":"2","C":"3"},"image":"i","labels":{"log":"1"}},"log":{"image":"1.2"}}}"#
    );
}

#[test]
fn the_override_file_of_compose_is_merged() {
    let rendered = render("== docker-compose.yml\nservices: {a: {image: i}}\n== compose.override.yaml\nservices: {a: {tty: true}}\n== docker-compose.yaml\nservices: {b: {image: i}}\n").unwrap();
    assert_eq!(rendered.model.as_str(), r#"{"name":"web","services":{"a":{"image":"i","tty":true}}}"#);
    assert!(show(&rendered.warnings).contains("docker-compose.yaml:0:0+0 several-compose-files"));
}

#[test]
fn includes_and_extends_are_resolved_with_their_paths() {
    let rendered = render(
        "== compose.yaml
include:
  - db/compose.yaml
  - path: [cache/a.yaml, cache/b.yaml]
    project_directory: .
services:
  app:
    extends: {file: common/base.yaml, service: base}
    environment: {B: 2}
    depends_on: [db]
  twin: {extends: app, tty: true}
== db/compose.yaml
services: {db: {image: pg, env_file: db.env, volumes: [data:/d]}}
volumes: {data: }
== db/db.env
A=1
== cache/a.yaml
services: {cache: {image: redis, env_file: top.env}}
== cache/b.yaml
services: {cache: {image: redis2}}
== top.env
T=1
== common/base.yaml
services:
  root: {image: i, volumes: ['./x.conf:/x']}
  base: {extends: root, environment: [A=1, B=1]}
== common/x.conf
x
",
    )
    .unwrap();
    let model = rendered.model.value();
    let services = &model["services"];
    assert_eq!(services["db"]["env_file"][0], "./db/db.env");
    assert_eq!(services["cache"].to_string(), r#"{"env_file":["./top.env"],"image":"redis2"}"#);
    assert_eq!(services["app"]["volumes"][0]["source"], "./common/x.conf");
    assert_eq!(services["app"]["environment"].to_string(), r#"{"A":"1","B":"2"}"#);
    assert_eq!(services["twin"]["tty"], true);
    assert_eq!(services["twin"]["environment"], services["app"]["environment"]);
    assert_eq!(rendered.files.len(), 3);
}

#[test]
fn every_field_of_the_model_has_a_source() {
    let text = "== compose.yaml
services:
  app:
    extends: {file: base.yaml, service: base}
    environment: [A=1]
    image: i
  b: {image: i}
---
services:
  app:
    tty: true
== base.yaml
services:
  base:
    user: me
    environment: {Z: 1}
";
    let tree = fixture(text);
    let rendered = render(text).unwrap();
    let check = |path: &[&str], expected: &str| {
        let place = rendered.places_in(&tree)(path).unwrap();
        let name = place.path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(format!("{name}:{}:{}", place.line, place.column), expected, "{path:?}");
    };
    check(&["services", "app", "image"], "compose.yaml:5:12");
    check(&["services", "app", "environment", "A"], "compose.yaml:4:19");
    check(&["services", "app", "environment", "Z"], "base.yaml:4:22");
    check(&["services", "app", "user"], "base.yaml:3:11");
    check(&["services", "app", "tty"], "compose.yaml:10:10");
    check(&["services", "b", "gone"], "compose.yaml:6:6");
}

#[test]
fn profiles_choose_services() {
    let text = "services: {a: {image: i, depends_on: {b: {condition: service_started, required: false}}}, b: {image: i, profiles: [debug]}, c: {image: i, profiles: [x, y]}}";
    let names = |profiles: &[Arc<str>]| {
        let rendered = render_with(text, &ReadSpec { profiles, ..ReadSpec::default() }, &[]).unwrap();
        rendered.containers.keys().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["a"]);
    assert_eq!(names(&["debug".into()]), ["a", "b"]);
    assert_eq!(names(&["*".into()]), ["a", "b", "c"]);
    let found =
        render("services: {a: {image: i, depends_on: [b]}, b: {image: i, profiles: [p]}}").unwrap_err();
    assert!(found.contains("unknown-service: `a` depends on `b`, which no active profile has"), "{found}");
}

#[test]
fn fields_that_are_near_nothing_known_are_kept_and_warned_of() {
    let rendered = render("services: {a: {image: i, frobnicate: {A: 1}}}\nbanana: {}\n").unwrap();
    assert!(rendered.model.as_str().contains(r#""frobnicate":{"A":1}"#), "{}", rendered.model.as_str());
    let warnings = show(&rendered.warnings);
    for part in ["1:26+10 unknown-field: Compose may not know the field `frobnicate`", "2:1+6 unknown-field"]
    {
        assert!(warnings.contains(part), "{warnings}");
    }
}

#[test]
fn a_bomb_of_extended_services_or_ports_ends_early() {
    let big: String = (0..2_000).map(|number| format!("      A{number}: x\n")).collect();
    let many: String = (0..500).map(|number| format!("  s{number}: {{extends: base}}\n")).collect();
    let found =
        render(&format!("services:\n  base:\n    image: i\n    environment:\n{big}{many}")).unwrap_err();
    assert!(found.contains("compose-too-large"), "{}", &found[..found.len().min(500)]);
    let ports = vec!["1-1000"; 2_000].join(", ");
    let found = render(&format!("services: {{a: {{image: i, ports: [{ports}]}}}}")).unwrap_err();
    assert!(found.contains("compose-too-large"), "{}", &found[..found.len().min(500)]);
}

fn config(rendered: &Rendered) -> String {
    rendered.containers.iter().map(|(name, spec)| format!("{name} {}\n", spec.config)).collect()
}

#[test]
fn only_what_a_container_is_made_from_changes_its_digest() {
    let base = "services: {a: {image: i, environment: {A: 1}, networks: [n]}, b: {image: i}}\nnetworks: {n: , m: }\n";
    let of = |text: &str| config(&render(text).unwrap());
    let same = |text: &str| assert_eq!(of(text), of(base), "{text}");
    same(
        "networks: {m: {}, n: {}}\nx-y: 1\nservices: {b: {image: i}, a: {networks: {n: }, environment: [A=1], image: i}}\n",
    );
    same(&base.replace(
        "services: {a: {",
        "services: {a: {scale: 3, depends_on: [b], pull_policy: always, deploy: {replicas: 3}, ",
    ));
    same(&base.replace("m: }", "m: {driver: x}}"));
    let changes = |text: &str, name: &str| {
        let (before, after) = (render(base).unwrap(), render(text).unwrap());
        for (service, spec) in &before.containers {
            let differs = spec.config != after.containers[service].config;
            assert_eq!(differs, **service == *name, "{service} in {text}");
        }
    };
    changes(&base.replace("A: 1", "A: 2"), "a");
    changes(&base.replace("n: ,", "n: {driver: x},"), "a");
    changes(&base.replace("m: }", "m: , default: {driver: x}}"), "b");
}

#[test]
fn restart_policies_say_what_may_end() {
    let check = |fields: &str, expected: bool| {
        let rendered = render(&format!("services: {{a: {{image: i, {fields}}}}}")).unwrap();
        assert_eq!(rendered.containers["a"].completes, expected, "{fields}");
    };
    check("restart: 'no'", true);
    check("restart: on-failure:3", true);
    check("restart: unless-stopped", false);
    check("deploy: {restart_policy: {condition: any}}", false);
    check("deploy: {restart_policy: {condition: on-failure}}", true);
    check("deploy: {restart_policy: {}}", false);
}

#[test]
fn the_instance_digest_covers_what_matters() {
    let rendered = render(
        "services: {a: {image: i, env_file: [e]}}"
            .replace("services", "== e\nA=1\n== compose.yaml\nservices")
            .as_str(),
    )
    .unwrap();
    let files: BTreeMap<_, _> =
        rendered.files.iter().map(|(path, file)| (path.clone(), file.reference)).collect();
    let digest = |files: &BTreeMap<Arc<str>, FileRef>, state, change| {
        instance_digest(&rendered.model, files, state, change)
    };
    let first = digest(&files, RunState::Running, OnFileChange::Recreate);
    assert_eq!(first, digest(&files, RunState::Running, OnFileChange::Recreate));
    let mut executable = files.clone();
    executable.values_mut().for_each(|file| file.executable = true);
    for other in [
        digest(&files, RunState::Stopped, OnFileChange::Recreate),
        digest(&files, RunState::Running, OnFileChange::Nothing),
        digest(&executable, RunState::Running, OnFileChange::Recreate),
        digest(&BTreeMap::new(), RunState::Running, OnFileChange::Recreate),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_hook_is_in_the_model_and_makes_no_difference_to_what_runs() {
    let hooks = ["h".into()];
    let digests = |text: &str| {
        let rendered = render_with(text, &ReadSpec { hooks: &hooks, ..ReadSpec::default() }, &[]).unwrap();
        let services = rendered.model.value()["services"].clone();
        assert!(rendered.containers.keys().eq([&Arc::from("a")]), "{text}");
        assert!(
            rendered
                .hooks
                .keys()
                .all(|hook| services[&**hook]["profiles"] == serde_json::json!([HOOKS_PROFILE]))
        );
        (rendered.digest(RunState::Running, OnFileChange::Recreate), rendered.hooks_digest())
    };
    // Whether both run the same, and have the same hooks.
    let check = |one: &str, other: &str, expected: (bool, bool)| {
        let (one_digests, other_digests) = (digests(one), digests(other));
        let same = (one_digests.0 == other_digests.0, one_digests.1 == other_digests.1);
        assert_eq!(same, expected, "{one}\n{other}");
    };
    let with = |hook: &str, e: &str| {
        format!("== compose.yaml\nservices: {{a: {{image: i}}, h: {hook}}}\n== e\nA={e}\n")
    };
    let first = with("{image: h}", "1");
    check(&first, &with("{image: h, profiles: [tools]}", "1"), (true, true));
    check(&first, &with("{image: h2}", "1"), (true, false));
    check(&first, "services: {a: {image: i}}", (true, false));
    check(&first, &first.replace("image: i", "image: i2"), (false, true));
    let reading = "{image: h, env_file: [e]}";
    check(&with(reading, "1"), &with(reading, "2"), (true, false));
    check(&with(reading, "1"), &first, (true, false));
    let both = |e| with(reading, e).replace("image: i}", "image: i, env_file: [e]}");
    check(&both("1"), &both("2"), (false, false));
}

#[test]
fn what_the_node_gets_is_readable_and_reads_back() {
    let rendered = render(
        "services:
  app:
    image: i:$TAG
    command: [sh, -c, 'echo $$HOME']
    environment: {A: 'yes', B: '012', C: \"two\\nlines\\n\", D: ' x', E: '', F: 'a: b', G: \"q\\\"\\u2028\", $$H: 'x'}
    ports: ['80:80']
    configs: [{source: c, mode: 0440}]
configs: {c: {content: 'x'}}
",
    )
    .unwrap();
    let labels = [("app".into(), [("gitops.x".to_owned(), "$1".to_owned())].into_iter().collect())]
        .into_iter()
        .collect();
    let yaml = labelled(&rendered.model, &labels);
    let expected = r#"name: web
services:
  app:
    command:
      - sh
      - -c
      - echo $$HOME
    configs:
      - mode: 0440
        source: c
"#;
    let expected =
        expected.replace("      - -c\n      - echo $$HOME", "      - \"-c\"\n      - \"echo $$HOME\"");
    assert!(yaml.starts_with(&expected), "{yaml}");
    assert!(yaml.contains("      A: \"yes\"\n      B: \"012\"\n      C: |\n        two\n        lines\n      D: \" x\"\n      E: \"\"\n"), "{yaml}");
    let again = render(&format!(
        "== compose.yaml\n{}",
        yaml.replace("      gitops.x: $$1\n", "").replace("    labels:\n", "")
    ))
    .unwrap();
    assert_eq!(again.model, rendered.model, "{yaml}");
}
