//! A change on its way from one environment to the next: what the one runs otherwise becomes what the other runs.
//!
//! Carried is *what* runs, as an override says it: `compose`, `profiles`, `features` and `variables`. Never carried is
//! *where* and *how* it runs (`place`, `resources`, `state`, `health`, `on_file_change`) nor what it must meet
//! (`controls`): those belong to an environment. What only the receiving environment gives stays as it is.
//!
//! All of it is a new text of one `service.yaml`; who commits it is not decided here.

use std::sync::Arc;

use serde_yaml::Value;

use crate::catalog::{Catalog, ServiceEntry};
use crate::definition::{ComposeFiles, Override, Service};
use crate::name::EnvironmentName;
use crate::plan::Reason;
use crate::sensitive::{HIDDEN, is_sensitive};
use crate::yaml::{self, Step, closest, edit};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The service.
    pub service: &'a str,
    /// The environment that runs it already.
    pub from: &'a str,
    /// The environment that is to run it.
    pub to: &'a str,
    /// Only these variables, and nothing else. None: everything.
    pub variables: &'a [String],
}

/// A definition as it will be.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The file, from the root of the definitions.
    pub path: Arc<str>,
    /// Its whole new text.
    pub content: String,
    /// What is carried: the field, what the receiving environment had and what it gets, and where that was written.
    pub changes: Vec<Reason>,
}

/// Why nothing can be promoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// No such service.
    #[error("there is no service `{name}`")]
    NoService {
        /// As it was given.
        name: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// No such environment.
    #[error("there is no environment `{name}`")]
    NoEnvironment {
        /// As it was given.
        name: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// The service does not run there.
    #[error("service `{service}` does not run in environment `{environment}`")]
    NotThere {
        /// The service.
        service: String,
        /// The environment.
        environment: String,
        /// Its definition.
        path: Arc<str>,
    },
    /// Both are the same.
    #[error("`{environment}` cannot be promoted to itself")]
    Same {
        /// The environment.
        environment: String,
    },
    /// One of them is not on the way of a change.
    #[error("environment `{environment}` has no order, so nothing is promoted from it or to it")]
    NoOrder {
        /// The environment.
        environment: String,
    },
    /// Another comes after it, or none does.
    #[error("`{to}` does not come next after `{from}`{}", next_in_words(next))]
    NotNext {
        /// From where.
        from: String,
        /// To where.
        to: String,
        /// What comes next.
        next: Option<String>,
    },
    /// The environment does not give the variable.
    #[error("environment `{environment}` gives service `{service}` no variable `{name}` of its own")]
    NoVariable {
        /// The service.
        service: String,
        /// The environment.
        environment: String,
        /// The variable.
        name: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// The file is written in a way that only a person should change.
    #[error("{path} cannot be changed")]
    Edit {
        /// The file.
        path: Arc<str>,
        /// What is in the way.
        source: edit::EditError,
    },
}

fn next_in_words(next: &Option<String>) -> String {
    next.as_ref()
        .map_or(": nothing does, by `order`".to_owned(), |next| format!(": `{next}` does, by `order`"))
}

impl PromoteError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoService { meant: Some(meant), .. }
            | Self::NoEnvironment { meant: Some(meant), .. }
            | Self::NoVariable { meant: Some(meant), .. } => format!("did you mean `{meant}`?"),
            Self::NoService { .. } => "name one that has a folder in services/".to_owned(),
            Self::NoEnvironment { name, .. } => format!("define `[environments.{name}]` in gitops.toml"),
            Self::NotThere { environment, path, .. } => {
                format!("write `{environment}:` under `environments:` in {path}")
            }
            Self::Same { .. } => "name two environments".to_owned(),
            Self::NoOrder { environment } => {
                format!("write `order = …` under `[environments.{environment}]` in gitops.toml")
            }
            Self::NotNext { next: Some(next), .. } => format!("promote to `{next}` first"),
            Self::NotNext { .. } => {
                "a change goes from a lower order to the next: `order` in gitops.toml".to_owned()
            }
            Self::NoVariable { environment, .. } => {
                format!("write it under `environments.{environment}.variables`, or leave out `--variable`")
            }
            Self::Edit { .. } => "make the change by hand, and commit it as any other".to_owned(),
        }
    }
}

/// The definition as it will be, if anything differs.
///
/// # Errors
///
/// Where a name leads nowhere, where the environments do not follow each other, or the file cannot be changed alone.
pub fn promotion(catalog: &Catalog, request: &Request<'_>) -> Result<Option<Promotion>, PromoteError> {
    let entry = service(catalog, request.service)?;
    let (from, to) = (environment(catalog, request.from)?, environment(catalog, request.to)?);
    let (given, _) = (overridden(entry, from)?, overridden(entry, to)?);
    check_order(catalog, entry, from, to)?;
    let deployment = entry.deployments.iter().find(|one| one.environment.as_ref() == Some(to));
    let there = deployment.map_or(entry.service(), |deployment| &deployment.service);
    let carried = carried(request, given, there)?;
    let mut edited = Edited::new(catalog, entry, from, to);
    for one in &carried {
        edited.carry(catalog, entry, one)?;
    }
    let Edited { content, changes, .. } = edited;
    let path = entry.path().clone();
    Ok(if changes.is_empty() { None } else { Some(Promotion { path, content, changes }) })
}

fn service<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a ServiceEntry, PromoteError> {
    let known = catalog.services.keys().map(|name| name.as_str());
    let error =
        || PromoteError::NoService { name: name.to_owned(), meant: closest(name, known).map(str::to_owned) };
    catalog.services.get(name).map(|entry| &**entry).ok_or_else(error)
}

fn environment<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a EnvironmentName, PromoteError> {
    let known = catalog.settings.environments.keys().map(|name| name.as_str());
    let meant = || closest(name, known).map(str::to_owned);
    let found = catalog.settings.environments.get_key_value(name);
    found
        .map(|(name, _)| name)
        .ok_or_else(|| PromoteError::NoEnvironment { name: name.to_owned(), meant: meant() })
}

/// What the service gives otherwise there.
fn overridden<'a>(
    entry: &'a ServiceEntry,
    environment: &EnvironmentName,
) -> Result<Option<&'a Override>, PromoteError> {
    let all = entry.service().environments.as_ref();
    let error = || PromoteError::NotThere {
        service: entry.service().service.to_string(),
        environment: environment.to_string(),
        path: entry.path().clone(),
    };
    all.and_then(|all| all.get(environment)).map(Option::as_ref).ok_or_else(error)
}

/// A change goes from one environment of the service to the one with the next greater order. Where neither has an
/// order, nothing says which comes first.
fn check_order(
    catalog: &Catalog,
    entry: &ServiceEntry,
    from: &EnvironmentName,
    to: &EnvironmentName,
) -> Result<(), PromoteError> {
    if from == to {
        return Err(PromoteError::Same { environment: from.to_string() });
    }
    let order = |name: &EnvironmentName| catalog.settings.environments.get(name)?.order;
    let without = |name: &EnvironmentName| Err(PromoteError::NoOrder { environment: name.to_string() });
    let first = match (order(from), order(to)) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return without(from),
        (Some(_), None) => return without(to),
        (Some(first), Some(_)) => first,
    };
    let mine = entry.service().environments.iter().flat_map(|all| all.keys());
    let later = mine.filter_map(|name| Some((order(name)?, name))).filter(|(order, _)| *order > first);
    let next = later.min().map(|(_, name)| name);
    if next == Some(to) {
        return Ok(());
    }
    let next = next.map(ToString::to_string);
    Err(PromoteError::NotNext { from: from.to_string(), to: to.to_string(), next })
}

/// One field of an override, on its way.
struct Carried<'a> {
    path: Vec<&'a str>,
    old: Option<String>,
    new: String,
}

/// What the one environment gives and the other does not have.
fn carried<'a>(
    request: &Request<'_>,
    given: Option<&'a Override>,
    there: &Service,
) -> Result<Vec<Carried<'a>>, PromoteError> {
    let variable = |(name, value): (&'a Arc<str>, &yaml::Scalar)| Carried {
        path: vec!["variables", name],
        old: there.variables.get(name).map(|value| value.0.to_string()),
        new: value.0.to_string(),
    };
    let own = given.map(|given| &given.variables);
    let known = || own.into_iter().flat_map(|own| own.keys()).map(|name| &**name);
    if let Some(name) = request.variables.iter().find(|name| !known().any(|other| other == **name)) {
        return Err(PromoteError::NoVariable {
            service: request.service.to_owned(),
            environment: request.from.to_owned(),
            name: name.clone(),
            meant: closest(name, known()).map(str::to_owned),
        });
    }
    let is_asked =
        |name: &str| request.variables.is_empty() || request.variables.iter().any(|one| one == name);
    let variables = own.into_iter().flatten().filter(|(name, _)| is_asked(name)).map(variable);
    let fields =
        given.filter(|_| request.variables.is_empty()).into_iter().flat_map(|given| fields(given, there));
    Ok(fields.chain(variables).filter(|one| one.old.as_ref() != Some(&one.new)).collect())
}

fn fields<'a>(given: &Override, there: &Service) -> impl Iterator<Item = Carried<'a>> + use<'a> {
    let files = |files: &Option<ComposeFiles>| files.as_ref().map(|files| files.paths().join(", "));
    let texts = |texts: &Option<Vec<Arc<str>>>| texts.as_ref().map(|texts| texts.join(", "));
    let names = |names: &Option<Vec<_>>| {
        let text = |name: &crate::name::FeatureName| name.to_string();
        names.as_ref().map(|names| names.iter().map(text).collect::<Vec<_>>().join(", "))
    };
    let all = [
        ("compose", files(&there.compose), files(&given.compose)),
        ("profiles", texts(&there.profiles), texts(&given.profiles)),
        ("features", names(&there.features), names(&given.features)),
    ];
    all.into_iter().filter_map(|(field, old, new)| Some(Carried { path: vec![field], old, new: new? }))
}

/// The file as it becomes.
struct Edited<'a> {
    from: &'a EnvironmentName,
    to: &'a EnvironmentName,
    content: String,
    /// What the definition says, as it is written there.
    value: Value,
    changes: Vec<Reason>,
}

impl<'a> Edited<'a> {
    fn new(
        catalog: &Catalog,
        entry: &ServiceEntry,
        from: &'a EnvironmentName,
        to: &'a EnvironmentName,
    ) -> Self {
        let content =
            catalog.tree.get(entry.path()).and_then(|entry| entry.content.as_deref()).unwrap_or_default();
        let content = String::from_utf8_lossy(content).into_owned();
        let documents = yaml::Text::new(entry.path(), content.as_bytes()).and_then(|text| text.documents());
        let document =
            documents.unwrap_or_default().into_iter().find(|one| one.number == entry.definition.document);
        Self {
            from,
            to,
            content,
            value: document.map(|one| one.value).unwrap_or_default(),
            changes: Vec::new(),
        }
    }

    fn carry(
        &mut self,
        catalog: &Catalog,
        entry: &ServiceEntry,
        one: &Carried<'_>,
    ) -> Result<(), PromoteError> {
        let way = |environment: &'a EnvironmentName| -> Vec<&str> {
            ["environments", environment.as_str()].into_iter().chain(one.path.iter().copied()).collect()
        };
        let (source, target) = (way(self.from), way(self.to));
        let written = source.iter().try_fold(&self.value, |value, key| value.get(*key)).cloned();
        let failed = |source| PromoteError::Edit { path: entry.path().clone(), source };
        let text = yaml::Text::new(entry.path(), self.content.as_bytes())
            .map_err(|_| failed(edit::EditError { path: target.join(".") }))?;
        // An editor on Windows may have put a mark in front, which is no part of the text.
        let mark = self.content.len() - text.as_str().len();
        let edited = edit::set(&text, entry.definition.document, &target, &written.unwrap_or_default())
            .map_err(failed)?;
        self.content.replace_range(mark.., &edited);
        let steps: Vec<Step<'_>> = source.iter().map(|key| Step::Key(key)).collect();
        let place = catalog.place(&entry.definition, &steps);
        let field = one.path.join(".");
        let shown = |value: &str| if is_sensitive(&field, value) { HIDDEN.into() } else { value.into() };
        self.changes.push(Reason {
            old: one.old.as_deref().map(shown),
            new: Some(shown(&one.new)),
            source: Some(format!("{}:{}", place.path, place.line).into()),
            field: field.as_str().into(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
