//! The reference workload of the numbers in `docs/performance.md`: a repository of any size, made the same way every
//! time, as files in memory and as a bare Git repository.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How large the estate is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) services: usize,
    pub(crate) nodes: usize,
    /// Nodes that each service runs on.
    pub(crate) instances: usize,
}

/// 10,000 services, 3 instances each, 1,000 nodes.
pub(crate) const W10K: Size = Size { services: 10_000, nodes: 1_000, instances: 3 };

/// Every file by path. A service is about 1.2 kB in two files.
pub(crate) fn files(size: Size) -> Vec<(String, String)> {
    let mut files = vec![("gitops.toml".to_owned(), settings())];
    files.extend((0..size.nodes).map(|number| (format!("nodes/{}.yaml", node(number)), node_file(number))));
    for number in 0..size.services {
        let name = service(number);
        files.push((format!("services/{name}/service.yaml"), service_file(size, number)));
        files.push((format!("services/{name}/compose.yaml"), compose_file(number, 0)));
    }
    files
}

/// All nodes may be at work at once: what is measured is planning and not how a release goes.
fn settings() -> String {
    "format = 1\nname = \"reference\"\nmax_parallel = 1000\n\n[defaults.variables]\nREGISTRY = \"registry.example\"\nLOG_LEVEL = \"info\"\n".into()
}

pub(crate) fn node(number: usize) -> String {
    format!("node-{number:04}")
}

pub(crate) fn service(number: usize) -> String {
    format!("service-{number:05}")
}

fn node_file(number: usize) -> String {
    let zone = number % 8;
    format!(
        "node: {}\ndescription: Machine {number} of the reference workload\nlabels:\n  zone: z{zone}\n",
        node(number)
    )
}

fn service_file(size: Size, number: usize) -> String {
    let nodes = (0..size.instances).map(|copy| node((number * 7 + copy * 331) % size.nodes));
    let nodes: Vec<String> = nodes.collect();
    format!(
        "service: {}\ndescription: Service {number} of the reference workload, which stands for the ones people have\n\
         place:\n  nodes: [{}]\nvariables:\n  PORT: {}\n  WORKERS: 4\nhealth:\n  within: 90s\non_file_change: recreate\n",
        service(number),
        nodes.join(", "),
        10_000 + number % 20_000,
    )
}

/// `edit` changes one value, as a commit would.
pub(crate) fn compose_file(number: usize, edit: usize) -> String {
    let mut text = String::from("services:\n");
    for container in ["app", "worker"] {
        let _ = write!(
            text,
            "  {container}:\n    image: ${{REGISTRY}}/team-{}/{container}:1.{}.{edit}\n    restart: unless-stopped\n    environment:\n      \
             LOG_LEVEL: ${{LOG_LEVEL}}\n      WORKERS: ${{WORKERS}}\n      DATABASE: db-{}.internal\n    mem_limit: 256m\n    \
             healthcheck:\n      test: [CMD, wget, -q, -O, /dev/null, \"http://127.0.0.1:8080/healthz\"]\n      interval: 10s\n",
            number % 50,
            number % 90,
            number % 17,
        );
    }
    text.push_str("    volumes:\n      - data:/var/lib/app\nvolumes:\n  data:\n");
    text
}

/// A bare repository whose branch `main` has the files of `size`, and then `edits` commits that each change the
/// Compose file of one service.
pub(crate) fn bare_repository(path: &Path, size: Size, edits: usize) {
    git(path, &["init", "--quiet", "--bare", "--initial-branch=main", "."]);
    let mut stream = String::from("reset refs/heads/main\n");
    commit(&mut stream, 0, &files(size));
    for edit in 1..=edits {
        let number = edit * 37 % size.services;
        let path = format!("services/{}/compose.yaml", service(number));
        commit(&mut stream, edit, &[(path, compose_file(number, edit))]);
    }
    let mut import =
        git_command(path, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git runs");
    import.stdin.take().expect("it is piped").write_all(stream.as_bytes()).expect("git reads");
    assert!(import.wait().expect("git ends").success());
}

fn commit(stream: &mut String, number: usize, files: &[(String, String)]) {
    let message = format!("commit {number}");
    let _ = write!(stream, "commit refs/heads/main\nmark :{}\n", number + 1);
    let _ = write!(
        stream,
        "committer bench <bench@example> {} +0000\ndata {}\n{message}\n",
        1_700_000_000 + number,
        message.len()
    );
    if number > 0 {
        let _ = writeln!(stream, "from :{number}");
    }
    for (path, content) in files {
        let _ = write!(stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
    }
}

/// The commits of `main`, oldest first.
pub(crate) fn revisions(path: &Path) -> Vec<String> {
    let output = git_command(path, &["rev-list", "--reverse", "main"]).output().expect("git runs");
    String::from_utf8(output.stdout).expect("hexadecimal digits").lines().map(str::to_owned).collect()
}

pub(crate) fn git(path: &Path, arguments: &[&str]) {
    assert!(git_command(path, arguments).status().expect("git runs").success());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]
fn git_command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(path)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}
