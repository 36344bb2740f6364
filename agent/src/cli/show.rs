//! `status` and `plan`: what lies in the state folder, for people and for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use gitops_core::plan::{NodePlan, RunState, Step};
use gitops_core::render::settings::{self, Setting};
use gitops_core::status::{ContainerState, NodeStatus, StepOutcome, StepResult};
use jiff::Timestamp;

use super::Error;
use crate::agent::Snapshot;
use crate::clock;
use crate::disk::{self, DiskError};
use crate::ledger::Ledger;

/// Prints how the node stands.
pub(super) fn status(folder: &Path, json: bool) -> Result<(), Error> {
    let path = folder.join("status.json");
    let bytes = std::fs::read(&path)
        .map_err(DiskError::io("read", &path))
        .map_err(|error| no_state(error, folder))?;
    let snapshot: Snapshot = serde_json::from_slice(&bytes)?;
    let runs = disk::is_locked(folder);
    if json {
        return print(&serde_json::to_string_pretty(&serde_json::json!({
            "running": runs,
            "changed_at": snapshot.changed_at,
            "status": snapshot.status,
        }))?);
    }
    print(&status_text(&snapshot, runs, clock::now()))
}

/// Prints the accepted plan.
pub(super) fn plan(folder: &Path, json: bool) -> Result<(), Error> {
    let Some(plan) = Ledger::at(folder).read()? else {
        return Err(format!("no plan was accepted yet in {}", folder.display()).into());
    };
    print(&if json { serde_json::to_string_pretty(&*plan)? } else { plan_text(&plan) })
}

/// Prints settings.
pub(super) fn settings(settings: &[Setting], json: bool) -> Result<(), Error> {
    print(&match json {
        true => serde_json::to_string_pretty(&settings::document(settings))?,
        false => settings::text(settings),
    })
}

fn no_state(error: DiskError, folder: &Path) -> Error {
    match error {
        DiskError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            format!("no agent has worked in {} yet: is it the right --state-dir?", folder.display()).into()
        }
        other => other.into(),
    }
}

fn print(text: &str) -> Result<(), Error> {
    match writeln!(anstream::stdout(), "{}", text.trim_end()) {
        // The reader has seen enough: `gitops-agent status | head -1` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn status_text(snapshot: &Snapshot, runs: bool, now: Timestamp) -> String {
    let status = &snapshot.status;
    let mut text = format!(
        "node {}, agent {} {}, last change {} s ago\n",
        status.node,
        status.agent.version,
        if runs { "is running" } else { "is not running" },
        now.duration_since(snapshot.changed_at).as_secs().max(0),
    );
    match &status.host.problem {
        Some(problem) => line(&mut text, format_args!("docker: {problem}")),
        None => {
            line(&mut text, format_args!("docker {}, compose {}", status.host.docker, status.host.compose))
        }
    }
    match &status.accepted {
        Some(plan) => line(&mut text, format_args!("plan {} ({})", plan.generation, plan.digest.short())),
        None => line(&mut text, format_args!("no plan was accepted yet")),
    }
    if let Some(refused) = &status.refused {
        line(
            &mut text,
            format_args!("refused plan {}: {} ({})", refused.plan.generation, refused.message, refused.rule),
        );
    }
    text.push('\n');
    text + &table(rows(status))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

fn rows(status: &NodeStatus) -> Vec<[String; 4]> {
    let mut rows = vec![["SERVICE", "STATE", "RUNNING", "MESSAGE"].map(str::to_owned)];
    for (service, result) in &status.steps {
        let containers = status.instances.get(service).map_or(&[][..], Vec::as_slice);
        let running =
            containers.iter().filter(|container| container.state == ContainerState::Running).count();
        let message = result.message.clone().unwrap_or_default();
        rows.push([
            service.to_string(),
            state(result).to_owned(),
            format!("{running}/{}", containers.len()),
            message.replace('\n', "\n    "),
        ]);
    }
    for service in status.instances.keys().filter(|service| !status.steps.contains_key(*service)) {
        rows.push([service.to_string(), "not in plan".to_owned(), String::new(), "never touched".to_owned()]);
    }
    rows
}

fn state(result: &StepResult) -> &'static str {
    match result.outcome {
        StepOutcome::Satisfied => "satisfied",
        StepOutcome::Waiting => "waiting",
        StepOutcome::Applying => "applying",
        StepOutcome::Failed => "failed",
    }
}

fn plan_text(plan: &NodePlan) -> String {
    let mut text = format!(
        "plan {} of node {}, revision {}, digest {}\n\n",
        plan.generation,
        plan.node,
        plan.revision.short(),
        plan.digest
    );
    let mut rows = vec![["SERVICE", "STEP", "AFTER", "BECAUSE"].map(str::to_owned)];
    for step in &plan.steps {
        let (what, after) = match step {
            Step::Ensure(ensure) if ensure.state == RunState::Stopped => ("stopped", &ensure.after),
            Step::Ensure(ensure) => ("running", &ensure.after),
            Step::Remove(remove) => ("removed", &remove.after),
        };
        let after: Vec<_> = after.iter().map(ToString::to_string).collect();
        let because = step.because().first().map(|reason| reason.field.to_string()).unwrap_or_default();
        rows.push([step.service().to_string(), what.to_owned(), after.join(" "), because]);
    }
    text.push_str(&table(rows));
    text
}

/// Columns as wide as their widest cell, the last one free.
fn table(rows: Vec<[String; 4]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [a, b, c, last] in &rows {
        let row =
            format!("{a:w0$}  {b:w1$}  {c:w2$}  {last}", w0 = widths[0], w1 = widths[1], w2 = widths[2]);
        line(&mut text, format_args!("{}", row.trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ensure, plan};

    #[test]
    fn a_plan_is_shown_in_its_order() {
        let plan = plan(7, vec![ensure("db", "1").step(), ensure("web", "1").after("db").step()]);
        let text = plan_text(&plan);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines, ["SERVICE  STEP     AFTER  BECAUSE", "db       running", "web      running  db"]);
    }

    #[test]
    fn a_folder_where_no_agent_worked_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let error = status(temp.path(), false).unwrap_err().to_string();
        assert!(error.contains("is it the right --state-dir?"), "{error}");
    }
}
