//! What agents did, as lines of text.

use super::{BOLD, DIM, inert, painted};
use crate::log::{LogEntry, Speaker};

/// `2026-01-01T00:00:00Z  edge-1  plan 3  Container web-1 Created`; what the agent itself says stands out.
pub fn line(entry: &LogEntry) -> String {
    let LogEntry { node, line, .. } = entry;
    let head = format!("{:.0}  {node}  plan {}", line.at, line.generation);
    let text = inert(&line.text);
    let text = match line.from {
        Speaker::Agent => painted(BOLD, &text),
        Speaker::Compose => format!("  {text}"),
    };
    format!("{}  {text}", painted(DIM, &head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogLine;
    use crate::name::Generation;

    #[test]
    fn a_line_says_when_where_for_which_plan_and_who() {
        let at = "2026-01-01T00:00:00.5Z".parse().expect("a time");
        let entry = |from, text: &str| LogEntry {
            id: 1,
            node: "edge-1".parse().expect("a name"),
            line: LogLine {
                service: "web".parse().expect("a name"),
                generation: Generation(3),
                attempt: at,
                seq: 1,
                at,
                from,
                text: text.to_owned(),
            },
        };
        let check = |from, text, expected: &str| {
            let shown = line(&entry(from, text));
            assert_eq!(anstream::adapter::strip_str(&shown).to_string(), expected);
        };
        check(Speaker::Agent, "up", "2026-01-01T00:00:00Z  edge-1  plan 3  up");
        check(Speaker::Compose, "a\u{1b}[2Jb", "2026-01-01T00:00:00Z  edge-1  plan 3    a·[2Jb");
    }
}
