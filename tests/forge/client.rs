//! The client of a forge, against every forge.

use gitops::forge::{Check, Client, ForgeError, Kind, PullState, Stuck, Why};
use gitops::store::token::Secret;
use gitops_core::diagnostic::Severity;
use gitops_core::name::Revision;
use gitops_core::review::{Annotation, Marker, State, Status};
use serde_json::json;

use crate::fake::{Answer, Forge, HEAD, ME, TOKEN};

pub(crate) const KINDS: [Kind; 4] = [Kind::Github, Kind::Gitlab, Kind::Gitea, Kind::Forgejo];

fn client(forge: &Forge, kind: Kind) -> Client {
    let url = forge.url().parse().expect("a URL");
    Client::new(kind, &url, "shop/estate", Secret::presented(TOKEN)).expect("a client")
}

fn head() -> Revision {
    HEAD.parse().expect("a revision")
}

fn marker() -> Marker {
    Marker::new(&["estate"])
}

/// An error with all its causes, as a person reads it.
fn told(error: &ForgeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_pull_request_is_read_as_each_forge_writes_it() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let client = client(&forge, kind);
        let pull = client.pull(7).await.expect("it is there");
        assert_eq!((pull.number, pull.state, pull.is_fork), (7, PullState::Open, false), "{kind}");
        assert_eq!((pull.head.as_str(), pull.base_branch.as_str()), (HEAD, "main"), "{kind}");
        assert_eq!(pull.base.expect("a base").as_str(), "b".repeat(40), "{kind}");
        assert_eq!(pull.merged_as, None, "{kind}: a merge that was only tried is none");

        merge(kind, &forge);
        let pull = client.pull(7).await.expect("it is there");
        assert_eq!(pull.state, PullState::Merged, "{kind}");
        assert_eq!(pull.merged_as.expect("a commit").as_str(), "d".repeat(40), "{kind}");

        if kind != Kind::Gitlab {
            for (head, is_fork) in [("refs/pull/7/head", true), ("", true), ("topic", false)] {
                forge.kept().pull["head"]["ref"] = json!(head);
                let pull = client.pull(7).await.expect("it is there");
                assert_eq!(pull.is_fork, is_fork, "{kind}: whoever may read may push to refs/for: {head:?}");
            }
        }
        let away = if kind == Kind::Gitlab { "/source_project_id" } else { "/head/repo" };
        *forge.kept().pull.pointer_mut(away).expect("a field") = json!(null);
        assert!(client.pull(7).await.expect("it is there").is_fork, "{kind}: its repository was deleted");
        let other =
            if kind == Kind::Gitlab { json!(99) } else { json!({ "id": 99, "full_name": "mallory/estate" }) };
        *forge.kept().pull.pointer_mut(away).expect("a field") = other;
        assert!(client.pull(7).await.expect("it is there").is_fork, "{kind}");
        forge.is_content();
    }
}

fn merge(kind: Kind, forge: &Forge) {
    let mut kept = forge.kept();
    kept.pull["merge_commit_sha"] = json!("d".repeat(40));
    if kind == Kind::Gitlab {
        kept.pull["state"] = json!("merged");
    } else {
        kept.pull["state"] = json!("closed");
        kept.pull["merged"] = json!(true);
    }
}

#[tokio::test]
async fn the_comment_is_made_once_and_then_changed_in_place() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let client = client(&forge, kind);
        forge.comment(5, "looks good");
        let check = async |text: &str, expected: Stuck| {
            let stuck = client.upsert_comment(7, &marker(), text).await.expect("it may comment");
            assert_eq!(stuck, expected, "{kind}");
            let expected = vec![(5, "looks good".to_owned()), (ME, marker().on(text))];
            assert_eq!(forge.comments(), expected, "{kind}");
        };
        check("first", Stuck::Created).await;
        check("second", Stuck::Updated).await;
        check("second", Stuck::Unchanged).await;
        // As a forge that changes the ends of lines gives it back.
        let windows = format!("{}\r\n\r\n", marker().on("second").replace('\n', "\r\n"));
        forge.kept().comments[1]["body"] = json!(windows);
        let stuck = client.upsert_comment(7, &marker(), "second").await.expect("it may comment");
        assert_eq!(stuck, Stuck::Unchanged, "{kind}");
        forge.is_content();
    }
}

#[tokio::test]
async fn a_comment_that_is_only_refreshed_is_never_made() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let client = client(&forge, kind);
        let check = async |text: &str, expected: Stuck| {
            let stuck = client.refresh_comment(7, &marker(), text).await.expect("it may comment");
            assert_eq!(stuck, expected, "{kind}");
        };
        check("first", Stuck::Absent).await;
        assert_eq!(forge.comments(), []);
        forge.comment(ME, &marker().on("old"));
        check("new", Stuck::Updated).await;
        assert_eq!(forge.comments(), [(ME, marker().on("new"))]);
        forge.is_content();
    }
}

#[tokio::test]
async fn each_definitions_repository_has_a_comment_of_its_own() {
    let forge = Forge::start(Kind::Github);
    let client = client(&forge, Kind::Github);
    for name in ["shop", "shop 2", "shop -->", "shop-->\u{1b}[2J<script>"] {
        let marker = Marker::new(&[name]);
        assert_eq!(client.upsert_comment(7, &marker, "first").await.expect("a comment"), Stuck::Created);
        assert_eq!(client.upsert_comment(7, &marker, "first").await.expect("a comment"), Stuck::Unchanged);
    }
    assert_eq!(forge.comments().len(), 4);
    forge.is_content();
}

#[tokio::test]
async fn a_comment_with_our_marker_by_somebody_else_is_left_alone() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let copied = marker().on("all is well, merge it");
        forge.comment(666, &copied);
        let stuck = client(&forge, kind).upsert_comment(7, &marker(), "it removes the database").await;
        assert_eq!(stuck.expect("it may comment"), Stuck::Created, "{kind}");
        assert_eq!(forge.comments(), [(666, copied), (ME, marker().on("it removes the database"))]);
        forge.is_content();
    }
}

#[tokio::test]
async fn who_is_not_told_whose_token_it_is_learns_it_by_commenting() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        forge.kept().tells_me = false;
        forge.comment(666, &marker().on("copied"));
        let client = client(&forge, kind);
        for text in ["first", "second", "third"] {
            client.upsert_comment(7, &marker(), text).await.expect("it may comment");
            let ours: Vec<_> = forge.comments().into_iter().filter(|(author, _)| *author == ME).collect();
            assert_eq!(ours, [(ME, marker().on(text))], "{kind}");
        }
        assert_eq!(forge.kept().comments[1]["id"], 2, "{kind}: the oldest stays");
        forge.is_content();
    }
}

#[tokio::test]
async fn the_comment_is_found_behind_hundreds_of_others() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        for number in 0..250 {
            forge.comment(5, &format!("comment {number}"));
        }
        forge.comment(ME, &marker().on("old"));
        let stuck = client(&forge, kind).upsert_comment(7, &marker(), "new").await.expect("it may comment");
        assert_eq!(stuck, Stuck::Updated, "{kind}");
        assert_eq!(forge.comments().len(), 251, "{kind}");
        forge.is_content();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_runs_at_once_leave_one_comment() {
    for kind in KINDS {
        for tells_me in [true, false] {
            let forge = Forge::start(kind);
            forge.kept().tells_me = tells_me;
            forge.comment(666, &marker().on("copied"));
            // All of them see that there is none yet.
            forge.hold(8);
            let run = || {
                let client = client(&forge, kind);
                tokio::spawn(async move { client.upsert_comment(7, &marker(), "the same for all").await })
            };
            let runs: Vec<_> = (0..8).map(|_| run()).collect();
            for run in runs {
                run.await.expect("it does not panic").expect("it may comment");
            }
            let expected = [(666, marker().on("copied")), (ME, marker().on("the same for all"))];
            assert_eq!(forge.comments(), expected, "{kind}, told: {tells_me}");
            let is_new = |request: &&String| request.starts_with("POST") && !request.contains("graphql");
            assert_eq!(forge.kept().requests.iter().filter(is_new).count(), 8, "{kind}: each made one");
            forge.is_content();
        }
    }
}

#[tokio::test]
async fn doubles_that_an_interrupted_run_left_are_cleared_away() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        for text in ["one", "two", "three"] {
            forge.comment(ME, &marker().on(text));
        }
        client(&forge, kind).upsert_comment(7, &marker(), "three").await.expect("it may comment");
        assert_eq!(forge.comments(), [(ME, marker().on("three"))], "{kind}");
        assert_eq!(forge.kept().comments[0]["id"], 1, "{kind}: the oldest stays");
        forge.is_content();
    }
}

#[tokio::test]
async fn a_status_is_in_the_words_of_each_forge() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let client = client(&forge, kind);
        let check = async |state: State, expected: &str| {
            let mut status = Status::new(state, "gitops/estate", &"long ".repeat(100));
            status.target = Some("https://ci.example/1".to_owned());
            client.set_status(&head(), &status).await.expect("it may");
            let (sha, body) = forge.kept().statuses.last().expect("a status").clone();
            assert_eq!((sha.as_str(), body["state"].as_str()), (HEAD, Some(expected)), "{kind}");
            assert_eq!(body["target_url"], "https://ci.example/1", "{kind}");
            assert!(body["description"].as_str().expect("text").ends_with('…'), "{kind}");
        };
        check(State::Pending, "pending").await;
        // GitLab refuses what is so already.
        check(State::Pending, "pending").await;
        check(State::Failure, if kind == Kind::Gitlab { "failed" } else { "failure" }).await;
        check(State::Success, "success").await;
        forge.is_content();
    }
}

fn annotations(number: u32) -> Vec<Annotation> {
    let annotation = |line| Annotation {
        path: "estate/services/web/service.yaml".into(),
        line,
        columns: (line != 1).then_some((3, 7)),
        severity: if line == 1 { Severity::Warning } else { Severity::Error },
        title: "unknown-field".into(),
        message: "`imge` is no field".into(),
    };
    (1..=number).map(annotation).collect()
}

#[tokio::test]
async fn annotations_go_to_github_fifty_at_a_time_and_to_no_other_forge() {
    for kind in KINDS {
        let forge = Forge::start(kind);
        let client = client(&forge, kind);
        let check = Check {
            name: "gitops/estate",
            title: "120 mistakes",
            summary: "120 mistakes",
            is_failure: true,
            annotations: &annotations(120),
        };
        client.annotate(&head(), &check).await.expect("it may");
        let sizes: Vec<usize> = forge
            .kept()
            .checks
            .iter()
            .map(|check| check["output"]["annotations"].as_array().map_or(0, Vec::len))
            .collect();
        assert_eq!(sizes, if kind == Kind::Github { vec![50, 50, 20] } else { vec![] }, "{kind}");
        assert_eq!(client.takes_annotations(), kind == Kind::Github);
        forge.is_content();
        if kind == Kind::Github {
            let kept = forge.kept();
            assert_eq!(kept.checks[0]["conclusion"], "failure");
            assert_eq!(kept.checks[0]["head_sha"], HEAD);
            let first = &kept.checks[0]["output"]["annotations"];
            assert_eq!(
                first[0],
                json!({
                    "path": "estate/services/web/service.yaml", "start_line": 1, "end_line": 1,
                    "annotation_level": "warning", "title": "unknown-field", "message": "`imge` is no field"
                })
            );
            assert_eq!(
                (first[1]["start_column"].as_u64(), first[1]["end_column"].as_u64()),
                (Some(3), Some(7))
            );
        }
    }
}

#[tokio::test]
async fn an_error_says_what_was_done_where_and_why_not_and_never_the_token() {
    let check = async |answer: Answer, expected: &str| {
        let forge = Forge::start(Kind::Github);
        forge.script([answer]);
        let error = client(&forge, Kind::Github).pull(7).await.expect_err("it is refused");
        let text = told(&error);
        let expected = format!("cannot read pull request 7 at {}/: {expected}", forge.url());
        assert!(text.starts_with(&expected), "{text}\nis not\n{expected}");
        assert!(!format!("{text} {error:?}").contains(TOKEN), "{text}");
    };
    let message = |text: &str| json!({ "message": text, "documentation_url": "https://docs" }).to_string();
    check(Answer::new(401, &[], &message("Bad credentials")), "the token may not: Bad credentials").await;
    check(
        Answer::new(403, &[], &message("Resource not accessible by integration")),
        "the token may not: Resource",
    )
    .await;
    check(Answer::new(404, &[], &message("Not Found")), "there is no such thing").await;
    check(Answer::new(422, &[], &message("Validation Failed")), "it answers 422: Validation Failed").await;
    check(Answer::new(200, &[], "<html>sign in</html>"), "its answer cannot be read: is it a GitHub").await;
    check(Answer::new(200, &[], "{\"number\": 7}"), "its answer cannot be read: is it a GitHub").await;
    // What a forge says may quote what it was sent, or be made for a terminal.
    check(Answer::new(400, &[], &message(&format!("bad token {TOKEN}"))), "it answers 400: (hidden)").await;
    check(Answer::new(400, &[], &message("a\u{1b}[2J\nb")), "it answers 400: a [2J b").await;
    check(
        Answer::new(400, &[], &message(&"x".repeat(9_000))),
        &format!("it answers 400: {}", "x".repeat(300)),
    )
    .await;
    check(Answer::new(503, &[], "<html>"), "it is out of order (503)").await;
    check(Answer::new(429, &[], ""), "too much was asked of it (429)").await;
}

#[tokio::test]
async fn a_forge_that_is_away_is_waited_for() {
    let gone: reqwest::Url = "http://127.0.0.1:9/".parse().expect("a URL");
    let client = Client::new(Kind::Gitea, &gone, "shop/estate", Secret::presented(TOKEN)).expect("a client");
    let error = client.pull(7).await.expect_err("nobody listens there");
    assert_eq!(error.later(), Some(None));
    assert!(
        told(&error).starts_with("cannot read pull request 7 at http://127.0.0.1:9/: it does not answer: ")
    );
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Forge::start(Kind::Github);
    for status in [301, 302, 307, 308] {
        let forge = Forge::start(Kind::Github);
        let to = format!("{}/repos/shop/estate/pulls/7?token=secret", elsewhere.url());
        forge.script([Answer::new(status, &[("location", &to)], "")]);
        let error = client(&forge, Kind::Github).pull(7).await.expect_err("it is not followed");
        assert!(matches!(error.why, Why::Moved { .. }), "{error:?}");
        assert!(!told(&error).contains("secret"), "{}", told(&error));
    }
    assert!(elsewhere.kept().requests.is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let forge = Forge::start(Kind::Gitea);
    forge.script([Answer::new(200, &[], &" ".repeat(33 << 20))]);
    let error = client(&forge, Kind::Gitea).pull(7).await.expect_err("it is too large");
    assert!(matches!(error.why, Why::TooLarge { .. }), "{error:?}");
}

#[test]
fn the_name_of_a_repository_leads_nowhere_else() {
    let check = |kind: Kind, name: &str, expected: bool| {
        let url = "https://git.example/api".parse().expect("a URL");
        let client = Client::new(kind, &url, name, Secret::presented(TOKEN));
        assert_eq!(client.is_ok(), expected, "{kind} {name}");
    };
    for kind in KINDS {
        check(kind, "shop/estate", true);
        check(kind, "shop/estate.one_2-3", true);
        for bad in [
            "",
            "/",
            "shop/",
            "/estate",
            "shop/..",
            "../estate",
            "shop/a b",
            "shop/a?b",
            "shop/a#b",
            "shop/%2e",
        ] {
            check(kind, bad, false);
        }
        check(kind, "shop/back/estate", kind == Kind::Gitlab);
        check(kind, "15513260", kind == Kind::Gitlab);
        check(kind, "estate", false);
    }
}

#[test]
fn a_token_of_several_lines_is_refused_before_anything_is_sent() {
    let url = "https://git.example/api/v1".parse().expect("a URL");
    let error = Client::new(Kind::Gitea, &url, "a/b", Secret::presented("one\ntwo")).expect_err("no token");
    assert!(!format!("{error} {error:?}").contains("two"));
}
