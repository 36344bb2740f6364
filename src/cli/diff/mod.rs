//! `gitops diff`

mod live;
mod release;

use std::io::stderr;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::{self, Diff, Gate, Scope, Selection};
use gitops_core::name::{EnvironmentName, NodeName, ServiceName};
use gitops_core::reconcile::Definitions;
use gitops_core::render::{self, json};

use super::client::block_on;
use super::error::{CliError, Exit};
use super::load::{Reader, SETTINGS};
use super::output::{form, print, width};
use super::pager::{self, Pager};
use super::show::Number;
use crate::clock;
use crate::git::{Range, Repository, Side};

/// Show what a change does to each node and service, before it is made
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops diff                 the files as they are, against where they parted from main\n  \
                  $ gitops diff HEAD            what is not committed yet\n  \
                  $ gitops diff main..feature   two revisions\n  \
                  $ gitops diff main...feature  what the second has that the first has not\n  \
                  $ gitops diff --node edge-1 --service web\n  \
                  $ gitops diff HEAD --live     what deploying HEAD would do to the fleet as it is\n  \
                  $ gitops diff --live          what nodes report, against what they should be\n  \
                  $ gitops diff -o markdown     for a pull request\n  \
                  $ gitops diff --release 12    what a past release did\n  \
                  $ gitops diff --exit-code     ends with 2 if something would change\n  \
                  $ gitops diff --fail-on remove,capability"
)]
pub(super) struct Args {
    /// What to compare: a revision with the files as they are, or two revisions as `BASE..HEAD` or `BASE...HEAD`
    range: Option<String>,
    /// The revision to compare, instead of the files as they are
    #[arg(requires = "range")]
    head: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// What a past release did, by its number or as `latest`, from the daemon
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["live", "range", "path", "service", "node", "environment"])]
    release: Option<Number>,
    #[command(flatten)]
    narrow: Narrow,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    verdict: Verdict,
    #[command(flatten)]
    pager: Pager,
    // Last, because its heading would stand over what comes after it.
    #[command(flatten)]
    live: live::Live,
}

/// What of the fleet is looked at
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Narrow {
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    /// Only the nodes of this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,
}

/// What a difference means for the exit code
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Verdict {
    /// End with 2 if something would change
    #[arg(long)]
    exit_code: bool,
    /// End with 1 if it removes or recreates something, uses a new capability, costs more, or does not meet a control any
    /// more
    #[arg(long, value_parser = gate(), value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<Gate>,
}

/// How a diff is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a pull request.
    Markdown,
}

/// Takes a [`Gate`] by its name.
pub(super) fn gate() -> impl TypedValueParser<Value = Gate> {
    let named = |name: String| Gate::ALL.into_iter().find(|gate| gate.as_str() == name);
    PossibleValuesParser::new(Gate::ALL.map(Gate::as_str))
        .map(move |name| named(name).expect("it was offered"))
}

impl Args {
    fn range(&self) -> Range {
        match (&self.range, &self.head) {
            (Some(base), Some(head)) => Range::Between(base.clone(), head.clone()),
            (range, _) => Range::parse(range.as_deref()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    if let Some(number) = args.release {
        return release::run(args, number);
    }
    if args.live.is_wanted() {
        return block_on(live::run(args));
    }
    let here = args.path.display();
    let dir = args.path.canonicalize();
    let dir = dir.map_err(|error| CliError::because(format!("cannot open {here}"), error))?;
    let failed = |error| CliError::because(format!("cannot tell what to compare in {here}"), error);
    is_root(&dir)?;
    let repository = Repository::discover(&dir).map_err(failed)?;
    let sides = repository.sides(&args.range()).map_err(failed)?;
    let mut reader = Reader::default();
    let old = valid(reader.past_side(&args.path, &sides.base)?, &sides.base)?;
    let new = valid(reader.side(&args.path, &sides.head)?, &sides.head)?;
    args.narrow.check(old, new)?;
    let selection = args.narrow.selection();
    let scope = Scope { selection: &selection, ..Scope::at(clock::now()) };
    let (base, head) = (old.side(sides.base.to_string()), new.side(sides.head.to_string()));
    let diff = diff::compare(&base, &head, &scope);
    show(&diff, args.output, &args.pager)?;
    args.verdict.of(&diff)
}

/// Fails in a folder within the definitions: it would look as if there were none.
fn is_root(dir: &Path) -> Result<(), CliError> {
    let has_settings = |dir: &&Path| dir.join(SETTINGS).is_file();
    match dir.ancestors().find(has_settings) {
        Some(root) if root != dir => {
            let up = dir.strip_prefix(root).map_or(0, |below| below.components().count());
            let message =
                format!("there is no {SETTINGS} here; the definitions are those of {}", root.display());
            Err(CliError::new(message).hint(format!("`gitops diff --path {}`", vec![".."; up].join("/"))))
        }
        _ => Ok(()),
    }
}

/// Prints a diff in one of its forms.
pub(super) fn show(diff: &Diff, format: Format, pager: &Pager) -> Result<(), CliError> {
    match format {
        Format::Json => print(&json::document(diff)),
        Format::Markdown => print(&render::diff::markdown(diff)),
        Format::Text => pager::print(&render::diff::text(diff, width()), pager),
    }
}

impl Narrow {
    /// What it selects.
    pub(super) fn selection(&self) -> Selection<'_> {
        let Self { service, node, environment } = self;
        Selection { service: service.as_ref(), node: node.as_ref(), environment: environment.as_ref() }
    }

    /// A name that neither side knows is a mistake: nothing would be shown, as if nothing changed.
    fn check(&self, old: &Definitions, new: &Definitions) -> Result<(), CliError> {
        let sides = [&old.catalog, &new.catalog];
        if let Some(name) =
            self.service.as_ref().filter(|name| !sides.iter().any(|side| side.services.contains_key(*name)))
        {
            let known = sides.iter().flat_map(|side| side.services.keys().map(ServiceName::as_str));
            return Err(CliError::unknown("service", name.as_str(), known, "`ls services` lists them"));
        }
        if let Some(name) =
            self.node.as_ref().filter(|name| !sides.iter().any(|side| side.nodes.contains_key(*name)))
        {
            let known = sides.iter().flat_map(|side| side.nodes.keys().map(NodeName::as_str));
            return Err(CliError::unknown("node", name.as_str(), known, "the files in `nodes` define them"));
        }
        let has =
            |name: &&EnvironmentName| sides.iter().any(|side| side.settings.environments.contains_key(*name));
        if let Some(name) = self.environment.as_ref().filter(|name| !has(name)) {
            let known =
                sides.iter().flat_map(|side| side.settings.environments.keys().map(EnvironmentName::as_str));
            return Err(CliError::unknown("environment", name.as_str(), known, "gitops.toml defines them"));
        }
        Ok(())
    }
}

impl Verdict {
    /// How the command ends, once the diff is printed.
    pub(super) fn of(&self, diff: &Diff) -> Result<Exit, CliError> {
        stopped(diff, &self.fail_on)?;
        Ok(if self.exit_code && !diff.is_empty() { Exit::Changes } else { Exit::Done })
    }
}

/// Fails where the change does one of what is refused.
pub(super) fn stopped(diff: &Diff, gates: &[Gate]) -> Result<(), CliError> {
    let stopped: Vec<&str> = diff.stopped_by(gates).into_iter().map(Gate::as_str).collect();
    if stopped.is_empty() {
        return Ok(());
    }
    let message = format!("the change does not pass `--fail-on {}`", stopped.join(","));
    Err(CliError::new(message).hint("the lines with `!` and the summary above say what it is about"))
}

/// One side, valid. Its mistakes are printed where it is not.
fn valid(
    definitions: Result<&'static Definitions, Vec<Diagnostic>>,
    side: &Side,
) -> Result<&'static Definitions, CliError> {
    definitions.map_err(|diagnostics| {
        anstream::eprint!("{}", render::diagnostics::text(&diagnostics, form(&stderr())));
        CliError::new(format!("{side} has mistakes, so it cannot be compared")).hint(match side {
            Side::WorkTree => "mend the mistakes above; `gitops validate` shows them again",
            _ => {
                "they are in that revision, whatever your files say; compare with one that has none, such as the deployed \
                 one that `gitops status` names: `gitops diff REVISION`"
            }
        })
    })
}
