//! `gitops validate`

use std::io::stderr;
use std::path::PathBuf;

use gitops_core::diagnostic::Diagnostic;
use gitops_core::render::{count, diagnostics, json};
use serde::Serialize;

use super::error::{CliError, Exit};
use super::load::Reader;
use super::output::{Format, form, print};

/// Check the definitions in a folder or at a revision
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops validate\n  $ gitops validate estate --rev main -o json")]
pub(super) struct Args {
    /// The folder with gitops.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A commit, branch or tag instead of the files as they are
    #[arg(long)]
    rev: Option<String>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The result as JSON.
#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    /// What there is, known only without mistakes.
    #[serde(flatten)]
    size: Option<Size>,
    diagnostics: &'a [Diagnostic],
}

#[derive(Clone, Copy, Serialize)]
struct Size {
    services: usize,
    instances: usize,
    nodes: usize,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let loaded = Reader::default().definitions(&args.dir, args.rev.as_deref())?;
    let (diagnostics, size) = match &loaded {
        Ok(definitions) => {
            let desired = &definitions.desired;
            let (services, nodes) = (desired.services.len(), desired.nodes.len());
            (&definitions.findings, Some(Size { services, instances: desired.keys().count(), nodes }))
        }
        Err(diagnostics) => (diagnostics, None),
    };
    match args.output {
        Format::Json => {
            let report = Report { valid: loaded.is_ok(), size, diagnostics };
            print(&json::document(&report))?;
        }
        Format::Text => {
            anstream::eprint!("{}", diagnostics::text(diagnostics, form(&stderr())));
            let summary = diagnostics::summary(diagnostics);
            match size {
                Some(Size { services, instances, nodes }) => print(&format!(
                    "{summary} in {}, {} on {}\n",
                    count(services, "service"),
                    count(instances, "instance"),
                    count(nodes, "node")
                ))?,
                None => anstream::eprintln!("{summary}"),
            }
        }
    }
    Ok(if loaded.is_ok() { Exit::Done } else { Exit::Failed })
}
