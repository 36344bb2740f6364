use super::*;
use crate::git::testing::{Origin, git};

fn repository(origin: &Origin) -> Repository {
    origin.git(&["config", "user.name", "Grace"]);
    origin.git(&["config", "user.email", "grace@example.org"]);
    Repository::discover(&origin.work()).unwrap()
}

fn draft<'a>(parent: &'a Revision, branch: &'a str) -> Draft<'a> {
    Draft {
        parent,
        edit: Edit::File { path: "services/web/service.yaml", content: b"new\n" },
        branch,
        message: "Promote web\n\nTAG\n",
    }
}

#[test]
fn a_commit_on_a_new_branch_changes_one_file_and_nothing_else() {
    let origin = Origin::new();
    origin.write("services/web/compose.yaml", "kept");
    let parent = origin.push_file("services/web/service.yaml", "old\n");
    origin.write("services/web/service.yaml", "not committed");
    let revision = repository(&origin).commit_to_new_branch(&draft(&parent, "promote/web")).unwrap();
    assert_eq!(origin.git(&["rev-parse", "promote/web"]), revision.as_str());
    assert_eq!(origin.git(&["rev-parse", "promote/web^"]), parent.as_str());
    assert_eq!(origin.git(&["diff", "--name-status", "main..promote/web"]), "M\tservices/web/service.yaml");
    assert_eq!(origin.git(&["show", "promote/web:services/web/service.yaml"]), "new");
    assert_eq!(origin.git(&["log", "-1", "--format=%s|%b", "promote/web"]), "Promote web|TAG");
    assert_eq!(origin.git(&["log", "-1", "--format=%an <%ae>", "promote/web"]), "Grace <grace@example.org>");
    assert_eq!(origin.git(&["fsck", "--strict"]), "");
    assert_eq!(origin.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(origin.head(), parent);
    assert_eq!(origin.git(&["status", "--porcelain"]), "M services/web/service.yaml");
    assert_eq!(git(&origin.bare(), &["branch", "--list", "promote/*"]), "", "nothing is pushed");
}

#[test]
fn a_branch_that_is_there_is_left_alone() {
    let origin = Origin::new();
    let parent = origin.push_file("services/web/service.yaml", "old\n");
    origin.git(&["branch", "taken"]);
    let repository = repository(&origin);
    let error = repository.commit_to_new_branch(&draft(&parent, "taken")).unwrap_err();
    assert!(matches!(error, GitError::BranchExists { .. }), "{error}");
    assert_eq!(origin.git(&["rev-parse", "taken"]), parent.as_str());
    for branch in ["", "a..b", "-x", "a b", "a.lock", "HEAD", "x\n"] {
        let error = repository.commit_to_new_branch(&draft(&parent, branch)).unwrap_err();
        assert!(matches!(error, GitError::BranchName { .. }), "{branch:?}: {error}");
    }
    // A branch cannot be a folder of branches.
    let error = repository.commit_to_new_branch(&draft(&parent, "taken/more")).unwrap_err();
    assert!(matches!(error, GitError::Write { .. }), "{error}");
}

#[test]
fn a_folder_becomes_what_it_was_and_the_rest_stays() {
    let origin = Origin::new();
    origin.write("services/web/compose.yaml", "one\n");
    let first = origin.push_file("services/web/service.yaml", "one\n");
    origin.write("services/db/service.yaml", "kept\n");
    origin.write("services/web/added.yaml", "two\n");
    let second = origin.push_file("services/web/service.yaml", "two\n");
    let repository = repository(&origin);
    let restore = |path, from, branch| Draft {
        parent: &second,
        edit: Edit::Folder { path, from },
        branch,
        message: "Revert",
    };
    let check = |path, from, branch, expected: &str| {
        let draft = restore(path, from, branch);
        assert_eq!(repository.changes_nothing(&draft).unwrap(), expected.is_empty(), "{branch}");
        repository.commit_to_new_branch(&draft).unwrap();
        assert_eq!(origin.git(&["diff", "--name-status", &format!("main..{branch}")]), expected, "{branch}");
    };
    check("services/web", &first, "web", "D\tservices/web/added.yaml\nM\tservices/web/service.yaml");
    check("services/db", &first, "db", "D\tservices/db/service.yaml");
    let all = "D\tservices/db/service.yaml\nD\tservices/web/added.yaml\nM\tservices/web/service.yaml";
    check("", &first, "all", all);
    check("services/web", &second, "same", "");
    check("services/none", &first, "none", "");
    assert_eq!(origin.git(&["fsck", "--strict"]), "");
    assert_eq!(origin.head(), second);
}
