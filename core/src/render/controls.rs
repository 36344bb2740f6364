//! Controls and who meets them: for people at a terminal, and as tables that can be handed on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::table::{Cell, table};
use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted};
use crate::catalog::Catalog;
use crate::govern::{Answer, Compliance};
use crate::name::{ControlName, ServiceName};

/// Of what and when the answers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluated {
    /// The commit; none for files that are in no commit.
    pub revision: Option<String>,
    /// The day, as `2027-01-31`.
    pub on: String,
}

/// The day of a moment, in UTC.
pub fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

/// A control, and how many services meet it: one counts as its worst environment.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    control: ControlName,
    title: Option<String>,
    owner: Option<String>,
    enforcement: &'static str,
    rules: usize,
    requires: usize,
    services: usize,
    met: usize,
    not_fully_met: usize,
    not_met: usize,
}

/// Every control that could be read, by name.
pub fn rows(catalog: &Catalog, answers: &[Compliance]) -> Vec<Row> {
    let mut worst: BTreeMap<(&ControlName, &ServiceName), Answer> = BTreeMap::new();
    for one in answers {
        let entry = worst.entry((&one.control, &one.service)).or_insert(one.answer);
        *entry = one.answer.max(*entry);
    }
    let number = |name: &ControlName, wanted: Option<Answer>| {
        let of_this = worst.iter().filter(|((control, _), _)| *control == name);
        of_this.filter(|(_, answer)| wanted.is_none_or(|wanted| wanted == **answer)).count()
    };
    let row =
        |(name, located): (&ControlName, &crate::definition::Located<crate::definition::Control>)| Row {
            control: name.clone(),
            title: located.value.name.clone(),
            owner: located.value.owner.clone(),
            enforcement: catalog.enforcement(&located.value, None).as_str(),
            rules: located.value.rules.len(),
            requires: located.value.requires.len(),
            services: number(name, None),
            met: number(name, Some(Answer::Met)),
            not_fully_met: number(name, Some(Answer::NotFullyMet)),
            not_met: number(name, Some(Answer::NotMet)),
        };
    catalog.controls.iter().map(row).collect()
}

/// The controls, for people.
pub fn list(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "there are no controls: a control is a file in controls/\n".to_owned();
    }
    let number = |number: usize, style| Cell(number.to_string(), if number == 0 { DIM } else { style });
    let cells = |row: &Row| {
        [
            Cell::from(row.control.to_string()),
            row.enforcement.into(),
            row.requires.to_string().into(),
            row.rules.to_string().into(),
            row.services.to_string().into(),
            number(row.met, GOOD),
            number(row.not_fully_met, WARN),
            number(row.not_met, BAD),
            inert(row.title.as_deref().unwrap_or_default()).into(),
        ]
    };
    let head =
        ["CONTROL", "ENFORCEMENT", "FEATURES", "RULES", "SERVICES", "MET", "NOT FULLY", "NOT MET", "NAME"];
    table(head, rows.iter().map(cells).collect())
}

/// The controls, as a table to hand on.
pub fn list_markdown(rows: &[Row], evaluated: &Evaluated) -> String {
    let mut text = format!("# Controls\n\n{}\n\n", of(evaluated));
    text.push_str("| Control | Name | Owner | Enforcement | Services | Met | Not fully met | Not met |\n");
    text.push_str("|---|---|---|---|--:|--:|--:|--:|\n");
    for row in rows {
        let cells = [
            row.control.to_string(),
            cell(row.title.as_deref().unwrap_or_default()),
            cell(row.owner.as_deref().unwrap_or_default()),
            row.enforcement.to_owned(),
            row.services.to_string(),
            row.met.to_string(),
            row.not_fully_met.to_string(),
            row.not_met.to_string(),
        ];
        text.push_str(&line(&cells));
    }
    text
}

/// The answers, for people: service by service.
pub fn text(answers: &[Compliance]) -> String {
    let mut text = String::new();
    let mut last = None;
    for one in answers {
        if last != Some(&one.service) {
            let gap = if last.is_some() { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}", painted(BOLD, one.service.as_str()));
            last = Some(&one.service);
        }
        text.push_str(&block(one));
    }
    if last.is_some() {
        text.push('\n');
    }
    text + &summary(answers)
}

fn block(one: &Compliance) -> String {
    let (mark, style) = match one.answer {
        Answer::Met => ("✓", GOOD),
        Answer::NotFullyMet | Answer::NotMet if one.is_error => ("✗", BAD),
        Answer::NotFullyMet | Answer::NotMet => ("✗", WARN),
    };
    let place = one.environment.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
    let mut text = format!(
        "  {} {} ({})   {}{place}   {}\n",
        painted(style, mark),
        one.control,
        one.enforcement.as_str(),
        painted(style, one.answer.as_str()),
        painted(DIM, &format!("asked for by {}", one.asked_by))
    );
    let more = one.lines.iter().cloned().chain(one.fixes.iter().map(|fix| format!("fix: {fix}")));
    more.for_each(|line| _ = writeln!(text, "      {}", inert(&line)));
    text
}

/// `3 of 4 answers are met, 1 is an error`.
fn summary(answers: &[Compliance]) -> String {
    if answers.is_empty() {
        return "no service must meet any control\n".to_owned();
    }
    let number = |wanted| answers.iter().filter(|one| one.answer == wanted).count();
    let errors = answers.iter().filter(|one| one.is_error).count();
    let told = format!(
        "{}: {} met, {} not fully met, {} not met",
        count(answers.len(), "answer"),
        number(Answer::Met),
        number(Answer::NotFullyMet),
        number(Answer::NotMet)
    );
    match errors {
        0 => format!("{told}\n"),
        errors => format!("{told}; {}\n", painted(BAD, &count(errors, "error"))),
    }
}

/// The answers, as a table to hand on.
pub fn markdown(answers: &[Compliance], evaluated: &Evaluated) -> String {
    let mut text = format!("# Compliance\n\n{}\n\n", of(evaluated));
    text.push_str("| Control | Enforcement | Service | Environment | Answer | Missing |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    let mut sorted: Vec<&Compliance> = answers.iter().collect();
    sorted.sort_by_key(|one| (&one.control, &one.service, &one.environment));
    for one in sorted {
        let environment = one.environment.as_ref().map_or("all", |name| name.as_str());
        let missing: Vec<String> = one.missing.iter().map(|name| cell(name)).collect();
        let cells = [
            one.control.to_string(),
            one.enforcement.as_str().to_owned(),
            one.service.to_string(),
            environment.to_owned(),
            one.answer.as_str().to_owned(),
            missing.join(", "),
        ];
        text.push_str(&line(&cells));
    }
    text
}

fn of(evaluated: &Evaluated) -> String {
    let what = match &evaluated.revision {
        Some(revision) => format!("Revision `{revision}`"),
        None => "Files that are in no commit".to_owned(),
    };
    format!("{what}, evaluated on {}.", evaluated.on)
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Text of people in a table: it must stay in its cell, and be no markup.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in inert(text).chars() {
        if matches!(c, '|' | '\\' | '<' | '>' | '[' | ']' | '`' | '*' | '_') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}
