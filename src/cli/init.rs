//! `gitops init`

use std::fs;
use std::path::{Path, PathBuf};

use gitops_core::definition::schema;
use gitops_core::render::json;

use super::error::{CliError, Exit};
use super::output::print;

/// Write a small working definitions repository
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops init estate\n  $ gitops validate estate")]
pub(super) struct Args {
    /// The folder; it is created, or must have no definitions in it
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// One node and one service: the least that deploys something.
const FILES: [(&str, &str); 4] = [
    ("gitops.toml", include_str!("init/gitops.toml")),
    ("nodes/node-1.yaml", include_str!("init/node-1.yaml")),
    ("services/hello/service.yaml", include_str!("init/service.yaml")),
    ("services/hello/compose.yaml", include_str!("init/compose.yaml")),
];

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let shown = args.dir.display();
    let taken = FILES.iter().map(|(path, _)| args.dir.join(path)).find(|path| path.exists());
    if let Some(path) = taken {
        let error = CliError::new(format!("{} is there already", path.display()));
        return Err(error.hint("choose another folder: nothing was written"));
    }
    for (path, content) in FILES {
        write(&args.dir.join(path), content)?;
    }
    for form in schema::FORMS {
        let schema = schema::of(form).expect("every form has a schema");
        write(&args.dir.join(format!("schemas/{form}.json")), &json::document(&schema))?;
    }
    print(&format!(
        "wrote a definitions repository with one node and one service into {shown}\n\
         next: `gitops validate {shown}`, then commit it and let `gitops serve` watch it\n"
    ))?;
    Ok(Exit::Done)
}

/// Creates a file that is not there yet, with the folders above it.
fn write(path: &Path, content: &str) -> Result<(), CliError> {
    let failed = |error| CliError::because(format!("cannot write {}", path.display()), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, content.as_bytes()).map_err(failed)
}
