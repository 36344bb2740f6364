//! From a Compose file to its powers, through the public door.

use super::*;
use crate::compose::{ReadSpec, Source, Variables};
use crate::tree::Tree;

/// The powers of the service `a` of `services/web` with these fields, one line each: name and field.
fn of_file(compose: &str) -> Vec<String> {
    let files = [
        ("services/web/compose.yaml", compose),
        ("services/web/conf/app.conf", "x"),
        ("services/web/docker.sock", "x"),
        ("services/web/own.labels", "team=web\n"),
        ("services/web/taken.labels", "# ours\nexport com.docker.compose.project = other\n"),
    ];
    let tree = Tree::from_files(files);
    let source = Source::read(&tree, "services/web", &ReadSpec::default()).expect(compose);
    let rendered =
        source.render(&tree, &Variables::new()).unwrap_or_else(|found| panic!("{compose}\n{found:#?}"));
    let line = |power: Power| format!("{} at {}", power.capability, power.path.join("."));
    rendered.powers.below(1024).map(line).collect()
}

fn of_service(fields: &str) -> Vec<String> {
    let lines: String = fields.lines().map(|line| format!("    {line}\n")).collect();
    let sections = "networks: {front: {}}\nvolumes: {data: {}}\n";
    of_file(&format!("services:\n  a:\n    image: i\n{lines}  b:\n    image: i\n{sections}"))
}

/// The names alone, in order and once each.
fn names(powers: Vec<String>) -> String {
    let names: BTreeSet<String> =
        powers.iter().map(|power| power.split(" at ").next().unwrap_or_default().to_owned()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[test]
fn fields_of_a_service_are_powers() {
    let check = |fields: &str, expected: &str| assert_eq!(names(of_service(fields)), expected, "{fields}");
    check("privileged: true", "privileged");
    check("privileged: 'yes'", "privileged");
    check("privileged: false", "");
    check("cap_add: [net_admin, CAP_SYS_ADMIN, ALL]", "cap-add:ALL, cap-add:NET_ADMIN, cap-add:SYS_ADMIN");
    check("cap_add: [CHOWN, cap_net_bind_service]\ncap_drop: [ALL]", "");
    check(
        "devices: ['/dev/ttyUSB0:/dev/ttyUSB0:rw', 'vendor.example/class=one']",
        "device:/dev/ttyUSB0, device:vendor.example/class=one",
    );
    check("devices: [{source: /dev//kvm/, target: /dev/kvm}]", "device:/dev/kvm");
    check("device_cgroup_rules: ['c  1:3   rwm']", "device:c 1:3 rwm");
    check("network_mode: host", "host-network");
    check("network_mode: none", "");
    check("network_mode: service:b", "");
    check("network_mode: container:other", "foreign-container:other");
    check("network_mode: bridge", "external-network:bridge");
    check("network_mode: default", "external-network:bridge");
    check("network_mode: other_front", "external-network:other_front");
    check("pid: host", "host-pid");
    check("pid: service:b", "");
    check("pid: container:other", "foreign-container:other");
    check("ipc: host", "host-ipc");
    check("ipc: shareable", "");
    check("uts: host", "host-uts");
    check("cgroup: host", "host-cgroup");
    check("userns_mode: host", "userns-host");
    check(
        "security_opt: ['seccomp=unconfined', 'label:disable']",
        "security-opt:label:disable, security-opt:seccomp:unconfined",
    );
    check("security_opt: ['no-new-privileges:true', no-new-privileges]", "");
    check("security_opt: ['no-new-privileges=false']", "security-opt:no-new-privileges:false");
    check("cgroup_parent: system.slice", "cgroup-parent");
    check("sysctls: [net.core.somaxconn=1]", "sysctl:net.core.somaxconn");
    check("sysctls: {net.core.somaxconn: 1}", "sysctl:net.core.somaxconn");
    check("logging: {driver: syslog}", "logging-driver:syslog");
    check("logging: {driver: local, options: {max-size: 1m}}", "");
    check("container_name: web", "container-name");
    check("post_start: [{command: date}]", "hooks");
    check("pre_stop: [{command: date, privileged: true}]", "hooks, privileged");
    check("provider: {type: awesomecloud}", "provider");
    check("gpus: all", "gpu");
    check("gpus: [{driver: nvidia, count: 1}]", "gpu");
    check("runtime: nvidia", "gpu");
    check("runtime: runc", "");
    check("runtime: sysbox-runc", "runtime:sysbox-runc");
    check("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", "gpu");
    check(
        "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [utility]}]}}}",
        "gpu",
    );
    check(
        "deploy: {resources: {reservations: {devices: [{driver: cdi, capabilities: [x], device_ids: [v.example/c=1]}]}}}",
        "device:v.example/c=1",
    );
    check("deploy: {resources: {reservations: {devices: [{capabilities: [tpu]}]}}}", "device:tpu");
    check("labels: {gitops.node: x}", "foreign-label");
    check("labels: [com.docker.compose.project=other]", "foreign-label");
    check("labels: {gitopsy: x, com.docker.composer: y, traefik.enable: true}", "");
    check("deploy: {labels: {com.docker.compose.service: x}}", "foreign-label");
    check("label_file: own.labels", "");
    check("label_file: [taken.labels]", "foreign-label");
    check("annotations: [run.oci.handler=x]", "annotation:run.oci.handler");
    check("external_links: ['db_1:db']", "foreign-container:db_1");
    check("volumes_from: ['container:other:ro', 'b:ro']", "foreign-container:other");
    check("credential_spec: {file: spec.json}", "credential-spec");
    check("oom_kill_disable: true", "oom-kill-disable");
    check("oom_score_adj: -500", "oom-score");
    check("oom_score_adj: 500", "");
    check("cpu_rt_runtime: 400000", "realtime");
    check("use_api_socket: true", "docker-socket");
    check("env_file: /etc/secret.env", "bind:/etc/secret.env");
    check("sudo_mode: true", "field:sudo_mode");
    check(
        "networks: {front: {driver_opts: {com.docker.network.endpoint.sysctls: 'net.ipv4.conf.IFNAME.forwarding=1'}}}",
        "sysctl:net.ipv4.conf.IFNAME.forwarding",
    );
}

#[test]
fn an_ordinary_service_has_none() {
    let ordinary = "user: '1000'\nports: ['8080:80', '443', '127.0.0.1::81']\nvolumes: [data:/data, ./conf:/conf:ro, /tmp]\n\
        networks: [front]\nhealthcheck: {test: [CMD, true]}\nrestart: always\nread_only: true\ncap_drop: [ALL]\n\
        mem_limit: 1g\ntmpfs: /run\ninit: true\nexpose: [80]\nextra_hosts: ['a=1.1.1.1']\nulimits: {nofile: 1000}\n\
        logging: {driver: json-file}\ndeploy: {resources: {limits: {memory: 1g}, reservations: {cpus: '1'}}}\n\
        labels: {a.b: c}\ndns: 1.1.1.1\nstop_signal: SIGINT\nuserns_mode: ''\noom_kill_disable: false";
    assert_eq!(of_service(ordinary), [""; 0]);
}

#[test]
fn what_a_container_sees_of_the_host_is_named_by_its_path() {
    let check = |mount: &str, expected: &str| {
        assert_eq!(names(of_service(&format!("volumes: [{mount}]"))), expected, "{mount}");
    };
    check("/srv/media:/media:ro", "bind:/srv/media");
    check("{type: bind, source: /srv//media/, target: /media}", "bind:/srv/media");
    check("/var/run/docker.sock:/var/run/docker.sock:ro", "docker-socket");
    check("{type: bind, source: //var/run/../run/docker.sock/, target: /x}", "docker-socket");
    check("/proc/1/root/run/docker.sock:/x", "docker-socket");
    check("/var/run:/x", "bind:/run, docker-socket");
    check("/:/host", "bind:/, docker-socket");
    check("/var:/x:ro", "bind:/var, docker-socket");
    check(
        "{type: npipe, source: '\\\\.\\pipe\\docker_engine', target: '\\\\.\\pipe\\docker_engine'}",
        "docker-socket",
    );
    check("{type: cluster, source: shared, target: /x}", "external-volume:shared");
    check("{type: bind, source: ./conf, target: /x, bind: {propagation: rshared}}", "propagation:rshared");
    check("./docker.sock:/x", "");
    check("data:/var/run/docker.sock", "");
    check("{type: tmpfs, target: /var/run}", "");
}

#[test]
fn ports_below_the_floor_are_powers_by_range() {
    let check = |ports: &str, expected: &str| {
        assert_eq!(names(of_service(&format!("ports: [{ports}]"))), expected, "{ports}");
    };
    check("'53:53/udp'", "host-port:53");
    check("'127.0.0.1:80:8080'", "host-port:80");
    check("'[::1]:80:8080'", "host-port:80");
    check("{target: 8080, published: 80, mode: host}", "host-port:80");
    check("{target: 8080, published: '1000-2000'}", "host-port:1000-1023");
    check("'1022-1025:1022-1025'", "host-port:1022, host-port:1023");
    check("'1023-1025:80'", "host-port:1023");
    check("'1-2000:1-2000'", "host-port:1-1023");
    check("'0.0.0.0:1-2000:1-2000/udp'", "host-port:1-1023");
    check("'1024:80', '65535:81', '80', '0:82'", "");
}

#[test]
fn the_floor_says_which_ports_count() {
    let tree =
        Tree::from_files([("services/web/compose.yaml", "services: {a: {image: i, ports: ['8080:80']}}")]);
    let source = Source::read(&tree, "services/web", &ReadSpec::default()).expect("it is right");
    let powers = source.render(&tree, &Variables::new()).expect("it is right").powers;
    for (floor, count) in [(0, 0), (1, 0), (8080, 0), (8081, 1), (u16::MAX, 1)] {
        assert_eq!(powers.below(floor).count(), count, "{floor}");
    }
    assert!(!powers.is_empty());
}

#[test]
fn what_is_not_of_the_project_is_foreign_however_it_is_written() {
    let check = |sections: &str, expected: &str| {
        let file = format!("services: {{a: {{image: i}}}}\n{sections}\n");
        assert_eq!(names(of_file(&file)), expected, "{sections}");
    };
    check("networks: {front: {external: true}}", "external-network:front");
    check("networks: {front: {external: {name: other}}}", "external-network:other");
    check("networks: {front: {name: other_front}}", "external-network:other_front");
    check("networks: {front: {name: web_front}}", "");
    check("networks: {front: {external: true, name: host}}", "host-network");
    check("networks: {front: {driver: host}}", "host-network");
    check(
        "networks: {front: {driver: macvlan, driver_opts: {parent: eth0}}}",
        "network-driver:macvlan, network-option:parent",
    );
    check(
        "networks: {front: {driver_opts: {com.docker.network.bridge.name: docker0}}}",
        "network-option:com.docker.network.bridge.name",
    );
    check(
        "networks: {front: {driver: bridge, internal: true, driver_opts: {com.docker.network.driver.mtu: 1400}}}",
        "",
    );
    check("networks: {front: {ipam: {driver: dhcp}}}", "network-driver:dhcp");
    check("networks: {front: {labels: {com.docker.compose.project: other}}}", "foreign-label");
    check("volumes: {data: {external: true}}", "external-volume:data");
    check("volumes: {data: {name: other_data}}", "external-volume:other_data");
    check(
        "volumes: {data: {external: true, name: /var/run}}",
        "bind:/run, docker-socket, external-volume:/var/run",
    );
    check("volumes: {data: {labels: [gitops.service=x]}}", "foreign-label");
    check(
        "configs: {c: {external: true}}\nsecrets: {s: {external: true, name: t}}",
        "external-config:c, external-secret:t",
    );
    check("configs: {c: {file: /etc/passwd}}", "bind:/etc/passwd");
    check("secrets: {s: {file: /run/docker.sock}}", "docker-socket");
    check("configs: {c: {content: hello}}\nsecrets: {s: {file: ./conf/app.conf}}", "");
    check("future: {thing: 1}", "field:future");
}

#[test]
fn a_volume_is_what_its_options_mount() {
    let check = |volume: &str, expected: &str| {
        let file = format!("services: {{a: {{image: i}}}}\nvolumes:\n  data: {volume}\n");
        assert_eq!(names(of_file(&file)), expected, "{volume}");
    };
    check("{driver_opts: {type: none, o: bind, device: /srv/data}}", "bind:/srv/data");
    check(
        "{driver: local, driver_opts: {type: none, o: 'rw,rbind', device: /var/run}}",
        "bind:/run, docker-socket",
    );
    check("{driver_opts: {type: tmpfs, o: bind, device: /run/docker.sock}}", "docker-socket");
    check("{driver_opts: {Type: none, O: bind, Device: /srv}}", "bind:/srv");
    check("{driver: local, driver_opts: {type: none, o: bind, device: ./conf}}", "");
    check("{driver_opts: {type: none, o: rbind, device: ./conf}}", "bind:/conf");
    check("{driver_opts: {type: none, device: /srv}}", "bind:/srv");
    check("{driver_opts: {type: tmpfs, device: tmpfs, o: 'size=10m'}}", "");
    check(
        "{driver_opts: {type: nfs, device: ':/export', o: 'addr=10.0.0.1,rw'}}",
        "mount:nfs:10.0.0.1:/export",
    );
    check(
        "{driver_opts: {type: cifs, device: //nas/share, o: 'username=u,password=p'}}",
        "mount:cifs://nas/share",
    );
    check("{driver_opts: {type: ext4, device: /dev/sda1}}", "mount:ext4:/dev/sda1");
    check(
        "{driver_opts: {type: overlay, device: overlay, o: 'lowerdir=/etc,upperdir=/srv/u,workdir=/srv/w'}}",
        "bind:/etc, bind:/srv/u, bind:/srv/w, mount:overlay:overlay",
    );
    check("{driver: vieux/sshfs, driver_opts: {sshcmd: 'a@b:/'}}", "volume-driver:vieux/sshfs");
}

#[test]
fn a_power_names_the_field_that_uses_it() {
    assert_eq!(
        of_service("volumes: ['/run/docker.sock:/x']"),
        ["docker-socket at services.a.volumes./run/docker.sock"]
    );
    assert_eq!(of_service("cap_add: [SYS_ADMIN]"), ["cap-add:SYS_ADMIN at services.a.cap_add.SYS_ADMIN"]);
    assert_eq!(of_service("ports: ['53:53/udp']"), ["host-port:53 at services.a.ports.53.published"]);
}
