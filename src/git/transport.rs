//! What a fetch goes through: `git upload-pack` for a repository on this machine, `ssh` for one behind SSH, an HTTP
//! client of our own for HTTPS.
//!
//! Programs are started here with their arguments as a list and never by a shell. They cannot ask a person anything;
//! what they complain about is kept to be told; and they are killed when the fetch is cancelled or over.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gix::protocol::transport::client::blocking_io::http;

use super::{GitError, RemoteUrl, SshAddress};

/// How a remote repository lets us in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// For HTTPS.
    pub token: Option<Token>,
    /// A PEM file of the certificates that are trusted for HTTPS, instead of those of the machine.
    pub ca_file: Option<PathBuf>,
    /// For SSH.
    pub ssh: SshOptions,
}

/// A token for HTTPS, sent as the password of basic authentication, as every forge takes it. Never shown.
#[derive(Clone)]
pub struct Token {
    username: String,
    secret: String,
}

impl Token {
    /// The user name that goes with a token where the forge does not ask for a certain one.
    pub const ANY_USER: &str = "x-access-token";

    /// A token, with the user name that the forge wants beside it ([`Token::ANY_USER`] where it does not care).
    pub fn new(username: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { username: username.into(), secret: secret.into() }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How `ssh` is started. What is not said here comes from the SSH configuration of the account.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The program, by name or path.
    pub program: PathBuf,
    /// A private key, used instead of those of the account.
    pub key: Option<PathBuf>,
    /// The known host keys, instead of those of the account.
    pub known_hosts: Option<PathBuf>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self { program: "ssh".into(), key: None, known_hosts: None }
    }
}

/// The variables by which Git would look at another repository than the one it is told. A daemon started from a hook
/// has them set.
const LOCAL_GIT_VARIABLES: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
];

/// `git upload-pack` over the repository at `path`, which may be bare or not.
pub(super) fn upload_pack(path: &Path) -> Command {
    let mut command = command("git");
    command.args(["upload-pack", "--"]).arg(path);
    command
}

/// `ssh` to the host of `address`, running `git-upload-pack` there.
pub(super) fn ssh(address: &SshAddress, options: &SshOptions) -> Command {
    let mut command = command(&options.program);
    // Never ask: there is nobody to answer. An unknown host key is then refused.
    command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "SendEnv=GIT_PROTOCOL"]);
    // A host that vanishes is noticed after 45 s instead of never.
    command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]);
    if let Some(key) = &options.key {
        command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
    }
    if let Some(file) = &options.known_hosts {
        // The quotes are ssh's own, for a path with spaces.
        command.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", file.display()));
    }
    if let Some(port) = address.port {
        command.arg("-p").arg(port.to_string());
    }
    let host = address.user.as_ref().map_or(address.host.clone(), |user| format!("{user}@{}", address.host));
    // The account's shell on the other side reads this line, so the path is quoted for it.
    let quoted = gix::quote::single(address.path.as_str().into());
    command.arg("--").arg(host).arg(format!("git-upload-pack {quoted}"));
    command
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts the programs a fetch goes through")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in LOCAL_GIT_VARIABLES {
        command.env_remove(variable);
    }
    command.env("GIT_PROTOCOL", "version=2").env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A started program: what goes in and comes out, and the reins.
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    complaints: mpsc::Receiver<String>,
}

impl Process {
    /// Starts `command`, and gives what it writes and reads.
    pub(super) fn start(
        mut command: Command,
        url: &RemoteUrl,
    ) -> Result<(Self, ChildStdout, ChildStdin), GitError> {
        let mut child = command.spawn().map_err(|error| missing(&command, url, error))?;
        let stdout = child.stdout.take().expect("piped by `command`");
        let stdin = child.stdin.take().expect("piped by `command`");
        let complaints = collect(child.stderr.take().expect("piped by `command`"));
        Ok((Self { child: Arc::new(Mutex::new(child)), complaints }, stdout, stdin))
    }

    /// Runs `work`, which talks to the program, and kills the program if `cancel` is set meanwhile: a read from a
    /// program that hangs ends in no other way.
    pub(super) fn supervise<T>(&self, cancel: &AtomicBool, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            let child = Arc::clone(&self.child);
            scope.spawn(move || {
                // Only dropping `done` disconnects; nothing is ever sent.
                while is_done.recv_timeout(Duration::from_millis(50)) == Err(mpsc::RecvTimeoutError::Timeout)
                {
                    if cancel.load(Ordering::Relaxed) {
                        return kill(&child);
                    }
                }
            });
            let outcome = work();
            drop(done);
            outcome
        })
    }

    /// What the program complained about, up to now or until it ends shortly; it is gone afterwards.
    pub(super) fn complaints(self) -> String {
        // A program that fails ends within moments of closing its output. One that does not is not waited for.
        self.complaints.recv_timeout(Duration::from_secs(2)).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

/// Ends the program and collects it, so that none is left behind as a zombie.
fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Both fail only where the program is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

fn missing(command: &Command, url: &RemoteUrl, error: std::io::Error) -> GitError {
    let program = command.get_program().to_string_lossy().into_owned();
    if error.kind() == std::io::ErrorKind::NotFound {
        let package = if program == "git" { "git" } else { "openssh-client" };
        return GitError::ProgramMissing { program, package, url: url.to_string() };
    }
    GitError::Setting { what: "the program to fetch with", path: program.into(), source: error.into() }
}

/// Reads a program's complaints to their end in a thread of its own, so that it never blocks on them, and keeps
/// the first 16 KiB.
fn collect(mut stderr: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let read = (&mut stderr).take(16 << 10).read_to_end(&mut kept);
        if read.is_ok() {
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        }
        // Nobody listens where the fetch went well.
        let _ = send.send(String::from_utf8_lossy(&kept).into_owned());
    });
    receive
}

/// The HTTPS client of one fetch: certificates, and a bound on the time that one request may take.
pub(super) fn https_options(access: &Access, timeout: Duration) -> Result<http::Options, GitError> {
    let certificates = access.ca_file.as_deref().map(read_certificates).transpose()?;
    // The client takes the process-wide provider; it is the same one wherever this is called first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let configure_client = move |client: reqwest::blocking::ClientBuilder| {
        let client = client.timeout(timeout);
        Ok(match certificates.clone() {
            Some(certificates) => client.tls_certs_only(certificates),
            None => client,
        })
    };
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(configure_client)),
        configure_request: None,
    };
    Ok(http::Options { backend: Some(Arc::new(Mutex::new(backend))), ..http::Options::default() })
}

fn read_certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, GitError> {
    let setting = |source: Box<dyn std::error::Error + Send + Sync>| GitError::Setting {
        what: "the file of trusted certificates",
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(|error| setting(error.into()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| setting(error.into()))?;
    if certificates.is_empty() {
        return Err(setting("it holds no PEM certificate".into()));
    }
    Ok(certificates)
}

/// The account that a token stands for, as the transport wants it.
pub(super) fn account(token: &Token) -> gix::sec::identity::Account {
    gix::sec::identity::Account {
        username: token.username.clone(),
        password: token.secret.clone(),
        oauth_refresh_token: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(url: &str, options: &SshOptions) -> Vec<String> {
        let RemoteUrl::Ssh(address) = url.parse().unwrap() else { panic!("{url} is not an SSH address") };
        ssh(&address, options).get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn ssh_never_asks_and_takes_the_host_as_a_host() {
        let arguments = arguments("ssh://git@example.org:2222/srv/it's.git", &SshOptions::default());
        assert!(arguments.contains(&"BatchMode=yes".to_owned()), "{arguments:?}");
        let tail: Vec<_> =
            arguments.iter().map(String::as_str).skip_while(|&argument| argument != "-p").collect();
        assert_eq!(tail, ["-p", "2222", "--", "git@example.org", r"git-upload-pack '/srv/it'\''s.git'"]);
    }

    #[test]
    fn a_key_and_known_hosts_replace_those_of_the_account() {
        let options = SshOptions {
            key: Some("/etc/gitops/key".into()),
            known_hosts: Some("/etc/gitops/known hosts".into()),
            ..SshOptions::default()
        };
        let arguments = arguments("host:estate", &options);
        for wanted in
            ["IdentitiesOnly=yes", "/etc/gitops/key", "UserKnownHostsFile=\"/etc/gitops/known hosts\""]
        {
            assert!(arguments.iter().any(|argument| argument == wanted), "{wanted} in {arguments:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        let access = Access { token: Some(Token::new("ci", "hunter2")), ..Access::default() };
        assert!(!format!("{access:?}").contains("hunter2"));
    }

    #[test]
    fn a_program_that_hangs_is_killed_when_the_fetch_is_cancelled() {
        let url = RemoteUrl::Local("/srv/estate".into());
        let mut sleeping = command("sleep");
        sleeping.arg("600");
        let (process, mut stdout, _stdin) = Process::start(sleeping, &url).unwrap();
        let cancel = AtomicBool::new(true);
        let read = process.supervise(&cancel, || stdout.read(&mut [0]));
        assert_eq!(read.unwrap(), 0, "the output ends because the program is gone");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let url: RemoteUrl = "host:estate".parse().unwrap();
        let Err(error) = Process::start(command("/nonexistent/ssh"), &url) else { panic!("it started") };
        assert!(error.to_string().contains("install the package `openssh-client`"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let access = Access { ca_file: Some(file.path().to_owned()), ..Access::default() };
        let Err(error) = https_options(&access, Duration::from_secs(1)) else { panic!("accepted") };
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    }
}
