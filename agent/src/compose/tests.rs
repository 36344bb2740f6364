use super::*;

fn project(files: bool) -> Project<'static> {
    let files = files
        .then(|| ProjectFiles { folder: "/i/web".into(), compose: "/i/.gitops/web/compose.yaml".into() });
    Project { name: "web", files }
}

#[test]
fn each_call_is_these_arguments() {
    const FILES: &str = "compose --project-name web --env-file /dev/null --project-directory /i/web \
                         --file /i/.gitops/web/compose.yaml";
    const UP: &str = "up --detach --remove-orphans --no-build --quiet-pull";
    let check = |verb: Verb, expected: String| {
        let arguments = arguments(&project(true), &verb);
        let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words.join(" "), expected);
    };
    let services = || vec![Arc::from("app"), Arc::from("--volumes")];
    check(Verb::Up, format!("{FILES} {UP}"));
    check(Verb::UpOnly(services()), format!("{FILES} {UP} -- app --volumes"));
    check(Verb::Recreate(services()), format!("{FILES} {UP} --no-start --force-recreate -- app --volumes"));
    check(Verb::Create, format!("{FILES} {UP} --no-start"));
    check(Verb::Stop, format!("{FILES} stop"));
    check(Verb::Restart(services()), format!("{FILES} restart --no-deps -- app --volumes"));
    check(Verb::Down, format!("{FILES} down --remove-orphans"));
    check(Verb::Pull, format!("{FILES} pull --policy missing --quiet"));
    let labels = vec![("gitops.node", "edge".to_owned()), ("gitops.hook", "web-before".to_owned())];
    let one_shot = OneShot { service: "--rm".into(), container: "web-before".into(), labels };
    let run = "run --detach --no-deps -T --quiet-pull --name web-before --label gitops.node=edge \
               --label gitops.hook=web-before -- --rm";
    check(Verb::Run(one_shot), format!("{FILES} {run}"));
}

#[test]
fn a_project_without_its_files_is_known_by_name() {
    let arguments = arguments(&project(false), &Verb::Down);
    let expected = "compose --project-name web --env-file /dev/null down --remove-orphans";
    assert_eq!(arguments, expected.split(' ').collect::<Vec<_>>());
}

/// A stand-in for `docker`: whatever its arguments, it does what the script says.
struct Fake(tempfile::TempDir);

impl Fake {
    async fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("script"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::write(folder.path().join("lock"), "").unwrap();
        // Written by another process: a program is busy while any process, such as a fork of another test, has it
        // open for writing.
        let copy =
            Command::new("install").args(["--mode=755", "script", "docker"]).current_dir(&folder).status();
        assert!(copy.await.unwrap().success());
        Self(folder)
    }

    fn compose(&self, within: Duration) -> Compose {
        let environment = vec![("PATH".into(), "/usr/bin:/bin".into()), ("ONLY".into(), "this".into())];
        Compose { program: self.0.path().join("docker"), environment, within }
    }

    fn lock_file(&self) -> File {
        File::options().read(true).append(true).open(self.0.path().join("lock")).unwrap()
    }

    async fn run(&self, within: Duration) -> Result<(), HostError> {
        let lock = Lock::take(self.lock_file(), within).await.unwrap();
        self.compose(within).run(&project(false), &Verb::Up, &lock, &Attempt::unlogged("a test")).await
    }
}

const LONG: Duration = Duration::from_secs(60);

/// Scripts answer the question about the version first.
const VERSION: &str = "[ \"$2\" = version ] && echo 2.99 && exit 0";

async fn failure(script: &str, within: Duration) -> (String, String) {
    match Fake::new(&format!("{VERSION}\n{script}")).await.run(within).await {
        Err(HostError::Compose { verb: "up", status, output }) => (status, output),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_call_tells_its_code_and_its_last_lines() {
    let (status, output) = failure("for i in $(seq 20); do echo $i; echo e$i >&2; done; exit 7", LONG).await;
    assert_eq!(status, "exit code 7");
    assert_eq!(output, "e20\n16\ne16\n17\ne17\n18\ne18\n19\ne19\n20");
    assert_eq!(failure("kill -9 $$", LONG).await.0, "signal 9");
}

#[test]
fn the_line_that_tells_the_error_comes_first() {
    let check = |output: &str, expected: &str| assert_eq!(error_first(output), expected, "{output:?}");
    let progress = "Container a-1  Running\nContainer b-1  Starting";
    let taken = "Error response from daemon: Bind for 0.0.0.0:80 failed: port is already allocated";
    check(&format!("{progress}\n{taken}"), &format!("{taken}\n{progress}"));
    check(&format!("{taken}\n{progress}"), &format!("{taken}\n{progress}"));
    check("a\nError one\nerror two\nb", "error two\na\nError one\nb");
    check("a\nb: Error response from daemon: c\nd", "b: Error response from daemon: c\na\nd");
    check("a\nb\nno such error", "no such error\na\nb");
    check("one", "one");
    check("", "");
}

#[tokio::test]
async fn a_call_sees_nothing_of_this_environment_and_no_input() {
    let (_, output) = failure("env | grep -vE '^(PWD|_|SHLVL|OLDPWD)='; cat; pwd; exit 1", LONG).await;
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/", "ONLY=this", "PATH=/usr/bin:/bin"]);
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_all_its_processes() {
    let before = tokio::time::Instant::now();
    let (status, output) = failure("echo begun; sleep 1000 & sleep 1000", Duration::from_millis(300)).await;
    assert_eq!((status.as_str(), output.as_str()), ("no end after 0 s, and was stopped", "begun"));
    assert!(before.elapsed() < Duration::from_secs(9), "the group was asked to end, not waited for");
}

#[tokio::test]
async fn much_output_does_not_block_and_is_not_kept() {
    let (_, output) = failure("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1", LONG).await;
    assert!(output.starts_with("end\n") && output.len() < 1000, "{} bytes", output.len());
}

#[tokio::test]
async fn without_compose_it_is_said_what_to_install() {
    let fake = Fake::new("echo 'unknown flag: --project-name' >&2; exit 125").await;
    let error = fake.run(LONG).await.unwrap_err().to_string();
    assert!(error.contains("install Docker Compose v2"), "{error}");
    let absent = Compose { program: "/no/such/docker".into(), ..fake.compose(LONG) };
    let problem = absent.version().await.unwrap_err();
    assert!(problem.starts_with("/no/such/docker cannot be started"), "{problem}");
}

#[tokio::test]
async fn one_instance_is_changed_by_one_call_at_a_time_even_after_its_caller_is_gone() {
    // The script stands for the Compose that an agent leaves behind when it is killed: it has the lock as input.
    let fake = Fake::new("read line <&1").await;
    let lock = Lock::take(fake.lock_file(), LONG).await.unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let program = fake.0.path().join("docker");
    let mut orphan = Command::new(program).stdin(lock.stdin().unwrap()).stdout(reader).spawn().unwrap();
    drop(lock);
    let busy = Lock::take(fake.lock_file(), Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(busy, HostError::File { .. }), "{busy}");
    drop(writer);
    orphan.wait().await.unwrap();
    Lock::take(fake.lock_file(), LONG).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_loses_interest_ends_the_call() {
    // The script tells through a named pipe that it runs.
    let fake = Fake::new("echo begun >> \"$BEGUN\"; sleep 1000 & sleep 1000").await;
    let begun = fake.0.path().join("begun");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &begun,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mut compose = fake.compose(LONG);
    compose.environment.push(("BEGUN".into(), begun.clone().into()));
    let lock = Lock::take(fake.lock_file(), LONG).await.unwrap();
    let call = tokio::spawn(async move {
        compose.run(&project(false), &Verb::Up, &lock, &Attempt::unlogged("a test")).await
    });
    assert_eq!(tokio::fs::read_to_string(&begun).await.unwrap(), "begun\n");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The lock is free once no process of the call is left.
    Lock::take(fake.lock_file(), LONG).await.unwrap();
}
