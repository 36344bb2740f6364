//! A diff as Markdown for a pull request: the summary and a table first, then what to look at, then every change with its
//! details folded away.
//!
//! Forges refuse comments over 65,536 characters, so the whole stays below [`LIMIT`] whatever the size of the change: it
//! is cut by whole sections, and a line says what was cut. What comes from the repository is shown as code, in which a
//! forge sees neither markup nor anybody to notify.

use super::super::count;
use super::super::markdown::{code, escaped, fenced, html_code};
use super::words;
use crate::diff::{Change, ChangeKind, Diff, FileChange};
use crate::plan::Reason;

/// Characters, in all. Below what every forge takes for a comment.
pub const LIMIT: usize = 60_000;
/// Of these for what stands before the changes, each table or list for itself.
const LIMIT_OF_A_LIST: usize = 8_000;
/// Kept free for the lines that say what was cut.
const RESERVE: usize = 1_000;

/// The whole diff, in at most [`LIMIT`] characters.
pub fn markdown(diff: &Diff) -> String {
    markdown_under("", diff)
}

/// The same under `head`, which counts. It may take up to 10,000 characters.
pub fn markdown_under(head: &str, diff: &Diff) -> String {
    let mut page = Page::default();
    page.add(head);
    page.add(&format!("**{}**\n", escaped(&words::summary(diff))));
    page.add(&format!("\n{} against {}\n", code(&diff.head), code(&diff.base)));
    if let Some(plan) = &diff.plan {
        page.add(&format!("\nPlan id: {}\n", code(&plan.to_string())));
    }
    page.list("", &table(diff), "changes", TABLE_HEAD);
    let risks: Vec<String> = diff.risks.iter().map(|risk| item(&words::risk(risk))).collect();
    page.list("Look at this first", &risks, "risks", "");
    page.list("Features", &features(diff), "features", "");
    page.list("Controls", &controls(diff), "controls", "");
    let settings: Vec<String> = diff.settings.iter().map(|one| reason(one, "")).collect();
    page.list("Settings", &settings, "settings", "");
    page.list("", &foot(diff), "lines", "");
    page.sections(&diff.changes.iter().map(section).collect::<Vec<_>>());
    page.text
}

/// A page with an end.
#[derive(Default)]
struct Page {
    text: String,
    used: usize,
}

impl Page {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.used += text.chars().count();
    }

    /// Items under a title, as many as there is room for, and how many there are more.
    fn list(&mut self, title: &str, items: &[String], what: &str, head: &str) {
        if items.is_empty() {
            return;
        }
        let title = if title.is_empty() { String::new() } else { format!("\n**{title}**\n") };
        self.add(&format!("{title}\n{head}"));
        let mut room = LIMIT_OF_A_LIST;
        let fits = |item: &&String| {
            let size = item.chars().count();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        };
        let shown: Vec<&String> = items.iter().take_while(fits).collect();
        let number = shown.len();
        shown.into_iter().for_each(|item| self.add(item));
        if number < items.len() {
            self.add(&format!("\n… and {} more {what}\n", items.len() - number));
        }
    }

    /// Whole sections, as many as there is room for. A great one does not keep out those that come after it.
    fn sections(&mut self, sections: &[String]) {
        let mut cut = 0;
        for section in sections {
            match self.used + section.chars().count() <= LIMIT - RESERVE {
                true => self.add(section),
                false => cut += 1,
            }
        }
        if cut > 0 {
            let (cut, all) = (count(cut, "change"), sections.len());
            self.add(&format!(
                "\nThe details of {cut} of {all} are cut, because a comment has an end: `gitops diff` shows all of them.\n"
            ));
        }
    }
}

const TABLE_HEAD: &str = "| | Service | Where | What happens |\n|---|---|---|---|\n";

fn table(diff: &Diff) -> Vec<String> {
    let row = |change: &Change| {
        let (sign, verb) = words::kind(change.kind);
        let place =
            change.environment.as_ref().map(|name| format!("{}: ", code(name.as_str()))).unwrap_or_default();
        let service = code(change.service.as_str());
        let origin = escaped(&words::origin(change));
        let nodes = place + &escaped(&words::nodes(&change.nodes));
        format!("| {} {verb} | {service}{origin} | {nodes} | {} |\n", escaped(sign), happens(change))
    };
    diff.changes.iter().map(row).collect()
}

/// What happens to containers, in a cell.
fn happens(change: &Change) -> String {
    const MAX: usize = 4;
    let one = |(container, effect): (&std::sync::Arc<str>, &crate::diff::Effect)| {
        format!("{} {}", code(container), words::effect(*effect))
    };
    let mut effects: Vec<String> = change.effects.iter().take(MAX).map(one).collect();
    if change.effects.len() > MAX {
        effects.push(format!("{} more", change.effects.len() - MAX));
    }
    match effects.is_empty() {
        true => "no container is touched".to_owned(),
        false => effects.join(", "),
    }
}

fn item(text: &str) -> String {
    format!("- {}\n", escaped(text))
}

fn features(diff: &Diff) -> Vec<String> {
    let of = |feature: &crate::diff::FeatureChange| {
        let users = match feature.services.as_slice() {
            [] => "nobody uses it".to_owned(),
            services => format!("used by {}", escaped(&words::some(services))),
        };
        let because: String = feature.because.iter().map(|one| reason(one, "  ")).collect();
        format!("- {}, {users}\n{because}", code(feature.feature.as_str()))
    };
    diff.features.iter().map(of).collect()
}

fn controls(diff: &Diff) -> Vec<String> {
    let of = |control: &crate::diff::ControlChange| {
        let because: String = control.because.iter().map(|one| reason(one, "  ")).collect();
        let turns: String =
            control.services.iter().map(|turn| format!("  - {}\n", escaped(&words::turn(turn)))).collect();
        format!("- {}\n{because}{turns}", code(control.control.as_str()))
    };
    diff.controls.iter().map(of).collect()
}

fn foot(diff: &Diff) -> Vec<String> {
    let cost = diff.cost.iter().map(|cost| item(&words::cost(cost)));
    cost.chain(diff.ignored.iter().map(|ignored| item(&words::ignored(ignored)))).collect()
}

/// One change, folded.
fn section(change: &Change) -> String {
    let (sign, verb) = words::kind(change.kind);
    let title = format!(
        "{} {verb} {}{} – {}",
        escaped(sign),
        html_code(change.service.as_str()),
        escaped(&words::origin(change)),
        escaped(&words::nodes(&change.nodes))
    );
    let mut body = String::new();
    for capability in &change.capabilities {
        body.push_str(&format!("- **{}**\n", escaped(&words::capability(capability))));
    }
    body.extend(change.because.iter().map(|one| reason(one, "")));
    for (container, effect) in &change.effects {
        body.push_str(&format!("- container {} {}\n", code(container), words::effect(*effect)));
    }
    let is_update = matches!(change.kind, ChangeKind::Update | ChangeKind::Recreate);
    if is_update && change.effects.is_empty() {
        body.push_str("- no container is touched\n");
    }
    if !change.volumes_kept.is_empty() {
        body.push_str(&format!("- its volumes stay: {}\n", escaped(&words::some(&change.volumes_kept))));
    }
    body.extend(change.files.iter().map(file));
    format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

fn reason(reason: &Reason, indent: &str) -> String {
    let source = reason.source.as_deref().map(|source| format!(" ({})", code(source))).unwrap_or_default();
    format!("{indent}- {}: {}{source}\n", code(&reason.field), words::values(reason, code))
}

fn file(file: &FileChange) -> String {
    let mut text = format!("- file {} {}\n", code(&file.source), words::file(file));
    if let Some(hidden) = &file.hidden {
        text.push_str(&format!("  - {}\n", escaped(hidden)));
    }
    if let Some(lines) = file.lines.as_deref().filter(|lines| !lines.is_empty()) {
        text.push_str(&format!("\n{}", fenced(lines, "diff")));
    }
    text
}
