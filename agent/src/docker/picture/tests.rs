use serde_json::json;

use super::*;

fn of(inspected: Value) -> Picture {
    picture(&serde_json::from_value(inspected).unwrap()).unwrap()
}

fn inspected() -> Value {
    json!({
        "Id": "0123456789abcdef", "Name": "/web-app-1", "Created": "2026-01-01T00:00:00Z",
        "Config": {
            "Image": "nginx:1.28", "Cmd": ["run", "it"], "Env": ["A=secret", "B="], "User": "1000", "Hostname": "0123456789ab",
            "Labels": {"com.docker.compose.service": "app", "gitops.node": "n", "com.example.team": "shop"},
        },
        "HostConfig": {
            "Memory": 67_108_864, "MemorySwap": 134_217_728, "NanoCpus": 500_000_000, "PidsLimit": 50,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "CapAdd": ["B", "A"], "Privileged": true,
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "Tmpfs": {"/run": ""},
        },
        "Mounts": [
            {"Type": "volume", "Name": "web_data", "Source": "/x", "Destination": "/data", "RW": true},
            {"Type": "volume", "Name": "ab".repeat(32), "Destination": "/cache", "RW": true},
            {"Type": "bind", "Source": "/etc/x", "Destination": "/x", "RW": false},
        ],
        "NetworkSettings": {"Networks": {"web_default": {
            "Aliases": ["app", "0123456789ab", "a"], "IPAddress": "172.18.0.2", "MacAddress": "02:42:ac:12:00:02",
            "NetworkID": "1", "EndpointID": "2", "IPAMConfig": null, "DriverOpts": {},
        }}},
    })
}

#[test]
fn everything_that_others_could_change_is_in_it_and_no_value_of_a_variable() {
    let picture = of(inspected());
    let lines: Vec<String> =
        picture.fields.iter().map(|(field, value)| format!("{field} = {value}")).collect();
    assert_eq!((&*picture.service, &*picture.name), ("app", "web-app-1"));
    assert_eq!(
        lines,
        [
            r#"command = ["run","it"]"#.to_owned(),
            format!("env.A = \"{}\"", Digest::of("secret")),
            format!("env.B = \"{}\"", Digest::of("")),
            r#"image = "nginx:1.28""#.to_owned(),
            r#"labels.com.example.team = "shop""#.to_owned(),
            r#"mounts./cache = "volume anonymous writable""#.to_owned(),
            r#"mounts./data = "volume web_data writable""#.to_owned(),
            r#"mounts./run = "tmpfs ""#.to_owned(),
            r#"mounts./x = "bind /etc/x read-only""#.to_owned(),
            r#"networks.web_default = {"Aliases":["a","app"]}"#.to_owned(),
            r#"ports.80/tcp = "*:8080""#.to_owned(),
            "resources.cpus = 500000000".to_owned(),
            "resources.memory = 67108864".to_owned(),
            "resources.memory_swap = 134217728".to_owned(),
            "resources.pids = 50".to_owned(),
            r#"restart = "on-failure:3""#.to_owned(),
            r#"security.cap_add = ["A","B"]"#.to_owned(),
            "security.privileged = true".to_owned(),
            r#"user = "1000""#.to_owned(),
        ]
    );
}

#[test]
fn what_engines_fill_in_and_what_changes_by_itself_makes_no_difference() {
    let same = |change: &dyn Fn(&mut Value)| {
        let mut other = inspected();
        change(&mut other);
        assert_eq!(of(inspected()).changed(&of(other.clone())), [], "{other}");
    };
    same(&|other| other["Created"] = json!("2026-02-02T00:00:00Z"));
    same(&|other| other["State"] = json!({"Status": "exited", "ExitCode": 1}));
    same(&|other| other["HostConfig"]["CpuShares"] = json!(0));
    same(&|other| other["HostConfig"]["CapDrop"] = json!([]));
    same(&|other| other["HostConfig"]["CapAdd"] = json!(["A", "B"]));
    same(&|other| other["HostConfig"]["SecurityOpt"] = Value::Null);
    same(&|other| other["HostConfig"]["UsernsMode"] = json!(""));
    same(&|other| {
        other["Id"] = json!("fedcba9876543210");
        other["NetworkSettings"]["Networks"]["web_default"]["Aliases"] =
            json!(["a", "fedcba987654", "app", "app"]);
    });
    same(&|other| other["NetworkSettings"]["Networks"]["web_default"]["IPAddress"] = json!("172.18.0.9"));
    same(&|other| other["Mounts"][1]["Name"] = json!("cd".repeat(32)));
    same(&|other| other["Config"]["Labels"]["com.docker.compose.config-hash"] = json!("x"));
}

#[test]
fn a_limit_is_given_back_together_with_the_others_and_one_that_was_not_set_cannot_be() {
    let picture = of(inspected());
    let body = serde_json::to_value(update(&picture, "resources.memory").unwrap()).unwrap();
    let expected = json!({
        "Memory": 67_108_864, "MemorySwap": 134_217_728, "NanoCpus": 500_000_000, "PidsLimit": 50,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    });
    assert_eq!(body, expected);
    assert!(update(&picture, "restart").is_some());
    assert_eq!(update(&picture, "resources.cpuset"), None);
    assert_eq!(update(&picture, "resources.ulimits"), None);
    let mut bare = inspected();
    bare["HostConfig"] = json!({});
    let policy = update(&of(bare), "restart").unwrap().restart_policy.unwrap();
    assert_eq!(policy.name, Some(RestartPolicyNameEnum::NO));
}
