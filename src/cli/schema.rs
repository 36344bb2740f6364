//! `gitops schema`

use super::error::{CliError, Exit};
use super::output::show;
use crate::definition::schema;
use crate::render::json;

/// Print the JSON Schema of a form, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops schema service > schemas/service.json")]
pub(super) struct Args {
    /// The form
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(schema::FORMS))]
    form: String,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let schema = schema::of(&args.form).expect("clap lets only known forms through");
    show(&json::document(&schema))
}
