//! What becomes of containers when the files that they mount or read change, or are lost.

use std::sync::Arc;

use bollard::query_parameters::{InspectContainerOptions, RestartContainerOptions};
use gitops_agent::attempt::Attempt;
use gitops_agent::docker::{DockerConfig, DockerHost};
use gitops_agent::files::InstanceFiles;
use gitops_agent::host::Host as _;
use gitops_core::name::Digest;
use gitops_core::plan::{Ensure, OnFileChange};
use serde_json::json;

use super::bench::{Bench, sleeper};
use super::{Looked, ids_of, recreated};

/// Two Compose services that see the same file, one by its folder and one by itself, and one that sees nothing of it.
fn with_mounts(bench: &Bench, on_file_change: OnFileChange, content: &str) -> Ensure {
    let services = json!({
        "file": sleeper(json!({"volumes": ["./d/conf:/conf:ro"]})),
        "folder": sleeper(json!({"volumes": ["./d:/d:ro"]})),
        "none": sleeper(json!({})),
    });
    let mut step = bench.step(services, &[("d/conf", content)]);
    for name in ["file", "folder"] {
        step.containers.get_mut(name).unwrap().files = Some(Digest::of(content));
    }
    Ensure { on_file_change, ..step }
}

async fn seen(bench: &Bench, looked: &Looked) -> [String; 2] {
    [bench.read(&looked["file"], "/conf").await, bench.read(&looked["folder"], "/d/conf").await]
}

/// The Compose services whose containers were started since.
fn restarted(before: &Looked, after: &Looked) -> Vec<String> {
    assert_eq!(ids_of(before), ids_of(after), "recreated");
    let is_new = |name: &&String| before[*name].started_at != after[*name].started_at;
    after.keys().filter(is_new).cloned().collect()
}

#[tokio::test]
async fn after_a_changed_file_a_container_sees_what_is_documented() {
    let Some(bench) = Bench::new("sees") else { return };
    bench.ensure(&with_mounts(&bench, OnFileChange::Nothing, "1")).await;
    let before = bench.look().await;
    bench.ensure(&with_mounts(&bench, OnFileChange::Nothing, "2")).await;
    let after = bench.look().await;
    assert_eq!(restarted(&before, &after), [""; 0]);
    assert_eq!(seen(&bench, &after).await, ["1", "2"], "a file that is mounted by itself stays as it was");
    bench.ensure(&with_mounts(&bench, OnFileChange::Restart, "3")).await;
    let last = bench.look().await;
    assert_eq!(restarted(&after, &last), ["file", "folder"]);
    assert_eq!(seen(&bench, &last).await, ["3", "3"]);
    bench.clean_up().await;
}

#[tokio::test]
async fn containers_are_restarted_once_however_often_the_agent_is_killed_before_it() {
    let Some(bench) = Bench::new("midway") else { return };
    bench.ensure(&with_mounts(&bench, OnFileChange::Restart, "1")).await;
    let before = bench.look().await;
    let step = with_mounts(&bench, OnFileChange::Restart, "2");
    // Killed when the files were in place, and again when Compose was to be called.
    let mut files = InstanceFiles::open(&bench.config.instances, &step.service).unwrap();
    files.put(&step.files, &*bench.config.blobs).unwrap();
    bench.without_compose().ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap_err();
    assert_eq!(restarted(&before, &bench.look().await), [""; 0]);
    // One of them was started since, and has read the new file.
    bench.engine.restart_container(&before["file"].id, None::<RestartContainerOptions>).await.unwrap();
    let between = bench.look().await;
    bench.ensure(&step).await;
    let after = bench.look().await;
    assert_eq!(restarted(&between, &after), ["folder"]);
    assert_eq!(seen(&bench, &after).await, ["2", "2"]);
    bench.without_compose().ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap();
    bench.clean_up().await;
}

/// Two Compose services that mount a file each, and one whose file is its environment.
fn with_files(bench: &Bench, on_file_change: OnFileChange, a: &str, environment: &str) -> Ensure {
    let services = json!({
        "a": sleeper(json!({"volumes": ["./a:/etc/a:ro"]})),
        "b": sleeper(json!({"volumes": ["./b:/etc/b:ro"]})),
        "e": sleeper(json!({"env_file": ["./e.env"]})),
    });
    let step = bench.step(services, &[("a/conf", a), ("b/conf", "b"), ("e.env", environment)]);
    Ensure { on_file_change, ..step }
}

#[tokio::test]
async fn a_changed_file_recreates_the_container_that_mounts_it() {
    let Some(bench) = Bench::new("recreate") else { return };
    // The stand-in for the control side finds files by name in the service; here they are named by folder.
    let step = |a: &str| {
        let mut step = with_files(&bench, OnFileChange::Recreate, a, "X=1");
        step.containers.get_mut("a").unwrap().files = Some(Digest::of(a));
        step
    };
    bench.ensure(&step("1")).await;
    let before = bench.ids().await;
    bench.ensure(&step("2")).await;
    let after = bench.look().await;
    assert_eq!(recreated(&before, &ids_of(&after)), ["a"]);
    assert_eq!(bench.read(&after["a"], "/etc/a/conf").await, "2");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_changed_file_restarts_the_container_that_mounts_it() {
    let Some(bench) = Bench::new("restart") else { return };
    let step = |a: &str| {
        let mut step = with_files(&bench, OnFileChange::Restart, a, "X=1");
        step.containers.get_mut("a").unwrap().files = Some(Digest::of(a));
        step
    };
    bench.ensure(&step("1")).await;
    let before = bench.look().await;
    bench.ensure(&step("2")).await;
    let after = bench.look().await;
    assert_eq!(recreated(&ids_of(&before), &ids_of(&after)), [""; 0]);
    assert!(after["a"].started_at > before["a"].started_at);
    assert_eq!(after["b"].started_at, before["b"].started_at);
    assert_eq!(bench.read(&after["a"], "/etc/a/conf").await, "2");
    // And it is done: neither a restart nor a call is left.
    bench.without_compose().ensure(&step("2"), &[], &Attempt::unlogged("a test")).await.unwrap();
    bench.clean_up().await;
}

#[tokio::test]
async fn a_changed_file_is_replaced_under_a_container_that_is_left_alone() {
    let Some(bench) = Bench::new("nothing") else { return };
    let step = |a: &str| {
        let mut step = with_files(&bench, OnFileChange::Nothing, a, "X=1");
        step.containers.get_mut("a").unwrap().files = Some(Digest::of(a));
        step
    };
    bench.ensure(&step("1")).await;
    let before = bench.look().await;
    bench.without_compose().ensure(&step("2"), &[], &Attempt::unlogged("a test")).await.unwrap();
    let after = bench.look().await;
    assert_eq!(after, before);
    assert_eq!(bench.read(&after["a"], "/etc/a/conf").await, "2");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_changed_environment_file_recreates_its_container_whatever_is_said_of_files() {
    let Some(bench) = Bench::new("environment") else { return };
    bench.ensure(&with_files(&bench, OnFileChange::Nothing, "a", "X=1")).await;
    let before = bench.ids().await;
    bench.ensure(&with_files(&bench, OnFileChange::Nothing, "a", "X=2")).await;
    assert_eq!(recreated(&before, &bench.ids().await), ["e"]);
    bench.clean_up().await;
}

#[tokio::test]
async fn what_was_lost_from_the_disk_is_made_anew_with_the_containers_that_mount_it() {
    let Some(bench) = Bench::new("lost") else { return };
    let step = |on_file_change| {
        let services = json!({
            "file": sleeper(json!({"volumes": ["./one/conf:/conf:ro"]})),
            "folder": sleeper(json!({"volumes": ["./two:/two:ro"]})),
            "plain": sleeper(json!({})),
        });
        Ensure { on_file_change, ..bench.step(services, &[("one/conf", "1"), ("two/conf", "2")]) }
    };
    let folder = bench.instance_folder();
    let delete_file = || std::fs::remove_file(folder.join("one/conf")).unwrap();
    let delete_folder = || std::fs::remove_dir_all(folder.join("two")).unwrap();
    let delete_instance = || std::fs::remove_dir_all(&folder).unwrap();
    let delete_all = || std::fs::remove_dir_all(&bench.config.instances).unwrap();
    let both: &[&str] = &["file", "folder"];
    bench.ensure(&step(OnFileChange::Recreate)).await;
    for (on_file_change, delete, expected) in [
        (OnFileChange::Recreate, &delete_file as &dyn Fn(), &["file"][..]),
        (OnFileChange::Recreate, &delete_folder, &["folder"]),
        (OnFileChange::Recreate, &delete_instance, both),
        (OnFileChange::Recreate, &delete_all, both),
        (OnFileChange::Nothing, &delete_instance, both),
        (OnFileChange::Restart, &delete_all, both),
    ] {
        let before = bench.look().await;
        delete();
        bench.ensure(&step(on_file_change)).await;
        let after = bench.look().await;
        assert_eq!(recreated(&ids_of(&before), &ids_of(&after)), expected);
        assert_eq!(after["plain"].started_at, before["plain"].started_at);
        assert_eq!(bench.read(&after["file"], "/conf").await, "1");
        assert_eq!(bench.read(&after["folder"], "/two/conf").await, "2");
        bench
            .without_compose()
            .ensure(&step(on_file_change), &[], &Attempt::unlogged("a test"))
            .await
            .unwrap();
        assert!(bench.host.observe().await.unwrap().lost.is_empty());
    }
    delete_all();
    assert_eq!(bench.host.observe().await.unwrap().lost.len(), 1);
    bench.clean_up().await;
}

#[tokio::test]
async fn what_a_failed_call_has_made_is_left_alone_by_the_next_one() {
    let Some(bench) = Bench::new("halfway") else { return };
    // The first is started before the second, which can be started as one user and not as the other.
    let step = |user: &str| {
        let services = json!({
            "db": sleeper(json!({"volumes": ["./one/conf:/conf:ro"]})),
            "app": sleeper(json!({"depends_on": ["db"], "user": user})),
        });
        bench.step(services, &[("one/conf", "1")])
    };
    let fails = async || {
        let failed =
            bench.host.ensure(&step("nobody-knows"), &[], &Attempt::unlogged("a test")).await.unwrap_err();
        assert!(failed.to_string().contains("nobody-knows"), "{failed}");
        bench.look().await["db"].id.clone()
    };
    // The first deploy: nothing was lost, though the folder is new.
    let first = fails().await;
    assert_eq!(fails().await, first);
    bench.ensure(&step("0")).await;
    assert_eq!(bench.look().await["db"].id, first);
    // A real loss costs the container that outlived it, once.
    std::fs::remove_dir_all(bench.instance_folder()).unwrap();
    let second = fails().await;
    assert_ne!(second, first);
    assert_eq!(fails().await, second);
    bench.ensure(&step("0")).await;
    let looked = bench.look().await;
    assert_eq!(looked["db"].id, second);
    assert_eq!(bench.read(&looked["db"], "/conf").await, "1");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_job_does_not_run_again_because_its_neighbour_lost_its_files() {
    let Some(bench) = Bench::new("lostjob") else { return };
    let after_job = json!({"job": {"condition": "service_completed_successfully"}});
    let services = json!({
        "job": sleeper(json!({"command": ["true"], "restart": "no"})),
        "web": sleeper(json!({"volumes": ["./one/conf:/conf:ro"], "depends_on": after_job})),
    });
    let step = bench.step(services, &[("one/conf", "1")]);
    bench.ensure(&step).await;
    let before = bench.look().await;
    std::fs::remove_dir_all(bench.instance_folder()).unwrap();
    bench.ensure(&step).await;
    let after = bench.look().await;
    assert_eq!(recreated(&ids_of(&before), &ids_of(&after)), ["web"]);
    assert_eq!(after["job"].started_at, before["job"].started_at);
    assert_eq!(bench.read(&after["web"], "/conf").await, "1");
    bench.clean_up().await;
}

#[tokio::test]
async fn no_longer_asking_to_recreate_recreates_nothing() {
    let Some(bench) = Bench::new("switch") else { return };
    let step = bench.step(json!({"a": sleeper(json!({"volumes": ["./a:/a:ro"]}))}), &[("a", "1")]);
    bench.ensure(&step).await;
    let before = bench.ids().await;
    let step = Ensure { on_file_change: OnFileChange::Restart, ..step };
    bench.without_compose().ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap();
    assert_eq!(bench.ids().await, before);
    bench.clean_up().await;
}

#[tokio::test]
async fn no_dotenv_file_has_any_say() {
    let Some(mut bench) = Bench::new("dotenv") else { return };
    let hostile = "LEVEL=hostile\nCOMPOSE_PROJECT_NAME=stolen\nCOMPOSE_PROFILES=other\nCOMPOSE_FILE=/nowhere.yaml\n\
                   COMPOSE_REMOVE_ORPHANS=0\nDOCKER_HOST=unix:///nowhere.sock\nDOCKER_CONTEXT=nowhere\n";
    let home = bench.folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".env"), hostile).unwrap();
    let config = DockerConfig {
        docker_config: Some(bench.config.docker_config.clone().unwrap_or(bench.config.home.join(".docker"))),
        home,
        ..bench.config.clone()
    };
    bench.host = Arc::new(DockerHost::connect(config).unwrap());
    let services = json!({
        "a": sleeper(json!({
            "environment": {"LEVEL": "$LEVEL ${LEVEL}"},
            "volumes": ["./.env:/env:ro", "./:/all:ro"],
        })),
        "other": sleeper(json!({"profiles": ["other"]})),
    });
    let mut step = bench.step(services, &[(".env", hostile)]);
    step.containers.remove("other");
    bench.ensure(&step).await;
    let looked = bench.look().await;
    assert_eq!(looked.keys().collect::<Vec<_>>(), ["a"]);
    let inspected = bench.engine.inspect_container(&looked["a"].id, None::<InspectContainerOptions>).await;
    let config = inspected.unwrap().config.unwrap();
    assert_eq!(config.labels.unwrap()["com.docker.compose.project"], bench.name);
    let environment = config.env.unwrap();
    assert!(environment.contains(&"LEVEL=$LEVEL ${LEVEL}".to_owned()), "{environment:?}");
    assert_eq!(bench.read(&looked["a"], "/env").await, hostile);
    bench.remove().await;
    assert!(bench.look().await.is_empty());
    bench.clean_up().await;
}
