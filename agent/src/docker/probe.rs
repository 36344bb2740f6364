//! Questions to containers: HTTP and TCP to the address that a container has, and commands in it.
//!
//! **Invariant:** bounded in time and in bytes, whatever the other side does, and nothing that it sends gets into a message.
//! Connections of HTTP are kept and used again; redirections are answers, and are not followed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerInspectResponse, ExecConfig};
use bollard::query_parameters::InspectContainerOptions;
use futures_util::StreamExt as _;
use gitops_core::plan::Probe;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DockerHost;
use crate::checks::Answer;

/// Bytes of a body that are read: to look for text in them, and so that the connection can be used again.
const BODY: usize = 64 << 10;
/// Connections to one port of one container that are kept.
const IDLE: usize = 2;

/// What is kept from question to question.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Made with the first question over HTTP: most agents never ask one.
    http: OnceLock<Client>,
    /// Commands that had not ended when their time was over, by container and command. Docker cannot end them; as long as
    /// one runs, it is not started again.
    running: Mutex<Running>,
}

/// Docker's ids of commands, by container and command.
type Running = BTreeMap<(String, Vec<Arc<str>>), String>;

/// Commands that are remembered so. Of a container that went in the meantime one may stay until there are too many.
const RUNNING: usize = 64;

/// Why there is no good answer.
enum Problem {
    /// The container gave a bad one, in these words.
    Bad(String),
    /// The engine did not do its part.
    Engine,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::debug!(%error, "a container cannot be asked now");
        Self::Engine
    }
}

impl Questions {
    async fn get(&self, url: &str, wanted: Wanted<'_>) -> Result<(), Problem> {
        let client = self.http.get_or_init(client);
        let response = client.get(url).send().await.map_err(|error| bad(http_words(&error)))?;
        let status = response.status();
        let body = read(response).await;
        if !wanted.takes(status) {
            return Err(bad(format!("answered {}", status.as_u16())));
        }
        let body = body.map_err(|error| bad(http_words(&error)))?;
        match wanted.body {
            Some(text) if !contains(&body, text.as_bytes()) => {
                Err(bad(format!("answered {} without the text that must be in it", status.as_u16())))
            }
            _ => Ok(()),
        }
    }
}

impl DockerHost {
    pub(super) async fn answer(&self, container: &str, probe: &Probe, within: Duration) -> Answer {
        let Ok(engine) = self.engine() else { return Answer::NotAsked };
        let title = title(probe);
        let asked = async {
            match probe {
                Probe::Http { port, path, status, body } => {
                    let address = address(&engine, container).await?;
                    let wanted = Wanted { status: status.as_deref(), body: body.as_deref() };
                    self.questions.get(&format!("http://{}{path}", at(address, *port)), wanted).await
                }
                Probe::Tcp { port } => {
                    let address = address(&engine, container).await?;
                    let stream = TcpStream::connect((address, *port)).await;
                    stream.map(drop).map_err(|error| bad(io_words(&error)))
                }
                Probe::Exec { command } => self.execute(&engine, container, command).await,
            }
        };
        match timeout(within, asked).await {
            Ok(Ok(())) => Answer::Good,
            Ok(Err(Problem::Engine)) => Answer::NotAsked,
            Ok(Err(Problem::Bad(words))) => Answer::Bad(format!("{title} {words}")),
            Err(_) => Answer::Bad(format!("{title} had no answer within {} s", within.as_secs())),
        }
    }

    async fn execute(&self, engine: &Docker, container: &str, command: &[Arc<str>]) -> Result<(), Problem> {
        let key = (container.to_owned(), command.to_vec());
        let earlier = self.commands().get(&key).cloned();
        if let Some(earlier) = earlier
            && engine.inspect_exec(&earlier).await.is_ok_and(|exec| exec.running == Some(true))
        {
            return Err(bad("was asked before and has not ended yet"));
        }
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|word| word.to_string()).collect()),
            ..ExecConfig::default()
        };
        let exec = match engine.create_exec(container, config).await {
            // It has gone, or stopped: the next look at Docker tells.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {
                return Err(Problem::Engine);
            }
            exec => exec?.id,
        };
        self.remember(key.clone(), exec.clone());
        let started = engine.start_exec(&exec, None).await;
        if let Ok(StartExecResults::Attached { mut output, .. }) = started {
            // It ends with the command, and what it says is not kept.
            while output.next().await.is_some() {}
        }
        let ended = engine.inspect_exec(&exec).await?;
        self.commands().remove(&key);
        match ended.exit_code {
            Some(0) => Ok(()),
            Some(code) => Err(bad(format!("ended with exit code {code}"))),
            None => Err(bad("cannot be started")),
        }
    }

    fn remember(&self, key: (String, Vec<Arc<str>>), exec: String) {
        let mut commands = self.commands();
        commands.insert(key, exec);
        if commands.len() > RUNNING {
            commands.pop_first();
        }
    }

    fn commands(&self) -> MutexGuard<'_, Running> {
        self.questions.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is a good answer over HTTP.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    status: Option<&'p str>,
    body: Option<&'p str>,
}

impl Wanted<'_> {
    fn takes(self, status: StatusCode) -> bool {
        let found = status.as_str();
        match self.status {
            None => status.is_success() || status.is_redirection(),
            Some(wanted) => match wanted.strip_suffix("xx") {
                Some(class) => found.starts_with(class),
                None => found == wanted,
            },
        }
    }
}

/// What a question is called in messages. A query may hold a secret, and so may the arguments of a command.
fn title(probe: &Probe) -> String {
    match probe {
        Probe::Http { port, path, .. } => {
            let path = path.split_once('?').map_or(&**path, |(path, _)| path);
            format!("GET {path} on {port}")
        }
        Probe::Tcp { port } => format!("TCP on {port}"),
        Probe::Exec { command } => format!("`{}`", command.first().map_or("", |program| program)),
    }
}

fn bad(words: impl Into<String>) -> Problem {
    Problem::Bad(words.into())
}

fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "was refused".to_owned(),
        kind => format!("failed: {kind}"),
    }
}

/// An error of the client tells the address, which changes from start to start.
fn http_words(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let io = causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
    match io {
        Some(io) => io_words(io),
        None if error.is_connect() => "had no connection".to_owned(),
        None => "had an answer that is no HTTP".to_owned(),
    }
}

fn client() -> Client {
    // Fails only where another provider was installed first, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        Client::builder().no_proxy().http1_only().redirect(Policy::none()).pool_max_idle_per_host(IDLE);
    client.user_agent("gitops-agent").build().expect("no file and no address is in these settings")
}

/// The first [`BODY`] bytes. What is longer costs the connection.
async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = BODY.saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() >= BODY {
            break;
        }
    }
    Ok(body)
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

fn at(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// Where a container can be reached from its host.
async fn address(engine: &Docker, container: &str) -> Result<IpAddr, Problem> {
    let inspected = inspect(engine, container).await?;
    let mode = inspected.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    match mode.strip_prefix("container:") {
        // It lives in the network of another one.
        Some(other) => address_of(&inspect(engine, other).await?),
        None => address_of(&inspected),
    }
}

async fn inspect(engine: &Docker, container: &str) -> Result<ContainerInspectResponse, Problem> {
    Ok(engine.inspect_container(container, None::<InspectContainerOptions>).await?)
}

fn address_of(inspected: &ContainerInspectResponse) -> Result<IpAddr, Problem> {
    let mode = inspected.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
    if mode == Some("host") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let networks = inspected.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    // In the order of their names, so that it is the same one each time.
    let networks: BTreeMap<_, _> = networks.into_iter().flatten().collect();
    let parsed = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
    let first = networks.values().find_map(|network| parsed(&network.ip_address));
    let first = first.or_else(|| networks.values().find_map(|network| parsed(&network.global_ipv6_address)));
    first.ok_or_else(|| bad("has no address to go to: the container is in no network"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_good_by_its_status() {
        let check = |wanted: Option<&str>, good: &[u16], bad: &[u16]| {
            let takes = |status: &u16| {
                Wanted { status: wanted, body: None }.takes(StatusCode::from_u16(*status).unwrap())
            };
            assert!(good.iter().all(takes), "{wanted:?} takes {good:?}");
            assert!(!bad.iter().any(takes), "{wanted:?} does not take {bad:?}");
        };
        check(None, &[200, 204, 302], &[404, 500]);
        check(Some("2xx"), &[200, 299], &[302, 404]);
        check(Some("204"), &[204], &[200, 404]);
        check(Some("401"), &[401], &[200, 403]);
    }

    #[test]
    fn a_question_is_named_without_what_may_be_secret() {
        let check = |probe: Probe, expected: &str| assert_eq!(title(&probe), expected);
        let http = |path: &str| Probe::Http { port: 8080, path: path.into(), status: None, body: None };
        check(http("/health"), "GET /health on 8080");
        check(http("/health?token=abc"), "GET /health on 8080");
        check(Probe::Tcp { port: 5432 }, "TCP on 5432");
        check(Probe::Exec { command: vec!["psql".into(), "--password=abc".into()] }, "`psql`");
    }

    #[test]
    fn a_container_is_asked_where_its_host_reaches_it() {
        let check = |inspected: serde_json::Value, expected: Option<&str>| {
            let found = address_of(&serde_json::from_value(inspected).unwrap()).ok();
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected);
        };
        let networks =
            |networks: serde_json::Value| serde_json::json!({"NetworkSettings": {"Networks": networks}});
        check(serde_json::json!({"HostConfig": {"NetworkMode": "host"}}), Some("127.0.0.1"));
        check(
            networks(serde_json::json!({"b": {"IPAddress": "10.0.0.2"}, "a": {"IPAddress": "10.0.0.1"}})),
            Some("10.0.0.1"),
        );
        check(
            networks(serde_json::json!({"a": {"IPAddress": ""}, "b": {"IPAddress": "10.0.0.2"}})),
            Some("10.0.0.2"),
        );
        check(
            networks(serde_json::json!({"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}})),
            Some("fd00::2"),
        );
        check(networks(serde_json::json!({"none": {"IPAddress": ""}})), None);
    }

    /// Stands for a container: answers each request of a connection with the same bytes. Gives its address, and counts
    /// connections.
    async fn serve(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        // A client that hangs up in the middle is what is tested.
                        let _ = stream.write_all(&answer).await;
                    }
                });
            }
        });
        (url, connections)
    }

    async fn get(questions: &Questions, url: &str, wanted: Wanted<'_>) -> Result<(), String> {
        questions.get(url, wanted).await.map_err(|problem| match problem {
            Problem::Bad(words) => words,
            Problem::Engine => "the engine".to_owned(),
        })
    }

    const ANY: Wanted<'_> = Wanted { status: None, body: None };

    #[tokio::test]
    async fn a_connection_is_used_again_and_a_redirection_is_an_answer() {
        let answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 4\r\n\r\nover";
        let (url, connections) = serve(answer.to_vec()).await;
        let questions = Questions::default();
        for _ in 0..5 {
            assert_eq!(get(&questions, &url, ANY).await, Ok(()));
        }
        let only_200 = Wanted { status: Some("200"), body: None };
        assert_eq!(get(&questions, &url, only_200).await, Err("answered 302".to_owned()));
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn of_a_body_without_end_only_the_beginning_is_read() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
        let (url, _) = serve([head, vec![b'x'; BODY], b"late".to_vec()].concat()).await;
        let questions = Questions::default();
        assert_eq!(get(&questions, &url, ANY).await, Ok(()));
        let late = get(&questions, &url, Wanted { status: None, body: Some("late") }).await;
        assert_eq!(late, Err("answered 200 without the text that must be in it".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_http_or_nothing_at_all_is_told_without_its_words() {
        let (url, _) = serve(b"SSH-2.0-secret\r\n".to_vec()).await;
        let said = get(&Questions::default(), &url, ANY).await;
        assert_eq!(said, Err("had an answer that is no HTTP".to_owned()));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let said = get(&Questions::default(), &format!("http://{free}/"), ANY).await;
        assert_eq!(said, Err("was refused".to_owned()));
    }

    #[test]
    fn text_is_found_anywhere_in_a_body() {
        assert!(contains(b"{\"status\":\"UP\"}", b"\"UP\"") && contains(b"", b""));
        assert!(!contains(b"DOWN", b"UP") && !contains(b"U", b"UP"));
    }
}
