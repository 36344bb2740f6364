//! `gitops review` as a whole program, in a clone as a job of a CI has it.

use std::process::{Command, Output};

use gitops::forge::Kind;
use serde_json::{Value, json};

use crate::client::KINDS;
use crate::fake::{Answer, Forge, ME, TOKEN};
use crate::support::{Sandbox, program, said};

const SETTINGS: &str = "format = 1\nname = \"shop\"\ncapabilities = \"warn\"\n";
const NODE: &str = "node: edge-1\n";
const SERVICE: &str = "service: web\nplace: { nodes: [edge-1] }\n";
const COMPOSE: &str =
    "services:\n  app: { image: \"nginx:1.27\", environment: { DB_PASSWORD: canary-old-1 } }\n";

/// A clone with a branch `topic` over `main`.
struct Clone {
    sandbox: Sandbox,
}

impl Clone {
    fn new() -> Self {
        let clone = Self { sandbox: Sandbox::new() };
        clone.sandbox.write("work/estate/gitops.toml", SETTINGS);
        clone.sandbox.write("work/estate/nodes/edge-1.yaml", NODE);
        clone.sandbox.write("work/estate/services/web/service.yaml", SERVICE);
        clone.sandbox.write("work/estate/services/web/compose.yaml", COMPOSE);
        clone.git(&["init", "-q"]);
        clone.commit("first");
        clone.git(&["checkout", "-q", "-b", "topic"]);
        clone
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.sandbox.git("work", arguments).trim().to_owned()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// One more commit of the branch that is there.
    fn change(&self, path: &str, content: &str) {
        self.sandbox.write(format!("work/estate/{path}"), content);
        self.commit("a change");
    }

    fn id(&self, revision: &str) -> String {
        self.git(&["rev-parse", revision])
    }

    /// `gitops review` with these flags and nothing of a CI around it.
    fn bare(&self, kind: Kind, flags: &[&str]) -> Command {
        let mut command = self.sandbox.command(program("gitops"));
        command.current_dir(self.sandbox.path("work")).args(["review", "--path", "estate"]);
        command.args(["--forge", &kind.to_string().to_lowercase()]).args(flags);
        command
    }

    /// The same as a job of the forge's CI runs it for pull request 7.
    fn job(&self, forge: &Forge, kind: Kind, flags: &[&str]) -> Command {
        self.forge_knows(forge, kind);
        let mut command = self.bare(kind, flags);
        command.env(format!("{}_TOKEN", kind.to_string().to_uppercase()), TOKEN);
        match kind {
            Kind::Gitlab => command.envs(self.gitlab(forge)),
            Kind::Github | Kind::Gitea | Kind::Forgejo => command.envs(self.actions(forge, kind)),
        };
        command
    }

    fn forge_knows(&self, forge: &Forge, kind: Kind) {
        let (head, base) = (json!(self.id("topic")), json!(self.id("main")));
        let mut kept = forge.kept();
        if kind == Kind::Gitlab {
            kept.pull["sha"] = head;
            kept.pull["diff_refs"]["start_sha"] = base;
        } else {
            kept.pull["head"]["sha"] = head;
            kept.pull["base"]["sha"] = base;
        }
    }

    fn gitlab(&self, forge: &Forge) -> Vec<(&'static str, String)> {
        vec![
            ("CI_API_V4_URL", forge.url()),
            ("CI_MERGE_REQUEST_PROJECT_ID", "shop/estate".to_owned()),
            ("CI_MERGE_REQUEST_IID", "7".to_owned()),
            ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main".to_owned()),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", self.id("main")),
            ("CI_COMMIT_SHA", self.id("topic")),
            ("CI_JOB_URL", "https://gitlab.example/shop/estate/-/jobs/5".to_owned()),
        ]
    }

    fn actions(&self, forge: &Forge, kind: Kind) -> Vec<(&'static str, String)> {
        let pull = forge.kept().pull.clone();
        let event = json!({ "action": "synchronize", "number": 7, "pull_request": pull });
        self.sandbox.write("event.json", &event.to_string());
        let run = if kind == Kind::Github { "GITHUB_RUN_ID" } else { "GITHUB_RUN_NUMBER" };
        vec![
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_API_URL", forge.url()),
            ("GITHUB_SERVER_URL", "https://git.example".to_owned()),
            ("GITHUB_REPOSITORY", "shop/estate".to_owned()),
            (run, "5".to_owned()),
            // A merge that nobody made: the job must not look at it.
            ("GITHUB_SHA", "e".repeat(40)),
            ("GITHUB_EVENT_PATH", self.sandbox.path("event.json").display().to_string()),
        ]
    }
}

fn run(mut command: Command) -> (Option<i32>, String) {
    let output: Output = command.output().expect("it starts");
    let text = said(&output);
    assert!(!text.contains(TOKEN), "the token is printed:\n{text}");
    (output.status.code(), text)
}

/// All that the forge keeps, as text.
fn kept(forge: &Forge) -> String {
    let kept = forge.kept();
    format!("{:?} {:?} {:?}", kept.comments, kept.statuses, kept.checks)
}

fn comment(forge: &Forge) -> String {
    let mut comments = forge.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    let (author, text) = comments.remove(0);
    assert_eq!(author, ME);
    text
}

fn last_status(forge: &Forge) -> (String, Value) {
    forge.kept().statuses.last().expect("a status").clone()
}

#[test]
fn a_change_is_told_in_one_comment_and_a_status_on_every_forge() {
    for kind in KINDS {
        let (forge, clone) = (Forge::start(kind), Clone::new());
        clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
        let (code, text) = run(clone.job(&forge, kind, &[]));
        assert_eq!(code, Some(0), "{kind}: {text}");
        let body = comment(&forge);
        assert!(body.starts_with("<!-- gitops:review shop -->\n"), "{body}");
        assert!(body.contains("nginx:1.27") && body.contains("nginx:1.28"), "{body}");
        let (sha, status) = last_status(&forge);
        assert_eq!((sha, status["state"].as_str()), (clone.id("topic"), Some("success")), "{kind}");
        assert_eq!(status["context"], "gitops/shop");
        assert!(status["description"].as_str().expect("text").starts_with("Plan: "), "{status}");
        assert!(status["target_url"].as_str().expect("text").ends_with("/5"), "{status}");

        clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.29"));
        let (code, text) = run(clone.job(&forge, kind, &["--exit-code"]));
        assert_eq!(code, Some(2), "{kind}: {text}");
        assert!(comment(&forge).contains("nginx:1.29"));
        forge.is_content();
    }
}

#[test]
fn mistakes_are_told_with_their_places_and_let_the_status_fail() {
    for kind in KINDS {
        let (forge, clone) = (Forge::start(kind), Clone::new());
        clone.change("services/web/service.yaml", &format!("{SERVICE}colour: red\nstate: asleep\n"));
        let (code, text) = run(clone.job(&forge, kind, &["--code-quality", "quality.json"]));
        assert_eq!(code, Some(1), "{kind}: {text}");
        let body = comment(&forge);
        assert!(body.contains("services/web/service.yaml:3") && body.contains("colour: red"), "{body}");
        let (_, status) = last_status(&forge);
        assert_eq!(status["state"], if kind == Kind::Gitlab { "failed" } else { "failure" });
        assert!(status["description"].as_str().expect("text").contains("2 mistakes"), "{status}");
        let report = std::fs::read_to_string(clone.sandbox.path("work/quality.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report[0]["location"]["path"], "estate/services/web/service.yaml");
        assert_eq!(report[0]["location"]["lines"]["begin"], 3);
        let annotated = forge.kept().checks.len();
        assert_eq!(annotated, usize::from(kind == Kind::Github));
        forge.is_content();
    }
}

#[test]
fn a_token_that_may_not_make_a_check_run_lets_the_runner_annotate() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.change("services/web/service.yaml", &format!("{SERVICE}colour: red\n"));
    forge.kept().is_read_only = true;
    *forge.kept().pull.pointer_mut("/head/repo").expect("a field") = json!({ "id": 99 });
    let (code, text) = run(clone.job(&forge, Kind::Github, &[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("\n::error file=estate/services/web/service.yaml,line=3,col=1,"), "{text}");
}

#[test]
fn without_a_runner_the_comment_has_to_do_for_annotations() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.change("services/web/service.yaml", &format!("{SERVICE}colour: red\n"));
    forge.kept().may_annotate = false;
    let mut command = clone.job(&forge, Kind::Github, &[]);
    command.env_remove("GITHUB_ACTIONS");
    let (code, text) = run(command);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("note: cannot annotate the files"), "{text}");
    assert!(!text.contains("::error") && comment(&forge).contains("colour"), "{text}");
    assert!(forge.kept().checks.is_empty());
}

#[test]
fn a_forge_that_always_wants_a_moment_more_is_given_up() {
    let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
    forge.script((0..50).map(|_| Answer::new(429, &[("retry-after", "0")], "")));
    let (code, text) = run(clone.job(&forge, Kind::Gitea, &[]));
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(forge.kept().requests.len(), 10);
}

#[test]
fn settings_of_main_that_cannot_be_read_are_told() {
    let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
    clone.git(&["checkout", "-q", "main"]);
    clone.change("gitops.toml", &format!("{SETTINGS}[review]\nfail_on = [\"remuve\"]\n"));
    clone.git(&["checkout", "-q", "topic"]);
    clone.git(&["reset", "-q", "--hard", "main"]);
    clone.change("gitops.toml", SETTINGS);
    let (code, text) = run(clone.job(&forge, Kind::Gitea, &[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("note: gitops.toml has mistakes at "), "{text}");
}

#[test]
fn a_fork_is_only_checked_and_its_token_need_not_be_able_to_speak() {
    for kind in KINDS {
        let (forge, clone) = (Forge::start(kind), Clone::new());
        let away = if kind == Kind::Gitlab { "/source_project_id" } else { "/head/repo" };
        let other = if kind == Kind::Gitlab { json!(99) } else { json!({ "id": 99 }) };
        *forge.kept().pull.pointer_mut(away).expect("a field") = other;
        clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
        let (code, text) = run(clone.job(&forge, kind, &["--exit-code", "--fail-on", "recreate"]));
        assert_eq!(code, Some(0), "{kind}: {text}");
        let body = comment(&forge);
        assert!(body.contains("what a fork would change is not said"), "{body}");
        assert!(!body.contains("nginx"), "{body}");
        forge.kept().is_read_only = true;
        let (code, text) = run(clone.job(&forge, kind, &[]));
        assert_eq!(code, Some(0), "{kind}: {text}");
        assert!(text.contains("note: cannot set the status of commit"), "{kind}: {text}");
    }
}

#[test]
fn what_lets_the_status_fail_is_asked_of_main_and_not_of_the_branch() {
    let strict = format!("{SETTINGS}[review]\nfail_on = [\"recreate\", \"remove\"]\n");
    for kind in [Kind::Github, Kind::Gitlab] {
        let (forge, clone) = (Forge::start(kind), Clone::new());
        clone.git(&["checkout", "-q", "main"]);
        clone.change("gitops.toml", &strict);
        clone.git(&["checkout", "-q", "topic"]);
        clone.git(&["reset", "-q", "--hard", "main"]);
        // The branch wants neither comments nor failures.
        clone.change("gitops.toml", &format!("{SETTINGS}[review]\ncomment = \"never\"\n"));
        clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
        let (code, text) = run(clone.job(&forge, kind, &[]));
        assert_eq!(code, Some(1), "{text}");
        assert!(comment(&forge).contains("This fails on recreate"), "{}", comment(&forge));
        let (_, status) = last_status(&forge);
        assert_eq!(status["state"], if kind == Kind::Gitlab { "failed" } else { "failure" });
        forge.is_content();
    }
}

#[test]
fn a_branch_that_is_behind_main_is_judged_by_main_as_it_is() {
    let (forge, clone) = (Forge::start(Kind::Forgejo), Clone::new());
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    clone.git(&["checkout", "-q", "main"]);
    clone.change("gitops.toml", &format!("{SETTINGS}[review]\nfail_on = [\"recreate\"]\n"));
    clone.change("nodes/edge-2.yaml", "node: edge-2\n");
    clone.git(&["checkout", "-q", "topic"]);
    let (code, text) = run(clone.job(&forge, Kind::Forgejo, &[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(!comment(&forge).contains("edge-2"), "what main did is no change of the branch");
}

#[test]
fn a_flag_adds_to_what_main_asks() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.git(&["rm", "-q", "-r", "estate/services/web"]);
    clone.commit("away");
    let (code, text) = run(clone.job(&forge, Kind::Github, &["--fail-on", "cost,capability"]));
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(clone.job(&forge, Kind::Github, &["--fail-on", "cost,remove"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(comment(&forge).contains("This fails on remove"));
}

#[test]
fn comments_are_made_when_main_wants_them() {
    let check = |saying: &str, changes: bool, expected: usize| {
        let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
        clone.git(&["checkout", "-q", "main"]);
        clone.change("gitops.toml", &format!("{SETTINGS}[review]\ncomment = \"{saying}\"\n"));
        clone.git(&["checkout", "-q", "topic"]);
        clone.git(&["reset", "-q", "--hard", "main"]);
        if changes {
            clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
        } else {
            clone.change("services/web/README", "read me");
        }
        let (code, text) = run(clone.job(&forge, Kind::Gitea, &[]));
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(forge.comments().len(), expected, "{saying}, changes: {changes}");
        assert_eq!(forge.kept().statuses.len(), 1, "a status is always set");
    };
    check("always", true, 1);
    check("always", false, 1);
    check("changes", true, 1);
    check("changes", false, 0);
    check("never", true, 0);
}

#[test]
fn a_comment_that_says_more_than_is_true_by_now_is_brought_up_to_date() {
    let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
    clone.git(&["checkout", "-q", "main"]);
    clone.change("gitops.toml", &format!("{SETTINGS}[review]\ncomment = \"changes\"\n"));
    clone.git(&["checkout", "-q", "topic"]);
    clone.git(&["reset", "-q", "--hard", "main"]);
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    run(clone.job(&forge, Kind::Gitea, &[]));
    clone.change("services/web/compose.yaml", COMPOSE);
    run(clone.job(&forge, Kind::Gitea, &[]));
    assert!(comment(&forge).contains("Nothing changes"), "{}", comment(&forge));
}

#[test]
fn a_job_that_comes_late_does_not_write_over_the_comment_on_a_newer_commit() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    let old = clone.id("topic");
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.29"));
    run(clone.job(&forge, Kind::Github, &[]));
    let (code, text) = run(clone.job(&forge, Kind::Github, &["--head", &old]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("note: the pull request is at"), "{text}");
    assert!(comment(&forge).contains("nginx:1.29"));
    assert_eq!(last_status(&forge).0, old);
}

#[test]
fn a_busy_forge_is_waited_for() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    forge.script([
        Answer::new(429, &[("retry-after", "0")], ""),
        Answer::new(503, &[("retry-after", "0")], "<html>"),
        Answer::new(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "{}"),
    ]);
    let (code, text) = run(clone.job(&forge, Kind::Github, &[]));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("trying again").count(), 3, "{text}");
    comment(&forge);
    forge.is_content();
}

#[test]
fn a_forge_that_wants_more_time_than_a_job_has_is_given_up() {
    let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
    forge.script([Answer::new(429, &[("retry-after", "3600")], "")]);
    let (code, text) = run(clone.job(&forge, Kind::Gitea, &[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("cannot read pull request 7") && text.contains("too much was asked of it"),
        "{text}"
    );
}

#[test]
fn a_refused_comment_keeps_no_status_back() {
    let (forge, clone) = (Forge::start(Kind::Gitea), Clone::new());
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    let pull = serde_json::to_string(&forge.kept().pull.clone()).expect("JSON");
    let pull = pull.replace(&"a".repeat(40), &clone.id("topic")).replace(&"b".repeat(40), &clone.id("main"));
    forge.script([
        Answer::new(200, &[], &pull),
        Answer::new(200, &[], &json!({ "id": ME }).to_string()),
        Answer::new(403, &[], &json!({ "message": "this pull request is locked" }).to_string()),
    ]);
    let (code, text) = run(clone.job(&forge, Kind::Gitea, &[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("because the token may not: this pull request is locked"), "{text}");
    assert!(text.contains("fix: the token needs"), "{text}");
    assert_eq!(forge.kept().statuses.len(), 1);
}

#[test]
fn a_dry_run_prints_the_comment_and_asks_nothing_of_the_forge() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.change("services/web/compose.yaml", &COMPOSE.replace("1.27", "1.28"));
    let (code, text) = run(clone.bare(Kind::Github, &["--dry-run", "--base", "main", "--head", "topic"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("<!-- gitops:review shop -->\n") && text.contains("nginx:1.28"), "{text}");
    let (code, again) = run(clone.job(&forge, Kind::Github, &["--dry-run"]));
    assert_eq!(code, Some(0), "{again}");
    assert!(again.contains(&text), "{again}");
    assert!(forge.kept().requests.is_empty());
}

#[test]
fn what_is_missing_is_named() {
    let clone = Clone::new();
    let check = |kind: Kind, flags: &[&str], variables: &[(&str, &str)], expected: &str| {
        let mut command = clone.bare(kind, flags);
        command.envs(variables.iter().copied());
        let (code, text) = run(command);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(expected), "{text}\ndoes not say\n{expected}");
    };
    check(Kind::Gitea, &[], &[], "neither by --api-url nor by GITHUB_API_URL");
    check(Kind::Gitlab, &[], &[], "neither by --api-url nor by CI_API_V4_URL");
    let url = ["--api-url", "http://127.0.0.1:9"];
    check(Kind::Github, &url, &[], "neither by --repository nor by GITHUB_REPOSITORY");
    check(Kind::Gitlab, &url, &[], "neither by --repository nor by CI_MERGE_REQUEST_PROJECT_ID");
    let named = ["--api-url", "http://127.0.0.1:9", "--repository", "shop/estate"];
    check(Kind::Github, &named, &[], "set GITHUB_TOKEN for this step");
    check(Kind::Gitlab, &named, &[], "set GITLAB_TOKEN for this step");
    check(Kind::Gitea, &named, &[], "set GITEA_TOKEN for this step");
    check(Kind::Forgejo, &named, &[], "set FORGEJO_TOKEN for this step");
    check(Kind::Github, &named, &[("GITHUB_TOKEN", " ")], "the token for GitHub is empty");
    check(Kind::Github, &named, &[("GITHUB_TOKEN", TOKEN)], "neither by --pull nor by GITHUB_EVENT_PATH");
    check(Kind::Gitlab, &named, &[("GITLAB_TOKEN", TOKEN)], "neither by --pull nor by CI_MERGE_REQUEST_IID");
    check(Kind::Github, &named, &[("GITHUB_EVENT_PATH", "/nowhere")], "cannot read the event in /nowhere");
    let file = [&named[..], &["--token-file", "/nowhere"]].concat();
    check(Kind::Github, &file, &[("GITHUB_TOKEN", TOKEN)], "cannot read the token from /nowhere");
    let plain = ["--api-url", "http://git.example", "--repository", "shop/estate"];
    check(Kind::Gitea, &plain, &[("GITEA_TOKEN", TOKEN)], "no address to send a token to");
    check(Kind::Github, &["--dry-run"], &[], "neither by --head nor by");
    check(Kind::Github, &["--dry-run", "--head", "topic"], &[], "neither by --base nor by");
    let absent = ["--dry-run", "--head", "topic", "--base", "nothing"];
    check(Kind::Github, &absent, &[], "fetch the whole history of both branches");
}

#[test]
fn the_token_may_lie_in_a_file() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.sandbox.write("token", &format!("{TOKEN}\n"));
    let path = clone.sandbox.path("token").display().to_string();
    let mut command = clone.job(&forge, Kind::Github, &["--token-file", &path]);
    command.env_remove("GITHUB_TOKEN");
    let (code, text) = run(command);
    assert_eq!(code, Some(0), "{text}");
    forge.is_content();
}

#[test]
fn the_first_definitions_of_a_repository_are_compared_with_nothing() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.git(&["checkout", "-q", "--orphan", "empty"]);
    clone.git(&["rm", "-q", "-r", "--cached", "."]);
    std::fs::remove_dir_all(clone.sandbox.path("work/estate")).expect("it is there");
    clone.sandbox.write("work/README.md", "soon");
    clone.commit("nothing yet");
    clone.git(&["branch", "-q", "-f", "main", "empty"]);
    clone.git(&["checkout", "-q", "-B", "topic", "empty"]);
    for (path, text) in [("gitops.toml", SETTINGS), ("nodes/edge-1.yaml", NODE)] {
        clone.sandbox.write(format!("work/estate/{path}"), text);
    }
    clone.sandbox.write("work/estate/services/web/compose.yaml", COMPOSE);
    clone.change("services/web/service.yaml", SERVICE);
    let (code, text) = run(clone.job(&forge, Kind::Github, &[]));
    assert_eq!(code, Some(0), "{text}");
    let body = comment(&forge);
    assert!(body.contains("1 to create") && body.contains("against `nothing`"), "{body}");
}

#[test]
fn a_branch_that_mends_main_is_valid_and_not_compared() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    clone.git(&["checkout", "-q", "main"]);
    clone.change("services/web/service.yaml", "service: other\n");
    clone.git(&["checkout", "-q", "topic"]);
    clone.git(&["reset", "-q", "--hard", "main"]);
    clone.change("services/web/service.yaml", SERVICE);
    let (code, text) = run(clone.job(&forge, Kind::Github, &[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(comment(&forge).contains("the base has some"), "{}", comment(&forge));
}

#[test]
fn only_warnings_that_the_change_brings_are_told() {
    let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
    let privileged = "services:\n  app: { image: \"nginx:1.27\", privileged: true }\n";
    clone.git(&["checkout", "-q", "main"]);
    clone.change("services/web/compose.yaml", privileged);
    clone.git(&["checkout", "-q", "topic"]);
    clone.git(&["reset", "-q", "--hard", "main"]);
    clone.sandbox.write("work/estate/services/two/compose.yaml", privileged);
    clone.change("services/two/service.yaml", &SERVICE.replace("web", "two"));
    let (code, text) = run(clone.job(&forge, Kind::Github, &[]));
    assert_eq!(code, Some(0), "{text}");
    let body = comment(&forge);
    assert!(body.contains("services/two/"), "{body}");
    assert!(!body.contains("services/web/"), "{body}");
    assert_eq!(forge.kept().checks.len(), 1);
}

/// Names, values and mistakes that want to be markup, commands or secrets.
#[test]
fn what_others_wrote_comes_out_inert_and_no_secret_comes_out_at_all() {
    let hostile = "-->`````\n::add-mask::x\n<script>alert(1)</script> @everyone \u{1b}[2J [x](javascript:0)";
    for (title, compose, service) in [
        (
            "valid",
            format!(
                "services:\n  app:\n    image: \"nginx:1.28\"\n    environment:\n      DB_PASSWORD: canary-new-2\n      NOTE: {}\n",
                json!(hostile)
            ),
            SERVICE.to_owned(),
        ),
        (
            "invalid",
            "services:\n  app:\n    image: \"nginx:1.28\"\n    environment:\n      DB_PASSWORD: [canary-new-2]\n      A: b\n"
                .to_owned(),
            format!("{SERVICE}{}: 1\n", json!(hostile)),
        ),
    ] {
        let (forge, clone) = (Forge::start(Kind::Github), Clone::new());
        clone.sandbox.write("work/estate/services/web/compose.yaml", &compose);
        clone.sandbox.write("work/estate/services/web/service.yaml", &service);
        clone.commit(&format!("canary-message-3 {hostile}"));
        let (_, text) = run(clone.job(&forge, Kind::Github, &[]));
        let all = format!("{} {text}", kept(&forge));
        assert!(!all.contains("canary-"), "{title}: {all}");
        assert!(!all.contains('\u{1b}') && !all.contains("\\u{1b}"), "{title}: {all}");
        let outside = outside_code(&comment(&forge));
        for markup in ["<script", "@everyone", "javascript:"] {
            assert!(!outside.contains(markup), "{title}: {markup} is live in\n{}", comment(&forge));
        }
        assert_eq!(outside.matches("-->").count(), 1, "{title}: only the marker ends\n{}", comment(&forge));
        // The runner obeys no line but those that we mean.
        let live = text.split("::stop-commands::").next().unwrap_or_default();
        assert!(!live.contains("::add-mask"), "{title}: {text}");
    }
}

/// What a forge reads as markup: all but blocks and spans of code, by their fences.
fn outside_code(markdown: &str) -> String {
    let (mut outside, mut fence) = (String::new(), None::<String>);
    for line in markdown.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if line.trim_end() == ticks && ticks.len() >= open.len() => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => outside.push_str(&without_spans(line)),
        }
    }
    outside
}

fn without_spans(line: &str) -> String {
    let (mut outside, mut rest) = (String::new(), line);
    while let Some(start) = rest.find('`') {
        outside.push_str(&rest[..start]);
        let ticks = rest[start..].chars().take_while(|c| *c == '`').count();
        let inside = &rest[start + ticks..];
        let end = inside.find(&"`".repeat(ticks));
        rest = end.map_or("", |end| &inside[end + ticks..]);
    }
    outside + rest
}
