//! The first five minutes: `examples/quickstart`, as the README tells people to run it.

use std::process::Command;

use super::docker::Engine;
use super::support::{repository, said};
use super::world::engines;

#[test]
fn the_quick_start_does_what_it_says_and_leaves_nothing_behind() {
    let Some([engine, _]) = engines() else { return };
    let script = repository().join("examples/quickstart");
    // From elsewhere, and with the user's own environment: it uses the user's cargo. Only its folder is another one, so
    // that what a user has running is not in the way; sockets lie in it, so its path is short.
    let folder = tempfile::Builder::new().prefix("quick").tempdir_in("/tmp").expect("a temporary folder");
    let output = Command::new(script)
        .current_dir("/")
        .env("TMPDIR", folder.path())
        .env("DOCKER_HOST", format!("unix://{}", engine.socket.display()))
        .env("NO_COLOR", "1")
        .output()
        .expect("the quick start starts");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for line in ["is in force: 5 instances on 2 nodes", "~ update api", "only these containers are new"] {
        assert!(said.contains(line), "`{line}` is not in\n{said}");
    }
    nothing_is_left(&engine);
    assert!(folder.path().read_dir().expect("a folder").next().is_none(), "files are left");
}

fn nothing_is_left(engine: &Engine) {
    for node in ["edge-1", "edge-2"] {
        assert!(engine.containers(node).is_empty(), "containers of {node} are left");
    }
    for project in ["web-front", "web-back", "api", "cache", "report"] {
        assert_eq!(engine.networks(project), [""; 0]);
        assert_eq!(engine.volumes(project), [""; 0]);
    }
}
