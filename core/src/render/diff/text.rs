//! A diff as text: what to look at first, then per environment, node and service what changes, why, and what that does to
//! running containers.

use anstyle::Style;

use super::super::page::{Page, Span, plain};
use super::super::{BAD, BOLD, DIM, GOOD, WARN, inert, painted};
use super::words;
use crate::diff::{Change, ChangeKind, Diff, Effect, FileChange};
use crate::name::{EnvironmentName, NodeName};
use crate::plan::Reason;

/// The whole diff, beginning with its summary line; no line is wider than `width`, if there is one.
pub fn text(diff: &Diff, width: Option<usize>) -> String {
    let mut page = Page::new(width);
    page.line(0, [(BOLD, words::summary(diff))]);
    if !(diff.base.is_empty() && diff.head.is_empty()) {
        page.line(0, [(DIM, format!("{} → {}", diff.base, diff.head))]);
    }
    if let Some(plan) = &diff.plan {
        page.line(0, [(DIM, format!("Plan id: {plan}"))]);
    }
    for risk in &diff.risks {
        page.line(0, [(BAD.bold(), "! ".to_owned()), plain(words::risk(risk))]);
    }
    changes(&mut page, &diff.changes);
    features(&mut page, diff);
    controls(&mut page, diff);
    settings(&mut page, diff);
    foot(&mut page, diff);
    page.end()
}

fn changes(page: &mut Page, changes: &[Change]) {
    let mut environment: Option<&Option<EnvironmentName>> = None;
    let mut nodes: Option<&[NodeName]> = None;
    for change in changes {
        if environment != Some(&change.environment) {
            if let Some(name) = &change.environment {
                page.gap();
                page.line(0, [(BOLD.underline(), format!("environment {name}"))]);
            }
            (environment, nodes) = (Some(&change.environment), None);
        }
        if nodes != Some(&change.nodes) {
            page.gap();
            page.line(0, [(BOLD, words::nodes(&change.nodes))]);
            nodes = Some(&change.nodes);
        }
        self::change(page, change);
    }
}

fn change(page: &mut Page, change: &Change) {
    let (sign, verb) = words::kind(change.kind);
    let style = style(change.kind);
    page.line(2, [(style, format!("{sign} {verb} {}{}", change.service, words::origin(change)))]);
    for capability in &change.capabilities {
        page.line(6, [(BAD.bold(), format!("! {}", words::capability(capability)))]);
    }
    for reason in &change.because {
        page.line(6, reason_spans(reason));
    }
    for file in &change.files {
        self::file(page, file);
    }
    effects(page, change);
}

fn style(kind: ChangeKind) -> Style {
    match kind {
        ChangeKind::Create => GOOD,
        ChangeKind::Update | ChangeKind::Recreate | ChangeKind::Move => WARN,
        ChangeKind::Remove => BAD,
    }
}

/// `services.app.image: nginx:1.27 → nginx:1.28   services/web/compose.yaml:4`
fn reason_spans(reason: &Reason) -> Vec<Span> {
    let mut spans = vec![plain(format!("{}: {}", reason.field, words::values(reason, str::to_owned)))];
    spans.extend(reason.source.as_deref().map(|source| (DIM, format!("   {source}"))));
    spans
}

/// A reason as one line.
pub fn reason_text(reason: &Reason) -> String {
    reason_spans(reason).into_iter().map(|(style, text)| painted(style, &inert(&text))).collect()
}

fn file(page: &mut Page, file: &FileChange) {
    let said = plain(format!("file {} {}", file.path, words::file(file)));
    page.line(6, [said, (DIM, format!("   {}", file.source))]);
    if let Some(hidden) = &file.hidden {
        page.line(8, [(DIM, format!("{hidden}"))]);
    }
    for line in file.lines.iter().flat_map(|lines| lines.split('\n')) {
        let style = match line.as_bytes().first() {
            Some(b'+') => GOOD,
            Some(b'-') => BAD,
            Some(b'@') => DIM,
            _ => Style::new(),
        };
        page.cut_line(8, (style, line.to_owned()));
    }
}

fn effects(page: &mut Page, change: &Change) {
    for (container, effect) in &change.effects {
        let style = match effect {
            Effect::Create => GOOD,
            Effect::Remove => BAD,
            _ => WARN,
        };
        page.line(6, [(style, format!("container {container} {}", words::effect(*effect)))]);
    }
    let is_update = matches!(change.kind, ChangeKind::Update | ChangeKind::Recreate);
    if is_update && change.effects.is_empty() {
        page.line(6, [(DIM, "no container is touched".to_owned())]);
    }
    if !change.volumes_kept.is_empty() {
        page.line(6, [(DIM, format!("its volumes stay: {}", words::some(&change.volumes_kept)))]);
    }
}

fn features(page: &mut Page, diff: &Diff) {
    if !diff.features.is_empty() {
        page.gap();
        page.line(0, [(BOLD, "features".to_owned())]);
    }
    for feature in &diff.features {
        let users = match feature.services.as_slice() {
            [] => "nobody uses it".to_owned(),
            services => format!("used by {}", words::some(services)),
        };
        page.line(2, [(WARN, format!("~ {}", feature.feature)), (DIM, format!("   {users}"))]);
        for reason in &feature.because {
            page.line(6, reason_spans(reason));
        }
    }
}

fn controls(page: &mut Page, diff: &Diff) {
    if !diff.controls.is_empty() {
        page.gap();
        page.line(0, [(BOLD, "controls".to_owned())]);
    }
    for control in &diff.controls {
        page.line(2, [(WARN, format!("~ {}", control.control))]);
        for reason in &control.because {
            page.line(6, reason_spans(reason));
        }
        for turn in &control.services {
            page.line(6, [plain(words::turn(turn))]);
        }
    }
}

fn settings(page: &mut Page, diff: &Diff) {
    if !diff.settings.is_empty() {
        page.gap();
        page.line(0, [(BOLD, "settings".to_owned())]);
    }
    for reason in &diff.settings {
        page.line(6, reason_spans(reason));
    }
}

fn foot(page: &mut Page, diff: &Diff) {
    if diff.cost.is_some() || !diff.ignored.is_empty() {
        page.gap();
    }
    if let Some(cost) = &diff.cost {
        page.line(0, [plain(words::cost(cost))]);
    }
    for ignored in &diff.ignored {
        page.line(0, [(DIM, words::ignored(ignored))]);
    }
}
