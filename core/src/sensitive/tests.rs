use super::*;
use serde_json::json;

#[test]
fn what_looks_like_a_secret_is_hidden() {
    for (field, value) in [
        ("services.db.environment.POSTGRES_PASSWORD", "x"),
        ("services.db.environment.API_KEY", "x"),
        ("services.db.environment.DBPASS", "x"),
        ("services.db.environment.MYSQL_ROOT_PW", "x"),
        ("services.db.environment.WIFI_PSK", "x"),
        ("services.db.environment.GH_PAT", "x"),
        ("services.db.environment.APP_KEY", "x"),
        ("services.db.environment.WG_PRESHARED_KEY", "x"),
        ("services.db.environment.SESSION_COOKIE", "x"),
        ("services.a.command", "tailscale up --hostname x tskey-auth-kX1"),
        ("services.db.environment.STRIPE_SECRET", "x"),
        ("services.a.environment.GITHUB_TOKEN", "x"),
        ("services.a.environment.DATABASE", "postgres://app:hunter2@db/app"),
        ("services.a.command", "redis-server --requirepass=hunter2 --password x"),
        ("services.a.command", "[\"psql\",\"PGPASSWORD=x\"]"),
        ("services.a.environment", "{\"DB_PASSWORD\":\"x\"}"),
        ("services.a.healthcheck.test", "curl -H 'Authorization: Bearer abc' x"),
        ("configs.a.content", "-----BEGIN PRIVATE KEY-----"),
        ("services.a.labels.users", "admin:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"),
        ("services.a.environment.X", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("services.a.environment.X", "AKIAIOSFODNN7EXAMPLE"),
        ("services.a.environment.X", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1a2B3c4D5e6F7g8H9"),
        ("services.a.environment.X", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        ("services.a.environment.X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"),
        ("services.db.environment.DB_PASS", "x"),
        ("services.db.environment.smtpPass2", "x"),
        ("services.a.environment.X", "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@github.com/x"),
        ("services.a.environment.X", "postgres://app:hun#ter@db"),
        ("services.a.environment.X", "postgres://app:hun/t?er@db/app"),
        ("services.a.environment.X", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b:x"),
        ("configs.app.content", "password:\n  hunter2\n"),
        ("configs.app.content", "requirepass hunter2"),
        ("secrets.db.content", "x"),
        ("secrets.db.environment", "x"),
        ("services.a.environment.X", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ] {
        assert!(is_sensitive(field, value), "{field} = {value}");
    }
}

#[test]
fn what_people_review_is_shown() {
    for (field, value) in [
        ("services.web.image", "nginx:1.27"),
        ("services.web.image", "ghcr.io/our-team/shop-frontend-service:2026-11-21-rc.4"),
        (
            "services.web.image",
            "nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        ("services.token-api.image", "registry/token-api:1.2"),
        ("services.token-api.image", "token-api:1.2"),
        ("services.web.labels.image", "registry/token-api:1.2"),
        ("services.auth.environment.AUTHOR", "Ada"),
        ("networks.auth.driver", "bridge"),
        ("services.web.environment.BYPASS", "true"),
        ("services.web.environment.PATH_PREFIX", "/pw"),
        ("services.web.environment.KEYCLOAK_URL", "http://keycloak:8080"),
        ("secrets.db.file", "./db.txt"),
        ("services.web.command", "AUTHOR=Ada"),
        ("services.web.command", "PASSENGERS=3"),
        ("services.web.command", "COMPASS=north"),
        ("services.web.command", "AUTHORITY=x"),
        ("services.web.command", "bypass: true"),
        ("services.web.mem_limit", "512m"),
        ("services.web.labels.cron", "*/5 3 * * 1-5 /usr/bin/backup"),
        ("services.web.environment.URL", "https://docs.example.org/a/b?page=2#top"),
        ("services.web.environment.URL", "http://auth:8080/login"),
        (
            "services.web.environment.URL",
            "docker://a/x:1.2@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        ("services.web.environment.VERSION", "v1.28.3-rc.4+build.20261121"),
        ("services.web.environment.LOG_LEVEL", "debug"),
        ("services.web.environment.KEYBOARD", "de"),
        ("services.web.ports", "127.0.0.1:8080:80"),
        ("services.web.environment.URL", "http://api:8080/v1@next"),
        ("services.web.command", "httpd -f -p 8080 -h /www"),
        ("services.web.volumes", "/srv/media/photos-of-the-year-2026/originals:/data:ro"),
        ("services.web.labels.rule", "Host(`shop.example.org`) && PathPrefix(`/api/v2`)"),
        ("services.web.environment.JAVA_OPTS", "-XX:MaxRAMPercentage=75.0 -XX:+UseG1GC"),
        ("services.web.environment.HOST", "prometheus-node-exporter-9100.internal.example.org"),
    ] {
        assert!(!is_sensitive(field, value), "{field} = {value}");
    }
}

#[test]
fn a_value_that_stands_under_a_secret_name_is_hidden_wherever_it_stands() {
    let document = json!({
        "environment": {"DB_PASSWORD": "Hunter2x", "AUTH_MODE": "oauth2-proxy", "API_TOKEN": "sesame", "PIN": "1234"},
        "list": [{"name": "SMTP_PASSWORD", "value": "from-a-pair"}],
        "block": {"secret": "first-line\nsecond-line"},
    });
    let sensitive = Sensitive::default().knowing([&document], [("ROOT_PASSWORD", "of-a-variable")]);
    let check = |text: &str, expected: &str| {
        assert_eq!(sensitive.lines(text).join("\n"), expected);
        let is_hidden = sensitive.hides(&["a".into()], &Value::String(text.to_owned()));
        assert_eq!(is_hidden, text != expected, "{text}");
    };
    check("plain: Hunter2x", "plain: (hidden)");
    check("a b-Hunter2x-c Hunter2x", "a b-(hidden)-c (hidden)");
    check("x from-a-pair x", "x (hidden) x");
    check("x of-a-variable x", "x (hidden) x");
    check("x second-line x", "x (hidden) x");
    check("open sesame", "open (hidden)");
    for shown in ["/seeds/sesames", "oauth2-proxy", "port 1234", "hunter2x"] {
        check(shown, shown);
    }
    let image = ["services", "a", "image"].map(Arc::from);
    assert!(!sensitive.hides(&image, &json!("sesame:1.2")));
    assert_eq!(Sensitive::default().and(&sensitive).lines("sesame"), ["(hidden)"]);
    assert_eq!(sensitive.and(&Sensitive::default()), sensitive);
}

#[test]
fn passwords_that_programs_take_after_a_flag_are_hidden_and_other_flags_are_not() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Sensitive::default().lines(text).join("\n"), expected, "{text}");
    };
    check("mysql -u root -pX db", "mysql -u root -p(hidden)");
    check("/usr/bin/mysqldump '-pX'", "/usr/bin/mysqldump '-p(hidden)");
    check("curl -u a:X http://b", "curl -u (hidden)");
    check("curl -s -ua:X http://b", "curl -s -u(hidden)");
    check("curl --user a:X http://b", "curl --user (hidden)");
    check("x --password X -v", "x --password (hidden)");
    check("PGPASSWORD=X psql", "PGPASSWORD=(hidden)");
    check("sshpass -p X ssh b", "sshpass -p (hidden)");
    check("redis-cli -a X ping", "redis-cli -a (hidden)");
    check("[\"mysql\", \"-pX\"]", "[\"mysql\", \"-p(hidden)");
    check("CREATE USER a IDENTIFIED BY 'X';", "CREATE USER a IDENTIFIED BY '(hidden)'");
    check("alter user a identified with b by 'X';", "alter user a identified with b by '(hidden)'");
    check("CREATE ROLE a LOGIN PASSWORD 'X';", "CREATE ROLE a LOGIN PASSWORD '(hidden)'");
    for shown in [
        "mysql -P 3306 -h db -p",
        "mysql -p db",
        "curl -u name http://b",
        "curl -fsS http://b:80/c",
        "httpd -f -p 8080",
        "mysql -h db && mkdir -parents",
        "mysql -h db | gzip -p5",
        "mysql -h db; ssh -p22 b",
        "docker run -p 80:80 nginx",
        "identified a cause, stand by it",
    ] {
        check(shown, shown);
    }
    assert!(is_sensitive("services.a.command", "mysql -pX"));
    let list = json!(["mysqladmin", "-pX", "ping"]);
    assert!(Sensitive::default().hides(&["services".into(), "a".into(), "test".into()], &list));
}

#[test]
fn a_value_is_hidden_whose_name_stands_beside_it() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Sensitive::default().lines(text).join("\n"), expected, "{text}");
    };
    check(
        "- name: DB_PASSWORD\n  value: x\n- name: A\n  value: y",
        "- name: DB_PASSWORD\n  value: (hidden)\n- name: A\n  value: y",
    );
    check("- value: x\n  name: DB_PASSWORD\n- value: y", "(hidden)\n  name: DB_PASSWORD\n- value: y");
    check(
        "- name: DB_PASSWORD\n  value: |\n    x\n- name: A",
        "- name: DB_PASSWORD\n  value: |\n    (hidden)\n- name: A",
    );
    check(
        "[\n  {\n    \"name\": \"DB_PASSWORD\",\n    \"value\": \"x\"\n  },\n  {\n    \"name\": \"A\",\n    \"value\": \"y\"\n  }\n]",
        "[\n  {\n    \"name\": \"DB_PASSWORD\",\n    \"value\": \"(hidden)\"\n  },\n  {\n    \"name\": \"A\",\n    \"value\": \"y\"\n  }\n]",
    );
    check(
        "- {name: DB_PASSWORD, value: x}\n- {name: A, value: y}",
        "- {name: DB_PASSWORD, value: (hidden)\n- {name: A, value: y}",
    );
    check("{\"value\": \"x\", \"key\": \"DB_PASSWORD\"}", "{\"value\": \"(hidden)\"");
    check(
        "<add key=\"DB_PASSWORD\" value=\"x\"/>\n<add key=\"A\" value=\"y\"/>",
        "<add key=\"DB_PASSWORD\" (hidden)\n<add key=\"A\" value=\"y\"/>",
    );
    for shown in [
        "- name: PORT\n  value: 80",
        "name: web\nvalue: 1\nkey: region",
        "- name: DB_PASSWORD\n- name: A\n  value: y",
        "the name of a token, and its value",
    ] {
        check(shown, shown);
    }
    assert!(Sensitive::default().hides(&["a".into()], &json!([{"name": "DB_PASSWORD", "value": "x"}])));
    assert!(!Sensitive::default().hides(&["a".into()], &json!([{"name": "PORT", "value": "x"}])));
}

#[test]
fn columns_of_a_table_are_hidden_whose_head_says_so() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Sensitive::default().lines(text).join("\n"), expected, "{text}");
    };
    check("user,password,mail\na,x,b\nc,\"y,z\",d\n\n", "user,password,mail\na,(hidden),b\n(hidden)\n");
    check("\"user\";\"api token\"\na;x", "\"user\";\"api token\"\na;(hidden)");
    for shown in ["user,mail\na,b", "user, password and mail.\nThat is all", "a,password", "a,b,password\nc"]
    {
        check(shown, shown);
    }
}

#[test]
fn some_names_say_so_as_a_whole() {
    for (line, expected) in [
        ("PIN=1234", "PIN=(hidden)"),
        ("pin: 1234", "pin: (hidden)"),
        ("KEY=x", "KEY=(hidden)"),
        ("SALT: x", "SALT: (hidden)"),
        ("PASSPHRASE=x", "PASSPHRASE=(hidden)"),
        ("key: region", "key: region"),
        ("spin: 1", "spin: 1"),
        ("PIN_COUNT=4", "PIN_COUNT=4"),
        ("KEYS: a", "KEYS: a"),
        ("keyboard: de", "keyboard: de"),
    ] {
        assert_eq!(Sensitive::default().lines(line), [expected]);
    }
}

#[test]
fn big_texts_are_looked_at_once() {
    let variables: Vec<(String, String)> =
        (0..5_000).map(|n| (format!("TOKEN{n}"), format!("value-{n}-of-many"))).collect();
    let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let sensitive = Sensitive::default().knowing([], variables);
    let text = "- value: x\n  a: value-7-of-none\n".repeat(5_000) + "value-4999-of-many";
    assert_eq!(sensitive.lines(&text).last().map(String::as_str), Some("(hidden)"));
}

#[test]
fn a_policy_names_what_else_is_hidden() {
    let sensitive = Sensitive::new(["*_LICENSE", "internal*", "*mid*", "exact"].map(Arc::from));
    for (name, expected) in [
        ("APP_LICENSE", true),
        ("APP_LICENSE_URL", false),
        ("InternalHost", true),
        ("my-internal", false),
        ("amidst", true),
        ("Exact", true),
        ("exactly", false),
    ] {
        assert_eq!(sensitive.names_a_secret(name), expected, "{name}");
    }
}

#[test]
fn a_secret_is_found_however_deep_it_is() {
    let sensitive = Sensitive::default();
    let path = ["services".into(), "a".into()];
    for value in [
        json!({"environment": {"DB_PASSWORD": "x"}}),
        json!(["run", "--token", "x"]),
        json!([{"name": "a", "secret": 1}]),
        json!("a\nb\npassword = x"),
    ] {
        assert!(sensitive.hides(&path, &value), "{value}");
    }
    assert!(!sensitive.hides(&path, &json!({"environment": {"A": "x"}, "ports": [80, 443]})));
}

#[test]
fn lines_of_a_file_come_without_their_secrets() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Sensitive::default().lines(text).join("\n"), expected, "{text}");
    };
    check("a = 1\npassword = hunter2", "a = 1\npassword = (hidden)");
    check(
        "db:\n  password: |\n    hun\n    ter2\n  port: 1",
        "db:\n  password: |\n    (hidden)\n    (hidden)\n  port: 1",
    );
    check("tokens:\n- hunter2\nport: 1", "tokens:\n(hidden)\nport: 1");
    check("secrets:\n  a: hunter2\n\n  b: hunter2\nc: 1", "secrets:\n  (hidden)\n\n  (hidden)\nc: 1");
    check("[credentials]\n  a = hunter2\n[other]", "[credentials]\n  (hidden)\n[other]");
    check("<password>hunter2</password>", "<password>(hidden)");
    check("url = http://u:hunter2@db/x # note", "url = (hidden) # note");
    check("proxy_set_header Authorization \"hunter2\";", "proxy_set_header Authorization \"(hidden)\"");
    check("url = http://u:hunter2@db/x?password=y", "url = (hidden)");
    check("DB_PASS=x\nSMTP_PASS = y", "DB_PASS=(hidden)\nSMTP_PASS = (hidden)");
    check("\"auth\": \"dXNlcjpwYXNz\"", "\"auth\": \"(hidden)\"");
    check("requirepass x\nmasterauth y # z", "requirepass (hidden)\nmasterauth (hidden)");
    check("  password hunter2\n# a password policy", "  password (hidden)\n# a password policy");
    check("- password: x\n  user: y", "- password: (hidden)\n  user: y");
    check("- PASSWORD=hun\n  ter2\n- A=1", "- PASSWORD=(hidden)\n  (hidden)\n- A=1");
    check("- --password\n- hunter2\nport: 1", "- --password\n(hidden)\nport: 1");
    check("\"password\":\n\"hunter2\"\n}", "\"password\":\n(hidden)\n}");
    check("[credentials]\na = hunter2\n\n[other]\nb = 1", "[credentials]\n(hidden)\n\n[other]\nb = 1");
    check("the token's scope\nb", "the token's scope\nb");
    check("# where passwords are kept", "# where passwords are kept");
    check("{\"token\": \"x\", \"a\": 1}", "{\"token\": \"(hidden)\"");
}

#[test]
fn a_secret_is_hidden_to_its_end() {
    for text in [
        "password: hun\n  ter2\nport: 1",
        "password: |2\n    ter2\nport: 1",
        "password: | # x\n  ter2\nport: 1",
        "password: &a |\n  ter2\nport: 1",
        "password: \"hun\nter2\"\nport: 1",
        "password = \"\"\"\nter2\n\"\"\"\nport: 1",
        "password = '''hun\nter2'''\nport: 1",
        "password = \\\nter2\nport: 1",
        "password = hun\\\nter2\\\nter2\nport: 1",
        "password = [\n\"ter2\",\n]\nport: 1",
        "<password>\nter2\n</password>\nport: 1",
        "<password kind=\"plain\">\nter2\n</password>\nport: 1",
    ] {
        let shown = Sensitive::default().lines(text).join("\n");
        assert!(!shown.contains("ter2") && shown.ends_with("port: 1"), "{text}\n{shown}");
    }
}

#[test]
fn messages_come_without_their_secrets() {
    let check = |text: &str, expected: &str| assert_eq!(Sensitive::default().redacted(text), expected);
    check("web: nginx 1.28", "web: nginx 1.28");
    check("rotate: password=hunter2", "rotate: password=(hidden)");
    check("use ghp_16C7e42F292c6912E7710c838347Ae178B4a now", "use (hidden) now");
    check("add password policy", "add password policy");
    check("token refresh", "token refresh");
    check("auth: mend the login", "auth: mend the login");
    check("use it\n\ntoken: x", "use it\n\ntoken: (hidden)");
}

#[test]
fn files_of_keys_are_not_shown_at_all() {
    let hides = |path: &str, content: &str| Sensitive::default().hides_file(path, content).is_some();
    assert!(hides("tls/site.key", ""));
    assert!(hides("secrets/db.txt", ""));
    assert!(hides("id_ed25519", ""));
    assert!(hides("app.conf", "x\n-----BEGIN RSA PRIVATE KEY-----\n"));
    for name in [".netrc", ".pgpass", "home/.dockercfg", ".htpasswd", "a.kdbx", "x.keytab"] {
        assert!(hides(name, ""), "{name}");
    }
    let policy = Sensitive::new(["*_salt".into()]);
    assert!(policy.hides_file("conf/db_salt.txt", "").is_some());
    assert!(!hides("auth/site.conf", "listen 80;"));
    assert!(!hides("nginx/site.conf", "listen 80;"));
}
