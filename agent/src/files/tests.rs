use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// An instance below a temporary folder, and content for it.
struct Bench(tempfile::TempDir);

struct Store(PathBuf);

impl Blobs for Store {
    fn path(&self, digest: Digest) -> Option<Box<Path>> {
        Some(self.0.join(digest.hex()).into_boxed_path()).filter(|path| path.exists())
    }
}

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(bench.0.path().join("blobs")).unwrap();
        bench
    }

    fn open(&self) -> InstanceFiles {
        InstanceFiles::open(&self.0.path().join("instances"), &"web".parse().unwrap()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("instances/web").join(path)
    }

    fn wanted(&self, files: &[(&str, &str)]) -> BTreeMap<Arc<str>, FileRef> {
        files.iter().map(|(path, content)| (Arc::from(*path), self.store(content))).collect()
    }

    fn store(&self, content: &str) -> FileRef {
        let digest = Digest::of(content);
        std::fs::write(self.0.path().join("blobs").join(digest.hex()), content).unwrap();
        FileRef { digest, size: content.len() as u64, executable: false }
    }

    fn put(&self, files: &[(&str, &str)]) -> Result<bool, HostError> {
        self.put_refs(&self.wanted(files))
    }

    fn put_refs(&self, wanted: &BTreeMap<Arc<str>, FileRef>) -> Result<bool, HostError> {
        self.open().put(wanted, &Store(self.0.path().join("blobs")))
    }

    /// Every file below the instance's folder, with its content; folders end in `/`, links in `@`.
    fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.path(""), "", &mut found);
        found.sort();
        found
    }
}

fn list(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap() {
            kind if kind.is_symlink() => found.push(format!("{name}@")),
            kind if kind.is_dir() => {
                found.push(format!("{name}/"));
                list(&entry.path(), &format!("{name}/"), found);
            }
            _ => found.push(format!("{name}={}", std::fs::read_to_string(entry.path()).unwrap())),
        }
    }
}

fn error(result: Result<bool, HostError>) -> String {
    match result {
        Err(HostError::File { path, source }) => format!("{path}: {source}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn files_come_and_go_with_the_plan() {
    let bench = Bench::new();
    let check = |files: &[(&str, &str)], changed: bool, expected: &[&str]| {
        assert_eq!(bench.put(files).unwrap(), changed, "{files:?}");
        assert_eq!(bench.list(), expected, "{files:?}");
    };
    check(&[], false, &[]);
    check(&[("a", "1"), ("d/e/f", "2")], true, &["a=1", "d/", "d/e/", "d/e/f=2"]);
    check(&[("a", "1"), ("d/e/f", "2")], false, &["a=1", "d/", "d/e/", "d/e/f=2"]);
    check(&[("a", "3"), ("d/e/f", "2")], true, &["a=3", "d/", "d/e/", "d/e/f=2"]);
    // Its folder stays: a container may have it mounted.
    check(&[("a", "3")], true, &["a=3", "d/", "d/e/"]);
    // A folder where a file was, and a file where a folder was.
    check(&[("a/b", "4"), ("d", "5")], true, &["a/", "a/b=4", "d=5"]);
    check(&[("a", "6"), ("d", "5")], true, &["a=6", "d=5"]);
    check(&[], true, &[]);
}

#[test]
fn what_did_not_change_is_not_touched() {
    let bench = Bench::new();
    bench.put(&[("a", "1"), ("b", "1")]).unwrap();
    let before = bench.path("a").metadata().unwrap();
    bench.put(&[("a", "1"), ("b", "2")]).unwrap();
    let after = bench.path("a").metadata().unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn a_file_is_replaced_and_never_rewritten() {
    let bench = Bench::new();
    bench.put(&[("a", "old")]).unwrap();
    let open = std::fs::File::open(bench.path("a")).unwrap();
    bench.put(&[("a", "new")]).unwrap();
    assert_eq!(io::read_to_string(open).unwrap(), "old");
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "new");
}

#[test]
fn the_mode_is_a_part_of_the_file() {
    let bench = Bench::new();
    let mode = || bench.path("a").metadata().unwrap().permissions().mode() & 0o7777;
    let mut wanted = bench.wanted(&[("a", "1")]);
    assert!(bench.put_refs(&wanted).unwrap());
    assert_eq!(mode(), 0o644);
    wanted.get_mut("a").unwrap().executable = true;
    assert!(bench.put_refs(&wanted).unwrap());
    assert_eq!(mode(), 0o755);
    std::fs::set_permissions(bench.path("a"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    assert!(bench.put_refs(&wanted).unwrap(), "a set-user-id bit that a container set");
    assert_eq!(mode(), 0o755);
}

#[test]
fn what_containers_made_is_left_alone() {
    let bench = Bench::new();
    bench.put(&[("data/seed", "1")]).unwrap();
    std::fs::write(bench.path("data/own"), "2").unwrap();
    bench.put(&[]).unwrap();
    assert_eq!(bench.list(), ["data/", "data/own=2"]);
    bench.open().delete().unwrap();
    assert_eq!(bench.list(), ["data/", "data/own=2"]);
}

#[test]
fn a_deleted_instance_leaves_nothing_of_ours() {
    let bench = Bench::new();
    bench.put(&[("a/b/c", "1")]).unwrap();
    bench.put(&[("x", "1")]).unwrap();
    let files = bench.open();
    files.put_compose_file("services: {}").unwrap();
    files.lock_file().unwrap();
    assert_eq!(files.compose_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    files.delete().unwrap();
    let mut left = Vec::new();
    list(&bench.0.path().join("instances"), "", &mut left);
    assert_eq!(left, [".gitops/"]);
}

#[test]
fn no_link_is_followed() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    bench.put(&[]).unwrap();

    // In place of the file: the link is replaced, what it points to is not.
    symlink(&precious, bench.path("a")).unwrap();
    assert!(bench.put(&[("a", "1")]).unwrap());
    assert_eq!(bench.list(), ["a=1"]);
    // Even where it points to the very content that is wanted.
    std::fs::remove_file(bench.path("a")).unwrap();
    symlink(&precious, bench.path("a")).unwrap();
    assert!(bench.put(&[("a", "precious")]).unwrap());
    assert_eq!(bench.list(), ["a=precious"]);
    // In place of the name under which new content is written.
    symlink(&precious, bench.path(".gitops-new")).unwrap();
    assert!(bench.put(&[("a", "2")]).unwrap());
    assert_eq!(bench.list(), ["a=2"]);

    // In place of a folder on the way, when writing and when deleting.
    symlink(outside.path(), bench.path("d")).unwrap();
    let refused = error(bench.put(&[("a", "2"), ("d/precious", "1")]));
    assert!(refused.starts_with("d/precious: `d` on the way is a symbolic link"), "{refused}");
    bench.put(&[("a", "2")]).unwrap();
    bench.put(&[("a", "2"), ("e/precious", "1")]).unwrap();
    std::fs::remove_dir_all(bench.path("e")).unwrap();
    symlink(outside.path(), bench.path("e")).unwrap();
    bench.put(&[("a", "2")]).unwrap();
    bench.open().delete().unwrap();
    assert_eq!(bench.list(), ["d@", "e@"]);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
}

#[test]
fn a_link_in_place_of_the_folder_of_the_instance_is_refused() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(bench.0.path().join("instances")).unwrap();
    symlink(outside.path(), bench.0.path().join("instances/web")).unwrap();
    let refused = InstanceFiles::open(&bench.0.path().join("instances"), &"web".parse().unwrap());
    assert!(matches!(refused, Err(HostError::File { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_path_that_leaves_the_folder_is_refused() {
    let bench = Bench::new();
    let check = |path: &str, because: &str| {
        let refused = error(bench.put(&[(path, "1")]));
        assert!(refused.contains(because), "{path}: {refused}");
    };
    check("../a", "leaves the folder");
    check("a/../../b", "leaves the folder");
    check("a/./b", "leaves the folder");
    check("..", "leaves the folder");
    check("/etc/passwd", "empty component");
    check("a//b", "empty component");
    check("a/", "empty component");
    check("", "empty component");
    check("a\0b", "NUL");
    check("a/.gitops-new", "kept for the agent");
    check(&"x".repeat(300), "too long");
    assert!(!bench.0.path().join("instances/a").exists() && !bench.0.path().join("b").exists());
}

#[test]
fn what_is_in_the_way_is_named_and_left() {
    let bench = Bench::new();
    bench.put(&[]).unwrap();
    std::fs::create_dir(bench.path("a")).unwrap();
    let refused = error(bench.put(&[("a", "1")]));
    assert!(refused.starts_with("a: a folder is in its place"), "{refused}");
    std::fs::write(bench.path("f"), "mine").unwrap();
    let refused = error(bench.put(&[("f/g", "1")]));
    assert!(refused.contains("not a folder"), "{refused}");
    assert_eq!(bench.list(), ["a/", "f=mine"]);
}

#[test]
fn a_pipe_in_the_way_does_not_make_it_wait() {
    let bench = Bench::new();
    bench.put(&[]).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("a"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    assert!(bench.put(&[("a", "1")]).unwrap());
    assert_eq!(bench.list(), ["a=1"]);
}

#[test]
fn missing_content_is_noticed_before_a_file_is_touched() {
    let bench = Bench::new();
    bench.put(&[("z", "1")]).unwrap();
    let mut wanted = bench.wanted(&[("a", "2"), ("z", "3")]);
    let absent = FileRef { digest: Digest::of("absent"), size: 6, executable: false };
    wanted.insert("m".into(), absent);
    assert!(matches!(bench.put_refs(&wanted), Err(HostError::Content(digest)) if digest == absent.digest));
    assert_eq!(bench.list(), ["z=1"]);

    std::fs::write(bench.0.path().join("blobs").join(absent.digest.hex()), "other!").unwrap();
    assert!(error(bench.put_refs(&wanted)).contains("is damaged"));
    assert_eq!(bench.list(), ["z=1"]);
}

#[test]
fn a_crash_between_record_and_files_leaves_nothing_behind() {
    let bench = Bench::new();
    let mut files = bench.open();
    // As it stands when the agent is killed after it announced and before it wrote: one file is half there.
    files.announce(&bench.wanted(&[("a", "1"), ("d/b", "1")]), true).unwrap();
    std::fs::create_dir(bench.path("d")).unwrap();
    std::fs::write(bench.path("d/b"), "1").unwrap();
    std::fs::write(bench.path("d/.gitops-new"), "half").unwrap();
    bench.put(&[("c", "1")]).unwrap();
    bench.open().delete().unwrap();
    assert!(!bench.path("").exists());
}

#[test]
fn what_was_gone_is_noted_before_it_is_made_anew_and_until_it_was_applied() {
    let bench = Bench::new();
    let files = [("a", "1"), ("d/b", "1"), ("d/e/c", "1")];
    let put = |expected: &[&str]| {
        bench.put(&files).unwrap();
        let mut instance = bench.open();
        let renewed: Vec<_> = instance.record.renewed.iter().map(|path| &**path).collect();
        assert_eq!(renewed, expected);
        (instance.record.pending, instance.record.renewed) = (false, BTreeSet::new());
        instance.save().unwrap();
    };
    put(&[WHOLE]);
    put(&[]);
    std::fs::remove_file(bench.path("a")).unwrap();
    put(&["a"]);
    std::fs::remove_dir_all(bench.path("d/e")).unwrap();
    put(&["d/e", "d/e/c"]);
    std::fs::write(bench.path("a"), "changed by hand").unwrap();
    put(&[]);
    std::fs::remove_dir_all(bench.path("")).unwrap();
    assert!(bench.open().record.renewed.contains(WHOLE), "noted before anything is put in place");
    put(&[WHOLE, "a", "d", "d/b", "d/e", "d/e/c"]);
    std::fs::remove_dir_all(bench.0.path().join("instances")).unwrap();
    put(&[WHOLE]);
}

#[test]
fn a_file_that_a_killed_agent_was_about_to_write_was_not_lost() {
    let bench = Bench::new();
    bench.put(&[("a", "1")]).unwrap();
    let mut files = bench.open();
    (files.record.pending, files.record.renewed) = (true, BTreeSet::new());
    files.announce(&bench.wanted(&[("a", "1"), ("b", "1")]), true).unwrap();
    bench.put(&[("a", "1"), ("b", "1")]).unwrap();
    assert_eq!(bench.open().record.renewed, BTreeSet::new());
}

#[test]
fn an_instance_is_lost_without_its_folder_or_its_record() {
    let bench = Bench::new();
    let instances = bench.0.path().join("instances");
    let web: ServiceName = "web".parse().unwrap();
    let is_lost = || !lost(&instances, [&web]).is_empty();
    assert!(is_lost());
    bench.put(&[("a", "1")]).unwrap();
    assert!(!is_lost());
    std::fs::remove_dir_all(instances.join(".gitops/web")).unwrap();
    assert!(is_lost());
    bench.open();
    assert!(!is_lost());
    std::fs::remove_dir_all(instances.join("web")).unwrap();
    assert!(is_lost());
}

#[test]
fn a_damaged_record_is_a_new_one() {
    let bench = Bench::new();
    bench.put(&[("a", "1")]).unwrap();
    std::fs::write(bench.0.path().join("instances/.gitops/web/record.json"), "{").unwrap();
    assert_eq!(bench.open().record, Record::default());
    assert!(!bench.put(&[("a", "1")]).unwrap());
    assert_eq!(bench.open().record.files.len(), 1);
}
