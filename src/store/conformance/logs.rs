//! What every store does with log lines.

use gitops_core::log::{LogEntry, LogLine, LogQuery, Speaker};
use gitops_core::name::Generation;

use super::super::fixture::{at, node};
use super::{DAY, EVERYTHING, Retention, Shared};

fn line(service: &str, attempt: i64, seq: u32) -> LogLine {
    LogLine {
        service: service.parse().unwrap(),
        generation: Generation(3),
        attempt: at(attempt),
        seq,
        at: at(attempt + 1),
        from: Speaker::Compose,
        text: format!("{service} {attempt} {seq} \u{1f433} \"quoted\""),
    }
}

fn lines(service: &str, attempt: i64, seqs: std::ops::RangeInclusive<u32>) -> Vec<LogLine> {
    seqs.map(|seq| line(service, attempt, seq)).collect()
}

fn query(service: &str) -> LogQuery {
    LogQuery { service: service.parse().unwrap(), node: None, after: 0, limit: 100 }
}

/// Node, attempt and place of what is found.
async fn found(store: &Shared, query: &LogQuery) -> Vec<(String, i64, u32)> {
    let short = |LogEntry { node, line, .. }: &LogEntry| {
        (node.to_string(), line.attempt.as_second() - at(0).as_second(), line.seq)
    };
    store.logs(query).await.unwrap().iter().map(short).collect()
}

fn of(name: &str, attempt: i64, seqs: std::ops::RangeInclusive<u32>) -> Vec<(String, i64, u32)> {
    seqs.map(|seq| (name.to_owned(), attempt, seq)).collect()
}

pub(super) async fn log_lines_come_back_as_they_were_by_service_and_node(store: Shared) {
    store.append_logs(&node("edge-1"), lines("web", 0, 1..=2), at(9)).await.unwrap();
    store.append_logs(&node("edge-2"), lines("web", 0, 1..=1), at(9)).await.unwrap();
    store.append_logs(&node("edge-1"), lines("api", 0, 1..=1), at(9)).await.unwrap();
    let all = store.logs(&query("web")).await.unwrap();
    assert_eq!(all[1].line, line("web", 0, 2));
    assert!(all.is_sorted_by(|a, b| a.id < b.id), "{all:?}");
    assert_eq!(found(&store, &query("web")).await, [of("edge-1", 0, 1..=2), of("edge-2", 0, 1..=1)].concat());
    let on_one = LogQuery { node: Some(node("edge-2")), ..query("web") };
    assert_eq!(found(&store, &on_one).await, of("edge-2", 0, 1..=1));
    assert_eq!(found(&store, &query("db")).await, []);
}

pub(super) async fn a_log_line_that_is_sent_again_is_there_once(store: Shared) {
    for seqs in [1..=3, 2..=3, 1..=5] {
        store.append_logs(&node("edge-1"), lines("web", 0, seqs), at(9)).await.unwrap();
    }
    store.append_logs(&node("edge-1"), lines("web", 7, 1..=1), at(9)).await.unwrap();
    assert_eq!(found(&store, &query("web")).await, [of("edge-1", 0, 1..=5), of("edge-1", 7, 1..=1)].concat());
}

pub(super) async fn logs_are_read_from_their_end_or_onwards(store: Shared) {
    store.append_logs(&node("edge-1"), lines("web", 0, 1..=9), at(9)).await.unwrap();
    let tail = LogQuery { limit: 2, ..query("web") };
    assert_eq!(found(&store, &tail).await, of("edge-1", 0, 8..=9));
    let first = store.logs(&query("web")).await.unwrap()[2].id;
    let onwards = LogQuery { after: first, limit: 2, ..query("web") };
    assert_eq!(found(&store, &onwards).await, of("edge-1", 0, 4..=5));
    assert_eq!(found(&store, &LogQuery { after: u64::MAX, ..query("web") }).await, []);
}

pub(super) async fn prune_takes_log_lines_by_count_of_their_node_and_by_age(store: Shared) {
    store.append_logs(&node("edge-1"), lines("web", 0, 1..=5), at(0)).await.unwrap();
    store.append_logs(&node("edge-2"), lines("web", 0, 1..=2), at(2 * DAY)).await.unwrap();
    store.prune(EVERYTHING, at(0)).await.unwrap();
    assert_eq!(found(&store, &query("web")).await.len(), 7);
    store.prune(Retention { log_lines_per_node: 3, ..EVERYTHING }, at(0)).await.unwrap();
    assert_eq!(found(&store, &query("web")).await, [of("edge-1", 0, 3..=5), of("edge-2", 0, 1..=2)].concat());
    store.prune(Retention { days: 1, ..EVERYTHING }, at(2 * DAY)).await.unwrap();
    assert_eq!(found(&store, &query("web")).await, of("edge-2", 0, 1..=2));
    let last = store.logs(&query("web")).await.unwrap().last().map_or(0, |entry| entry.id);
    store.append_logs(&node("edge-1"), lines("web", 0, 1..=1), at(9)).await.unwrap();
    let next = store.logs(&LogQuery { after: last, ..query("web") }).await.unwrap();
    assert_eq!(next.len(), 1, "a number is never given again, and what was forgotten may come again");
}
