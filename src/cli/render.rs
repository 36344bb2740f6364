//! `gitops render`

use std::io::stderr;
use std::path::PathBuf;

use gitops_core::compose;
use gitops_core::name::{NodeName, ServiceName};
use gitops_core::reconcile::Definitions;
use gitops_core::yaml::closest;

use super::error::{CliError, Exit};
use super::load::Reader;
use super::output::{form, show};

/// Print the exact Compose file that a node gets for a service
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops render web --node edge-1")]
pub(super) struct Args {
    /// The service
    service: ServiceName,
    /// The node; needed only where the service runs on several
    #[arg(long)]
    node: Option<NodeName>,
    /// A commit, branch or tag instead of the files as they are
    #[arg(long)]
    rev: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let definitions =
        Reader::default().definitions(&args.path, args.rev.as_deref())?.map_err(|diagnostics| {
            anstream::eprint!("{}", gitops_core::render::diagnostics::text(&diagnostics, form(&stderr())));
            CliError::new("the definitions have mistakes, so nothing is rendered")
        })?;
    let node = node(args, definitions)?;
    let instance = definitions.desired.instance(&node, &args.service);
    let instance =
        instance.ok_or_else(|| CliError::new(format!("`{}` does not run on `{node}`", args.service)))?;
    let labels = compose::labels(&node, &instance.ensure);
    show(&compose::labelled(&instance.ensure.model, &labels))
}

fn node(args: &Args, definitions: &Definitions) -> Result<NodeName, CliError> {
    let services = &definitions.desired.services;
    let Some(service) = services.get(&args.service) else {
        let similar = closest(args.service.as_str(), services.keys().map(ServiceName::as_str));
        let error = CliError::new(format!("there is no service `{}`", args.service));
        return Err(match similar {
            Some(similar) => error.hint(format!("did you mean `{similar}`?")),
            None => error,
        });
    };
    let nodes: Vec<&NodeName> = service.instances.keys().collect();
    match (&args.node, nodes.as_slice()) {
        (Some(node), _) => Ok(node.clone()),
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(CliError::new(format!("`{}` runs on no node", args.service))),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            let error = CliError::new(format!("`{}` runs on several nodes", args.service));
            Err(error.hint(format!("choose one with --node: {}", names.join(", "))))
        }
    }
}
