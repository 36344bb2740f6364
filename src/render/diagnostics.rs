//! Diagnostics as pictures with a caret, and as JSON.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{BAD, BOLD, GOOD, WARN, count, inert, painted};
use crate::diagnostic::{Diagnostic, Place, Severity};

/// Every diagnostic as a picture, with an empty line after each.
pub fn text(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{}\n\n", picture(diagnostic))).collect()
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
    let notes: Vec<String> = diagnostic.notes.iter().map(|note| inert(note)).collect();
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
    let (word, style) = match diagnostic.severity {
        Severity::Error => ("error", BAD),
        Severity::Warning => ("warning", WARN),
        Severity::Info => ("info", GOOD),
    };
    let heading = painted(style.bold(), &format!("{word}[{}]", diagnostic.code));
    let message = painted(BOLD, &format!(": {}", inert(&diagnostic.message)));
    let position = match diagnostic.place.line {
        0 => String::new(),
        line => format!(":{line}:{}", diagnostic.place.column),
    };
    let mut lines =
        vec![format!("{heading}{message}"), format!(" --> {}{position}", inert(&diagnostic.place.path))];
    lines.extend(diagnostic.notes.iter().map(|note| format!("  = {}", inert(note))));
    lines.extend(diagnostic.help.iter().map(|help| format!("  = fix: {}", inert(help))));
    lines.join("\n")
}
