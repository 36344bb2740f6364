//! A real `sshd` on this machine, with keys of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot start its server has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of it")]
#![allow(clippy::disallowed_methods, reason = "tests start `sshd` and `ssh-keygen`, and look for them")]

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `sshd` with one key that may log in to the account of the tests.
pub struct Sshd {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Its keys: `client` may log in, `stranger` may not. `known_hosts` has its own.
    pub folder: PathBuf,
}

impl Sshd {
    /// Starts it, with its files in a new folder under `folder`; `None` where it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        if !have("/usr/sbin/sshd") {
            return None;
        }
        let folder = folder.join("ssh");
        fs::create_dir(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        for key in ["host", "client", "stranger"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = [
            format!("ListenAddress 127.0.0.1:{port}"),
            format!("HostKey {}", file("host")),
            format!("AuthorizedKeysFile {}", file("client.pub")),
            format!("PidFile {}", file("pid")),
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL".into(),
        ];
        fs::write(folder.join("config"), config.join("\n")).unwrap();
        let host_key = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        // Where root runs it, it wants this folder, which its service makes. Others do without.
        let _ = fs::create_dir("/run/sshd");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &file("config")]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = log.any(|line| line.unwrap_or_default().contains("Server listening"));
        assert!(listening, "sshd did not start");
        // Its log is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || log.count());
        Some(Self { child, port, folder })
    }

    /// The address of a repository on this machine, by SSH.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", run("id", &["-un"]).trim(), self.port, path.display())
    }

    /// The `ssh` that logs in, for `GIT_SSH_COMMAND`.
    pub fn command(&self) -> String {
        let (key, known) = (self.folder.join("client"), self.folder.join("known_hosts"));
        let (key, known) = (key.display(), known.display());
        format!("ssh -F none -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known} -o BatchMode=yes")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a program to its end, and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|_| panic!("{program} is installed"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a program that a test needs is there. Where everything has to be tested, it must be.
pub fn have(program: &str) -> bool {
    let have = Path::new(program).exists();
    assert!(
        have || std::env::var_os("CI").is_none(),
        "{program} is missing: run `tests/run`, which installs it"
    );
    if !have {
        eprintln!("skipped: {program} is missing");
    }
    have
}
