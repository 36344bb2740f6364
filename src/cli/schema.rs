//! `gitops schema`

use gitops_core::definition::schema;
use gitops_core::diff::Diff;
use gitops_core::render::json;

use super::error::{CliError, Exit};
use super::output::show;

/// Print the JSON Schema of a form, for editors, or of what is printed, for programs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops schema service > schemas/service.json")]
pub(super) struct Args {
    /// The form
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(schema::FORMS.into_iter().chain([DIFF])))]
    form: String,
}

/// What `gitops diff -o json` prints, for programs that read it.
const DIFF: &str = "diff";

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let schema = match args.form.as_str() {
        DIFF => schemars::schema_for!(Diff),
        form => schema::of(form).expect("clap lets only known forms through"),
    };
    show(&json::document(&schema))
}
