//! What a failed step says: what went wrong, and the last lines of the container that did.
//!
//! The text reaches terminals and databases, so it is bounded, and what a container wrote is stripped of control
//! characters.

use std::sync::Arc;
use std::time::Duration;

use crate::health::Trouble;

/// Bytes of a failure's text in all.
pub(super) const MAX_TEXT: usize = 4096;
/// How long a failure is not told because log lines are being read: what is told first is what a release fails with.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    message: String,
    container: Option<Arc<str>>,
    logs: Logs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Logs {
    Unread,
    Asked { at: Duration },
    Read(String),
}

impl Failure {
    /// A call of the host failed; its message says it all.
    pub(super) fn of_call(message: String) -> Self {
        Self { message, container: None, logs: Logs::Unread }
    }

    /// A container is not well; its last lines tell more.
    pub(super) fn of_container(trouble: Trouble) -> Self {
        Self { message: trouble.message, container: trouble.container, logs: Logs::Unread }
    }

    /// It was healed, and ended, and was healed.
    pub(super) fn keeps_ending(reason: &str, ended: Option<Trouble>) -> Self {
        let message = format!("keeps ending after it was healthy: {reason}");
        Self::of_container(Trouble { message, container: ended.and_then(|trouble| trouble.container) })
    }

    /// Whether it is about the same, so that its log lines need not be read again.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (&self.message, &self.container) == (&other.message, &other.container)
    }

    /// The container whose log lines are to be read; asked once.
    pub(super) fn wants_logs(&mut self, now: Duration) -> Option<Arc<str>> {
        let container = self.container.clone().filter(|_| self.logs == Logs::Unread)?;
        self.logs = Logs::Asked { at: now };
        Some(container)
    }

    /// Until when they are awaited, while they are.
    pub(super) fn reads_until(&self, now: Duration) -> Option<Duration> {
        let Logs::Asked { at } = self.logs else { return None };
        Some(at + READ_WITHIN).filter(|until| now < *until)
    }

    /// Takes them in, if they are of this container.
    pub(super) fn add_logs(&mut self, container: &str, lines: &[String]) {
        if self.container.as_deref() == Some(container) {
            let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
            self.logs = Logs::Read(lines.join("\n"));
        }
    }

    /// For the status.
    pub(super) fn text(&self) -> String {
        let message = cut_end(&self.message, MAX_TEXT);
        match &self.logs {
            Logs::Read(lines) if !lines.is_empty() => {
                let head = format!("{message}\nits last lines:\n");
                let room = MAX_TEXT.saturating_sub(head.len());
                // The end of a log says more than its beginning.
                head + cut_start(lines, room)
            }
            _ => message.to_owned(),
        }
    }
}

fn printable(line: &str) -> String {
    line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}

fn cut_end(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn cut_start(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::of_container(Trouble {
            container: Some("c1".into()),
            message: "container a has ended".into(),
        })
    }

    #[test]
    fn log_lines_are_asked_for_once_and_taken_only_from_that_container() {
        let mut failure = failure();
        let second = Duration::from_secs;
        assert_eq!(failure.reads_until(second(1)), None);
        assert_eq!(failure.wants_logs(second(1)).as_deref(), Some("c1"));
        assert_eq!(failure.wants_logs(second(2)), None);
        assert_eq!([2, 6].map(|now| failure.reads_until(second(now))), [Some(second(6)), None]);
        failure.add_logs("c2", &["other".into()]);
        assert_eq!(failure.text(), "container a has ended");
        failure.add_logs("c1", &["\u{1b}[31mred\u{7}\tx".into(), "end".into()]);
        assert_eq!(failure.text(), "container a has ended\nits last lines:\n[31mred x\nend");
        assert_eq!(failure.reads_until(second(2)), None);
    }

    #[test]
    fn the_text_is_bounded_and_keeps_the_end_of_the_log() {
        let mut failure = failure();
        failure.add_logs("c1", &["é".repeat(5000), "the end".into()]);
        let text = failure.text();
        assert!(text.len() <= MAX_TEXT && text.len() > MAX_TEXT - 4, "{}", text.len());
        assert!(text.starts_with("container a") && text.ends_with("the end"));
    }
}
