//! Diagnostics as pictures with a caret for people at a terminal, and as lines that start with `file:line:column` for
//! logs and the programs that read those.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::Style;

use super::{BAD, BOLD, GOOD, WARN, count, inert, painted};
use crate::diagnostic::{Diagnostic, Place, Severity};

/// How diagnostics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With the source line and a caret.
    Pictures,
    /// A line each, and further lines indented.
    Lines,
}

/// Every diagnostic in the given form.
pub fn text(diagnostics: &[Diagnostic], form: Form) -> String {
    match form {
        Form::Pictures => {
            diagnostics.iter().map(|diagnostic| format!("{}\n\n", picture(diagnostic))).collect()
        }
        Form::Lines => diagnostics.iter().map(lines).collect(),
    }
}

/// Text of several lines, each made inert, those behind the first indented.
fn inert_lines(text: &str, indent: &str) -> String {
    text.split('\n').map(inert).collect::<Vec<_>>().join(&format!("\n{indent}"))
}

/// `services/web/service.yaml:3:10: error[wrong-type]: …`, and what else there is to say, indented.
fn lines(diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, severity, message, place, label, notes, help } = diagnostic;
    let (word, style) = word(*severity);
    let kind = painted(style.bold(), &format!("{word}[{code}]"));
    let more = label.iter().chain(notes).cloned().chain(help.iter().map(|help| format!("fix: {help}")));
    let more: String = more.map(|words| format!("  {}\n", inert_lines(&words, "    "))).collect();
    format!("{}{}: {kind}: {}\n{more}", inert(&place.path), position(place), inert(message))
}

fn word(severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Error => ("error", BAD),
        Severity::Warning => ("warning", WARN),
        Severity::Info => ("info", GOOD),
    }
}

fn position(place: &Place) -> String {
    match place.line {
        0 => String::new(),
        line => format!(":{line}:{}", place.column),
    }
}

/// `2 errors and 1 warning`, painted by the heaviest.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let number = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    match (errors, warnings) {
        (0, 0) => painted(GOOD, "no mistakes"),
        (0, warnings) => painted(WARN, &count(warnings, "warning")),
        (errors, 0) => painted(BAD, &count(errors, "error")),
        (errors, warnings) => {
            painted(BAD, &format!("{} and {}", count(errors, "error"), count(warnings, "warning")))
        }
    }
}

fn picture(diagnostic: &Diagnostic) -> String {
    match &diagnostic.place {
        Place { text: Some(text), line, .. } if *line > 0 => snippet(diagnostic, text),
        _ => bare(diagnostic),
    }
}

fn snippet(diagnostic: &Diagnostic, source: &str) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let place = &diagnostic.place;
    let source = inert(source);
    let label = diagnostic.label.as_deref().map(inert);
    let (message, path) = (inert(&diagnostic.message), inert(&place.path));
    let annotation = AnnotationKind::Primary.span(underlined(&source, place)).label(label.as_deref());
    let snippet = Snippet::source(&source).line_start(place.line as usize).path(&path).annotation(annotation);
    let mut group = level.primary_title(&message).id(&*diagnostic.code).element(snippet);
    let notes: Vec<String> = diagnostic.notes.iter().map(|note| inert_lines(note, "")).collect();
    for note in &notes {
        group = group.element(Level::NOTE.no_name().message(note));
    }
    let help = diagnostic.help.as_deref().map(inert);
    if let Some(help) = &help {
        group = group.element(Level::HELP.with_name("fix").message(help));
    }
    Renderer::styled().render(&[group])
}

/// The bytes of the line that the caret underlines. A place past the end of a cut line points at its end.
fn underlined(source: &str, place: &Place) -> std::ops::Range<usize> {
    let offset =
        |chars: u32| source.char_indices().nth(chars as usize).map_or(source.len(), |(offset, _)| offset);
    let column = place.column.saturating_sub(1);
    offset(column)..offset(column.saturating_add(place.width))
}

/// Without a source line: about a whole file, or one that should be there.
fn bare(diagnostic: &Diagnostic) -> String {
    let (word, style) = word(diagnostic.severity);
    let heading = painted(style.bold(), &format!("{word}[{}]", diagnostic.code));
    let message = painted(BOLD, &format!(": {}", inert(&diagnostic.message)));
    let position = position(&diagnostic.place);
    let mut lines =
        vec![format!("{heading}{message}"), format!(" --> {}{position}", inert(&diagnostic.place.path))];
    lines.extend(diagnostic.notes.iter().map(|note| format!("  = {}", inert_lines(note, "    "))));
    lines.extend(diagnostic.help.iter().map(|help| format!("  = fix: {}", inert(help))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_lines_that_start_with_the_place() {
        let place = Place {
            path: "nodes/a.yaml".into(),
            line: 3,
            column: 7,
            width: 2,
            text: Some("node: [c".into()),
        };
        let diagnostic =
            Diagnostic::error("wrong-type", place, "`node` must be text").label("this is a list");
        let found = [diagnostic.help("write a name"), Diagnostic::warning("w", Place::file("x"), "m")];
        let text = anstream::adapter::strip_str(&text(&found, Form::Lines)).to_string();
        let expected = "nodes/a.yaml:3:7: error[wrong-type]: `node` must be text\n  this is a list\n  \
                        fix: write a name\nx: warning[w]: m\n";
        assert_eq!(text, expected);
    }
}
