use super::*;

struct Logs {
    temp: tempfile::TempDir,
    logs: LogDir,
}

impl Logs {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let logs = LogDir::open(temp.path().join("logs")).unwrap();
        Self { temp, logs }
    }

    fn begin(&self, service: &str) -> Attempt {
        self.logs.begin(&service.parse().unwrap(), Generation(3), "it is missing".to_owned())
    }

    /// The process ends and the next one starts.
    fn restart(&mut self) {
        self.logs = LogDir::open(self.temp.path().join("logs")).unwrap();
    }

    fn texts(&self) -> Vec<String> {
        self.logs.unsent().lines.into_iter().map(|line| format!("{} {}", line.seq, line.text)).collect()
    }

    fn files(&self) -> usize {
        self.logs.files().len()
    }
}

#[test]
fn lines_are_numbered_and_say_who_speaks() {
    let logs = Logs::new();
    let attempt = logs.begin("web");
    attempt.output(b" Container web-1  Crea");
    attempt.output(b"ting\n\n\x1b[32mnext\x1b[0m\nlast");
    attempt.tell("docker compose up returned");
    let lines = logs.logs.unsent().lines;
    let shown: Vec<_> = lines.iter().map(|line| (line.seq, line.from, line.text.as_str())).collect();
    assert_eq!(
        shown,
        [
            (1, Speaker::Agent, "begins: it is missing"),
            (2, Speaker::Compose, "Container web-1  Creating"),
            (3, Speaker::Compose, "next"),
            (4, Speaker::Compose, "last"),
            (5, Speaker::Agent, "docker compose up returned"),
        ]
    );
    assert!(lines.iter().all(|line| line.generation == Generation(3) && line.attempt <= line.at));
}

#[test]
fn what_the_daemon_has_is_not_handed_over_again_and_a_finished_file_goes() {
    let logs = Logs::new();
    let attempt = logs.begin("web");
    let batch = logs.logs.unsent();
    attempt.output(b"a\n");
    logs.logs.acknowledged(batch);
    assert_eq!(logs.texts(), ["2 a"]);
    assert_eq!(logs.texts(), ["2 a"], "not acknowledged");
    logs.logs.acknowledged(logs.logs.unsent());
    assert_eq!((logs.texts().len(), logs.files()), (0, 1), "it may go on");
    drop(attempt);
    assert_eq!((logs.texts().len(), logs.files()), (0, 0));
}

#[test]
fn after_a_crash_everything_that_was_written_is_handed_over() {
    let mut logs = Logs::new();
    let attempt = logs.begin("web");
    attempt.output(b"a\nb\npartial");
    logs.logs.acknowledged(logs.logs.unsent());
    // As `kill -9` leaves it.
    std::mem::forget(attempt);
    let file = logs.logs.files().pop_first().unwrap();
    let mut whole = std::fs::read(&file).unwrap();
    whole.extend(br#"{"service":"we"#);
    std::fs::write(&file, whole).unwrap();
    logs.restart();
    assert_eq!(logs.texts(), ["1 begins: it is missing", "2 a", "3 b"]);
    logs.logs.acknowledged(logs.logs.unsent());
    assert_eq!((logs.texts().len(), logs.files()), (0, 0));
}

#[test]
fn an_attempt_keeps_its_beginning_and_its_end_and_says_what_is_missing() {
    let logs = Logs::new();
    let attempt = logs.begin("web");
    for number in 0..10_000 {
        attempt.output(format!("line {number}\n").as_bytes());
    }
    attempt.tell("ends");
    let texts = logs.texts();
    let left_out = 10_000 - LINES as usize - LAST;
    assert_eq!(texts.len(), 1 + LINES as usize + 1 + LAST + 1);
    assert_eq!(texts[LINES as usize], format!("{} line {}", LINES + 1, LINES - 1));
    assert!(texts[LINES as usize + 1].ends_with(&format!("{left_out} lines of output are left out here")));
    assert!(texts[texts.len() - 2].ends_with("line 9999"));
    attempt.output(&[b'x'; 1 << 20]);
    attempt.tell("ends");
    assert!(std::fs::metadata(logs.logs.files().pop_first().unwrap()).unwrap().len() < 256 << 10);
}

#[test]
fn the_folder_keeps_so_many_attempts_and_a_batch_so_many_lines() {
    let logs = Logs::new();
    for _ in 0..ATTEMPTS + 9 {
        let attempt = logs.begin("web");
        (0..40).for_each(|_| attempt.output(b"line\n"));
    }
    assert_eq!(logs.files(), ATTEMPTS);
    let mut handed_over = 0;
    loop {
        let batch = logs.logs.unsent();
        handed_over += batch.lines.len();
        let is_full = batch.is_full;
        assert!(batch.lines.len() <= BATCH);
        logs.logs.acknowledged(batch);
        if !is_full {
            break;
        }
    }
    assert_eq!(handed_over, 41 * ATTEMPTS);
}

#[test]
fn a_batch_of_the_longest_lines_is_one_that_the_daemon_takes() {
    let logs = Logs::new();
    for _ in 0..ATTEMPTS {
        let attempt = logs.begin("web");
        (0..30).for_each(|_| attempt.tell(&"\u{1f980}".repeat(1000)));
    }
    let mut handed_over = 0;
    loop {
        let batch = logs.logs.unsent();
        let json = serde_json::to_vec(&batch.lines).unwrap();
        assert!(!batch.lines.is_empty() && json.len() <= BATCH_BYTES + 1, "{} bytes", json.len());
        handed_over += batch.lines.len();
        let is_full = batch.is_full;
        logs.logs.acknowledged(batch);
        if !is_full {
            break;
        }
    }
    assert_eq!(handed_over, 31 * ATTEMPTS);
}

#[test]
fn a_log_that_cannot_be_read_is_kept_and_holds_up_no_other() {
    let logs = Logs::new();
    let unreadable = logs.temp.path().join("logs/0-web.jsonl");
    std::os::unix::fs::symlink(&unreadable, &unreadable).unwrap();
    drop(logs.begin("web"));
    assert_eq!(logs.texts(), ["1 begins: it is missing"]);
    assert_eq!(logs.files(), 2);
    logs.logs.acknowledged(logs.logs.unsent());
    assert_eq!((logs.texts().len(), logs.files()), (0, 1));
}

#[test]
fn a_damaged_line_costs_no_other() {
    let logs = Logs::new();
    let attempt = logs.begin("web");
    let file = logs.logs.files().pop_first().unwrap();
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"\xff\0\n").unwrap();
    attempt.output(b"a\n");
    assert_eq!(logs.texts(), ["1 begins: it is missing", "2 a"]);
}

#[test]
fn a_log_that_cannot_be_written_fails_nothing() {
    let logs = Logs::new();
    std::fs::remove_dir_all(logs.temp.path()).unwrap();
    let attempt = logs.begin("web");
    attempt.output(b"a\n");
    attempt.tell("ends");
    assert!(logs.texts().is_empty());
}

#[test]
fn a_file_that_power_loss_cut_at_any_byte_gives_its_whole_lines() {
    let mut logs = Logs::new();
    logs.begin("web").output(b"one\ntwo\n");
    let all = logs.texts();
    assert_eq!(all, ["1 begins: it is missing", "2 one", "3 two"]);
    let path = logs.logs.files().pop_first().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        logs.restart();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(logs.texts(), all[..lines], "cut at {cut}");
    }
}
