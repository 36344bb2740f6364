//! What people get wrong, and what they are told.

use super::*;

#[test]
fn mistakes_are_said_with_their_place() {
    let check = |text: &str, expected: &[&str]| {
        let found = match render(text) {
            Ok(rendered) => format!("no mistakes in {}", rendered.model.as_str()),
            Err(found) => found,
        };
        for part in expected {
            assert!(found.contains(part), "{text}\nwants {part}\n{found}");
        }
        assert_eq!(found.lines().count(), expected.len(), "{text}\n{found}");
    };
    let base = "services:\n  app:\n    image: i\n";
    let with = |rest: &str| format!("{base}{}", indented(rest, 4));
    check("[]", &["compose.yaml:1:1+2 wrong-type: a Compose file must be a mapping"]);
    check("services: {}", &["compose.yaml:1:11+2 no-services"]);
    check("services: []", &["compose.yaml:1:11+2 wrong-type: `services` must be a mapping"]);
    check("name: x", &["no-services"]);
    check("", &["no-services"]);
    check("services: {app: }", &["wrong-type: `services.app` must be a mapping"]);
    check("services: {app: {command: x}}", &["missing-image: the service `app` has no image"]);
    check("services: {'a b': {image: x}}", &["invalid-value: `a b` cannot be the name of a Compose service"]);
    check(
        "name: Web\nservices: {app: {image: i}}",
        &["1:7+3 invalid-value: `Web` cannot be the name of a project"],
    );
    check(
        "services:\n  app:\n    image: \"x:${TAGG}\"\n    command: [\"${\", $NO]\n",
        &[
            "compose.yaml:3:15+7 unknown-variable: there is no variable `TAGG` |  |  | did you mean `TAG`?",
            "compose.yaml:4:16+2 variable-syntax",
            "compose.yaml:4:21+3 unknown-variable: there is no variable `NO`",
        ],
    );
    check(&with("environment: [NOPE]"), &["4:19+4 unknown-variable: there is no variable `NOPE` to take"]);
    check(
        &with("command: \"${X:?say what}\""),
        &["4:15+3 unknown-variable: the variable `X` must be set | say what"],
    );
    check(
        &with(
            "restrat: always\nhealthcheck: {tset: x}\nports: [{traget: 80}]\nvolumes: [{tpye: volume, target: /x}]",
        ),
        &[
            "4:5+7 unknown-field: Compose has no field `restrat` here |  |  | did you mean `restart`?",
            "5:19+4 unknown-field: Compose has no field `tset` here",
            "6:14+6 unknown-field: Compose has no field `traget` here",
            "7:16+4 unknown-field: Compose has no field `tpye` here",
        ],
    );
    check("services: {app: {imgae: x}}\nvolmes: {}", &["1:18+5 unknown-field", "2:1+6 unknown-field"]);
    check(
        &with("build: ."),
        &["4:12+1 build-unsupported: `app` would be built on the node |  |  | build the image in CI"],
    );
    check(&with("env_file: [conf/a.env]"), &["file-not-found: there is no `conf/a.env` in services/web"]);
    check(&with("volumes: [./data:/data]"), &["file-not-found: there is no `data`"]);
    check(&with("volumes: ['../x:/x']"), &["4:15+9 path-outside: `../x` leaves the folder of the service"]);
    check(
        &with("volumes: ['~/x:/x', 'aa:b:cc:d']"),
        &["path-outside: `~/x` means the home folder", "invalid-value: `aa:b:cc:d` is not a volume"],
    );
    check(
        &with("volumes: [db:/x]\nnetworks: [front]\nsecrets: [key]\nconfigs: [c]"),
        &[
            "4:15+5 unknown-reference: `app` uses the volume `db`",
            "5:16+5 unknown-reference: `app` uses the network `front`",
            "6:15+3 unknown-reference: `app` uses the secret `key`",
            "7:15+1 unknown-reference: `app` uses the config `c`",
        ],
    );
    check(
        &with("depends_on: [appp]"),
        &["4:18+4 unknown-service: `app` depends on `appp`, which is not there |  |  | did you mean `app`?"],
    );
    check(&with("depends_on: [app]"), &["dependency-cycle: services depend on each other: app → app"]);
    check(
        "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [c]}\n  c: {image: i, depends_on: [b]}\n",
        &["dependency-cycle: services depend on each other: "],
    );
    check(
        &with("init: maybe\nenvironment: 3\nports: {}"),
        &[
            "4:11+5 wrong-type: `services.app.init` must be `true` or `false`",
            "5:18+1 wrong-type: `services.app.environment` must be a mapping",
            "6:12+2 wrong-type: `services.app.ports` must be a list",
        ],
    );
    check(
        "include: ['https://x/y.yaml', ../z.yaml, gone.yaml]\nservices: {app: {image: i}}",
        &[
            "1:11+18 remote-include: `https://x/y.yaml` is not a file of this repository",
            "1:31+9 path-outside: `../z.yaml` leaves the folder",
            "1:42+9 file-not-found: there is no `gone.yaml`",
        ],
    );
    check(&with("extends: nobody"), &["4:14+6 unknown-service: there is no service `nobody` to extend"]);
    check(
        "services:\n  a: {image: i, extends: b}\n  b: {image: i, extends: {service: a}}\n",
        &[
            "extends-cycle: services extend each other: a → b → a",
            "extends-cycle: services extend each other: b → a → b",
        ],
    );
    check(
        "== compose.yaml\ninclude: [a.yaml]\n== a.yaml\ninclude: [compose.yaml]\n",
        &[
            "a.yaml:1:11+12 include-cycle: files include each other: services/web/compose.yaml → services/web/a.yaml → services/web/compose.yaml",
        ],
    );
    check(
        "== compose.yaml\nservices: {a: {image: '${DB}'}}\n== .env\nDB=x\n",
        &["`.env` has it, but is not read"],
    );
    check("== compose.yaml\na: 1\na: 2\n", &["compose.yaml:2:1+1 duplicate-key"]);
    check("== other.yaml\n", &["compose.yaml:0:0+0 no-compose-file: services/web has no Compose file"]);
    check(
        &with("secrets: [{source: s}]\nports: [x]")
            .replace("services:", "secrets: {s: {environment: NO}}\nservices:"),
        &["1:28+2 unknown-variable", "6:13+1 invalid-value: `x` is not a port"],
    );
}

#[test]
fn a_long_chain_is_not_called_a_circle() {
    let services: String = (0..30).map(|n| format!("  s{n}: {{image: i, extends: s{}}}\n", n + 1)).collect();
    let found = render(&format!("services:\n{services}  s30: {{image: i}}\n")).unwrap_err();
    let deep =
        "extends-too-deep: `s0` extends more than 20 services, one through the other |  |  | extend fewer";
    assert!(found.contains(deep) && !found.contains("extends-cycle"), "{found}");
    let files: String = (0..30).map(|n| format!("== f{n}.yaml\ninclude: [f{}.yaml]\n", n + 1)).collect();
    let last = "== f30.yaml\nservices: {a: {image: i}}\n";
    let found = render(&format!("== compose.yaml\ninclude: [f0.yaml]\n{files}{last}")).unwrap_err();
    assert!(found.contains("include-too-deep: files include each other more than 20 deep"), "{found}");
    assert!(!found.contains("include-cycle"), "{found}");
}

#[test]
fn a_file_name_that_is_no_text_is_said_with_its_folder() {
    let found = render(
        "== compose.yaml\nservices: {a: {image: i, volumes: ['./conf:/conf']}}\n== conf/b\u{fffd}d\nx\n",
    );
    let expected = "1:36+14 file-name: the name of a file in `conf` is not text in UTF-8: `b\u{fffd}d` |  |  | rename it";
    assert!(found.as_ref().is_err_and(|found| found.contains(expected)), "{found:?}");
}

#[test]
fn values_that_would_be_refused_on_the_node_are_said() {
    let check = |fields: &str, expected: &str| {
        let found =
            render(&format!("services:\n  b: {{image: b}}\n  a:\n    image: i\n{}", indented(fields, 4)));
        let found = found.err().unwrap_or_default();
        assert_eq!(found.lines().count(), usize::from(!expected.is_empty()), "{fields}\n{found}");
        assert!(found.contains(expected), "{fields}\nwants {expected}\n{found}");
    };
    check(
        "network_mode: service:nope",
        "5:19+12 unknown-service: `network_mode` of `a` names the service `nope`",
    );
    check("pid: service:bb", "unknown-service: `pid` of `a` names the service `bb`, which is not there");
    check("ipc: service:b\npid: host\nlinks: ['b:x']\nvolumes_from: ['container:x', 'b:ro']", "");
    check("links: [nope]", "unknown-service: `links` of `a`");
    check(
        "depends_on: {b: {condition: service_helthy}}",
        "5:33+14 invalid-value: `services.a.depends_on.b.condition` cannot be `service_helthy` |  |  | did you mean `service_healthy`?",
    );
    check("cpus: lots", "5:11+4 invalid-value: `services.a.cpus` cannot be `lots` |  |  | write a number");
    check("ports: ['80:abc']", "5:13+8 invalid-value: `80:abc` is not a port");
    check("ports: ['99999:80']", "`99999:80` is not a port");
    check("ports: ['1-65535', ':80', '80/TCP', '[::1]:80:80', '8000-8010:80', 90]", "");
    check("ports: [{target: 99999}]", "5:22+5 invalid-value: `services.a.ports.0.target` cannot be `99999`");
    check("ports: [{published: '80'}]", "missing-field: a port needs a `target`");
    check("ports: [{target: 80, protocol: icmp}]", "cannot be `icmp` |  |  | write `tcp`, `udp` or `sctp`");
    check(
        "restart: alwyas",
        "5:14+6 invalid-value: `services.a.restart` cannot be `alwyas` |  |  | did you mean `always`?",
    );
    check("restart: on-failure:x", "cannot be `on-failure:x`");
    check(
        "restart: on-failure:3\npull_policy: every_12h\nstop_grace_period: 1m30s\nmem_limit: 1.5g\nshm_size: 64",
        "",
    );
    check("pull_policy: sometimes", "cannot be `sometimes`");
    check(
        "healthcheck: {test: [CMD, x], interval: 10 minutes}",
        "5:45+10 invalid-value: `services.a.healthcheck.interval` cannot be `10 minutes` |  |  | write a span of time",
    );
    check("healthcheck: {test: [curl, x]}", "5:25+9 invalid-value: a health check cannot begin with `curl`");
    check(
        "mem_limit: 5 apples",
        "5:16+8 invalid-value: `services.a.mem_limit` cannot be `5 apples` |  |  | write a size",
    );
    check("deploy: {resources: {limits: {memory: 5 apples}}}", "5:43+8 invalid-value");
    check("deploy: {restart_policy: {condition: sometimes}}", "cannot be `sometimes`");
    check("command: [\"a\\0b\"]", "invalid-value: `services.a.command` has the character NUL in it");
    check("restart: ''\ncontainer_name: ''", "");
    check("mem_limit: ''", "invalid-value: `services.a.mem_limit` cannot be empty |  |  | write a size");
    check("container_name: a b", "5:21+3 invalid-value: `services.a.container_name` cannot be `a b`");
    check("volumes: [{type: bnid, source: /x, target: /x}]", "cannot be `bnid` |  |  | did you mean `bind`?");
    check("volumes: [{type: tmpfs, target: /x, tmpfs: {size: lots}}]", "cannot be `lots`");
    check("environment: ['=x']", "`` cannot be the name of an environment variable");
    let found = render("services: {a: {image: 'Reg/App name'}}").unwrap_err();
    assert!(found.contains("1:23+14 invalid-value: `services.a.image` cannot be `Reg/App name`"), "{found}");
}

#[test]
fn what_would_get_lost_in_an_environment_file_is_said() {
    let check = |files: &str, expected: &[&str]| {
        let text = format!(
            "== compose.yaml\nservices:\n  app:\n    image: i\n    env_file: [a.env, b.env]\n    environment: {{GIVEN: x}}\n{files}"
        );
        let found = render(&text).err().unwrap_or_default();
        assert_eq!(found.lines().count(), expected.len(), "{files}\n{found}");
        for part in expected {
            assert!(found.contains(part), "{files}\nwants {part}\n{found}");
        }
    };
    let both = |a: &str, b: &str| format!("== a.env\n{a}\n== b.env\n{b}\n");
    check(&both("A=1\nB=${A}-$COMPOSE_PROJECT_NAME", "C=$B"), &[]);
    check(&both("A=${TAG:-x}\nB='$TAG ${'\nC=$$TAG\nD=\"\\$TAG\"\nE=${TAG+x}", ""), &[]);
    check(
        &both("URL=http://${HOST}/x\nFOO", "A=\"x\n  $TAG\""),
        &[
            "a.env:1:12+7 env-file-variable: the variable in `URL` would be empty: those of the definitions are not seen here |  |  | write `URL` under `environment:` of `app` in the Compose file",
            "a.env:2:1+3 env-file-variable: `FOO` has no value: on a node there is none to take",
            "b.env:2:3+4 env-file-variable: the variable in `A` would be empty",
        ],
    );
    check(&both("GIVEN=$NO\nGIVEN", ""), &[]);
    check(
        &both("A=${\nB=${NO:?x}\nC='x", "A B=1\nGIVEN=${"),
        &[
            "a.env:1:3+2 variable-syntax: `A` has a `${` that begins no variable",
            "a.env:2:3+4 env-file-variable: `B` asks for a variable",
            "a.env:3:3+2 env-file-syntax: the quoted value does not end",
            "b.env:1:1+3 env-file-syntax: the name of a variable cannot have a blank in it",
            "b.env:2:7+2 variable-syntax",
        ],
    );
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7Us8cKj";
    check(&both(key, ""), &["a.env:1:1+58 env-file-variable: `NAME` has no value"]);
    let long = format!(
        "A={}\n{}",
        "x".repeat(200_000),
        (0..1_000).map(|n| format!("B{n}=$A\n")).collect::<String>()
    );
    check(&both(&long, ""), &["env-file-syntax: the values are too long or nest too deep"]);
    let raw = "services: {a: {image: i, env_file: [{path: e, format: raw}]}}";
    assert!(render(&format!("== compose.yaml\n{raw}\n== e\nA=$NO\nB\n")).is_ok());
}

#[test]
fn an_environment_file_is_text_where_it_holds_values_and_its_lines_are_not_shown() {
    let render = |bytes: &[u8]| {
        let mut tree = fixture("== compose.yaml\nservices: {a: {image: i, env_file: e}}\n");
        let content: Arc<[u8]> = bytes.into();
        let entry = Entry { size: content.len() as u64, content: Some(content), ..Entry::default() };
        tree.insert(format!("{FOLDER}/e").into(), entry);
        let source = Source::read(&tree, FOLDER, &ReadSpec::default()).unwrap();
        source.render(&tree, &Variables::new())
    };
    assert!(render(b"# Gr\xfc\xdfe\nA=1\n").is_ok());
    let found = render(b"A=1\nPASSWORD=hunter2-\xe4\n").unwrap_err();
    assert_eq!((found.len(), &*found[0].code), (1, "env-file-syntax"));
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
}

#[test]
fn a_missing_bind_mount_points_to_named_volumes() {
    let found = render("services: {a: {image: i, volumes: ['./data:/data']}}").unwrap_err();
    assert!(found.contains("for data that a service writes, use a named volume"), "{found}");
}

#[test]
fn of_thousands_of_mistakes_a_hundred_are_said_and_the_rest_counted() {
    let services = |fields: &str| -> String {
        let services: String = (0..2_000).map(|n| format!("  s{n}: {{{fields}}}\n")).collect();
        format!("services:\n{}", services.replace("NUMBER", "1"))
    };
    let check = |found: &str| {
        assert_eq!(found.lines().count(), 101, "{found}");
        assert!(
            found.contains("more-mistakes: and 1900 more in the Compose files of services/web"),
            "{found}"
        );
    };
    check(&render(&services("imgae: x")).unwrap_err());
    check(&render(&services("image: '${NO}'")).unwrap_err());
    check(&render(&services("image: x, env_file: nope")).unwrap_err());
    check(&render(&services("image: x, init: maybe")).unwrap_err());
    check(&render(&services("image: x, depends_on: [no]")).unwrap_err());
    check(&show(&render(&services("image: x, frobnicate: 1")).unwrap().warnings));
}
