//! A path of the host as a container is given it: what it really leads to, and whether the container engine can be
//! reached through it.
//!
//! One place has many paths: `/var/run` is a link to `/run`, and `/proc/1/root` is `/` again. The text is all there is
//! to judge by, so whatever may lead to the socket of an engine counts as if it did.

use super::super::short::clean;

/// What a container can reach through a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The socket of an engine and nothing else.
    Socket,
    /// A folder in which, or below which, such a socket is.
    FolderOfSocket,
    /// Other files.
    Files,
}

/// The path in its one spelling.
pub(super) fn shown(path: &str) -> String {
    if is_windows(path) {
        return clean(&path.replace('\\', "/"));
    }
    let cleaned = clean(&format!("/{path}"));
    let mut parts: Vec<&str> = cleaned.split('/').filter(|part| !part.is_empty()).collect();
    while let Some(end) = way_through_proc(&parts) {
        parts.drain(..end);
    }
    if parts.starts_with(&["var", "run"]) {
        parts.remove(0);
    }
    format!("/{}", parts.join("/"))
}

/// `C:\…`, `\\…`.
fn is_windows(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with('\\') || bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

/// How many of the first parts lead by way of a process back to `/`: `/proc/1/root`, `/proc/self/task/7/cwd`.
fn way_through_proc(parts: &[&str]) -> Option<usize> {
    let is_root = |part: &&str| matches!(*part, "root" | "cwd");
    match parts {
        ["proc", "thread-self" | "self", place, ..] if is_root(place) => Some(3),
        ["proc", process, place, ..] if is_number(process) && is_root(place) => Some(3),
        ["proc", _, "task", _, place, ..] if is_root(place) => Some(5),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What can be reached through a path, given in its one spelling.
pub(super) fn reach(path: &str) -> Reach {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.last().is_some_and(|name| is_socket(name)) {
        Reach::Socket
    } else if FOLDERS.iter().any(|folder| leads_to(&parts, folder))
        || is_process(&parts)
        || is_open_file(&parts)
        || is_desktop(&parts)
        || is_home(&parts)
    {
        Reach::FolderOfSocket
    } else {
        Reach::Files
    }
}

/// The names that engines give to their sockets, wherever those are.
fn is_socket(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let engine =
        ["docker", "containerd", "podman", "crio", "buildkit", "balena"].iter().any(|one| name.contains(one));
    name == "docker_engine" || engine && name.contains(".sock")
}

/// Folders with a socket in them; `*` is any name. Below `/var`, `run` may be a link to the other.
const FOLDERS: &[&[&str]] = &[
    &["run", "balena-engine"],
    &["run", "buildkit"],
    &["run", "containerd"],
    &["run", "crio"],
    &["run", "docker", "containerd"],
    &["run", "k3s", "containerd"],
    &["run", "podman"],
    &["run", "snap.docker"],
    &["run", "user", "*", "containerd-rootless"],
    &["run", "user", "*", "docker"],
    &["run", "user", "*", "podman"],
    &["var", "run"],
];

/// Whether the folder is the path, or lies below it.
fn leads_to(parts: &[&str], folder: &[&str]) -> bool {
    parts.len() <= folder.len() && parts.iter().zip(folder).all(|(part, name)| *name == "*" || part == name)
}

/// `/proc` and the folder of a process: all of `/` is below them.
fn is_process(parts: &[&str]) -> bool {
    let is_process = |part: &&str| is_number(part) || matches!(*part, "self" | "thread-self");
    match parts {
        ["proc"] => true,
        ["proc", process] | ["proc", process, "task"] | ["proc", process, "task", _] => is_process(process),
        _ => false,
    }
}

/// What a process has open may be any file or folder.
fn is_open_file(parts: &[&str]) -> bool {
    matches!(parts, ["dev"] | ["dev", "fd", ..] | ["proc", _, "fd" | "map_files", ..])
        || matches!(parts, ["proc", _, "task", _, "fd", ..])
}

/// Homes of users, and what is above them: Docker Desktop and rootless engines keep their sockets there.
fn is_home(parts: &[&str]) -> bool {
    matches!(parts, ["home" | "Users"] | ["home" | "Users", _] | ["root"])
}

/// The folders in which Docker Desktop keeps its sockets, in the home of a user.
fn is_desktop(parts: &[&str]) -> bool {
    matches!(parts, [.., ".docker"] | [.., ".docker", "run" | "desktop"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_an_engine_is_seen() {
        let check = |path: &str, expected: Reach| assert_eq!(reach(&shown(path)), expected, "{path}");
        for socket in [
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run/docker.sock/",
            "//var/run/../run/docker.sock",
            "/var/./run//docker.sock",
            "/etc/../../run/docker.sock",
            "/proc/1/root/run/docker.sock",
            "/proc/1/root/proc/1/root/var/run/docker.sock",
            "/proc/self/root/run/docker.sock",
            "/proc/1/cwd/run/docker.sock",
            "/proc/1/task/1/root/run/docker.sock",
            "/mnt/host/docker.sock",
            "/run/user/1000/docker.sock",
            "/run/user/1000/podman/podman.sock",
            "/run/containerd/containerd.sock",
            "/run/containerd/containerd.sock.ttrpc",
            "/run/k3s/containerd/containerd.sock",
            "/run/crio/crio.sock",
            "/run/cri-dockerd.sock",
            "/home/robin/.docker/run/docker.sock",
            "\\\\.\\pipe\\docker_engine",
            "//./pipe/docker_engine",
        ] {
            check(socket, Reach::Socket);
        }
        for folder in [
            "/",
            "//",
            "/..",
            "/run",
            "/run/",
            "/var",
            "/var/run",
            "/var/run/.",
            "/run/user",
            "/run/user/1000",
            "/run/user/1000/podman",
            "/run/containerd",
            "/run/podman",
            "/proc",
            "/proc/1",
            "/proc/1/root",
            "/proc/1/root/",
            "/proc/1/root/run",
            "/proc/1/task/1",
            "/home/robin/.docker",
            "/home",
            "/home/robin",
            "/root",
            "/dev",
            "/dev/fd/3",
            "/proc/1/fd/5",
        ] {
            check(folder, Reach::FolderOfSocket);
        }
        for other in [
            "/srv",
            "/etc",
            "/run/dbus",
            "/runner",
            "/var/lib",
            "/proc/meminfo",
            "/proc/1/maps",
            "/home/robin/media",
            "/dev/ttyUSB0",
            "C:\\data",
        ] {
            check(other, Reach::Files);
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        let check = |path: &str, expected: &str| assert_eq!(shown(path), expected, "{path}");
        check("/srv//media/./films/", "/srv/media/films");
        check("/srv/media/../secret", "/srv/secret");
        check("./d", "/d");
        check("/var/run/dbus", "/run/dbus");
        check("/proc/1/root/etc", "/etc");
        check("/proc/1/root/var/run", "/run");
        check("C:\\data\\x\\", "C:/data/x");
        check("", "/");
    }
}
