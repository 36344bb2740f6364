//! The command line, as sessions at a terminal: every document in `tests/cli` is run in an empty folder and must
//! happen as it reads. A new test is a new document.

#![allow(clippy::disallowed_methods, reason = "the tests start the program")]

mod support;

use support::{Sandbox, repository, session};

#[test]
fn sessions_happen_as_they_read() {
    let mut paths: Vec<_> = std::fs::read_dir(repository().join("tests/cli"))
        .expect("the folder of sessions is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "only {} sessions were found", paths.len());
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path).err()).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn check(path: &std::path::Path) -> Result<(), String> {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("work");
    std::fs::create_dir(&folder).expect("a folder can be made");
    match session::check(&sandbox, &folder, path, |_| true)? {
        0 => Err(format!("{} runs nothing", path.display())),
        _ => Ok(()),
    }
}

/// `--help` itself says which commands there are, so a new one cannot be forgotten.
#[test]
fn every_command_explains_itself_with_an_example() {
    let sandbox = Sandbox::new();
    for name in ["gitops", "gitops-agent"] {
        let commands = commands(&help(&sandbox, name, &[]));
        assert!(commands.len() >= 3, "{name} has commands: {commands:?}");
        for command in commands {
            let help = help(&sandbox, name, &[&command]);
            assert!(help.contains("Example"), "`{name} {command} --help` has no example:\n{help}");
        }
    }
}

fn help(sandbox: &Sandbox, name: &str, command: &[&str]) -> String {
    support::succeed(sandbox.command(support::program(name)).args(command).arg("--help"))
}

fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}
