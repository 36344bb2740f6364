//! Hooks: Compose services that run once around a change of the instance, and are no part of what runs.
//!
//! They stay in the model, so that they are read, rendered and checked like any other, under a profile of their own: what
//! `docker compose up` starts has no profile, and `docker compose run` finds a service whatever its profiles are.
//!
//! **Invariant:** a hook makes no difference to what runs. It is not among the containers of the instance, and neither it
//! nor a file that only hooks read is covered by the instance digest: a changed hook restarts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::emit::canonical_json;
use super::files::Travelling;
use super::mistakes::Mistakes;
use super::resolve::Pass;
use crate::diagnostic::Diagnostic;
use crate::name::Digest;
use crate::plan::{ContainerSpec, Model};

/// The profile that hooks have in the rendered model, and nothing else.
pub const HOOKS_PROFILE: &str = "gitops-hooks";

/// What counts for nothing where a service is run once.
const NOT_OF_HOOKS: [&str; 3] = ["ports", "restart", "scale"];
const NOT_OF_DEPLOY: [&str; 2] = ["replicas", "restart_policy"];

/// What there is beside hooks, where there are hooks.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) model: Model,
    /// The files that only hooks read.
    pub(super) files: BTreeSet<Arc<str>>,
}

impl Pass<'_, '_, '_> {
    /// Makes hooks of the services that are: they get the profile, and lose what counts for nothing.
    pub(super) fn hooks(&mut self, services: &mut Mapping, warnings: &mut Mistakes) {
        let hooks = &self.source.hooks;
        if hooks.is_empty() {
            return;
        }
        self.alone(services);
        for (name, service) in services.iter_mut() {
            let (Some(name), Value::Mapping(service)) = (name.as_str(), service) else { continue };
            if !hooks.contains(name) {
                continue;
            }
            for field in NOT_OF_HOOKS {
                let idle = service.shift_remove(field).is_some_and(|value| !is_once(&value));
                self.idle(idle, &["services", name, field], warnings);
            }
            let deploy = service.get_mut("deploy").and_then(Value::as_mapping_mut);
            let mut deploy = deploy.into_iter();
            if let Some(deploy) = deploy.next() {
                for field in NOT_OF_DEPLOY {
                    let idle = deploy.shift_remove(field).is_some_and(|value| !is_once(&value));
                    self.idle(idle, &["services", name, "deploy", field], warnings);
                }
            }
            service.insert("profiles".into(), Value::Sequence(vec![HOOKS_PROFILE.into()]));
        }
    }

    fn idle(&self, is_idle: bool, path: &[&str], warnings: &mut Mistakes) {
        if is_idle {
            let (name, field) = (path[1], path[path.len() - 1]);
            let message = format!("`{field}` does nothing: `{name}` is a hook, which runs once");
            let diagnostic = Diagnostic::warning("hook-runs-once", self.at(path), message);
            warnings.add(|| {
                diagnostic.help(format!("remove `{field}`, or take `{name}` out of `hooks` of the service"))
            });
        }
    }

    /// A hook runs by itself: nothing is started for it, and nothing waits for it.
    fn alone(&mut self, services: &Mapping) {
        let is_hook = |name: &str| self.source.hooks.contains(name);
        for (name, service) in services {
            let name = name.as_str().unwrap_or_default();
            let targets = service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten();
            for target in targets.filter_map(|(target, _)| target.as_str()) {
                let (message, help) = match (is_hook(name), is_hook(target)) {
                    (true, _) => (
                        format!("the hook `{name}` depends on `{target}`, and nothing is started for a hook"),
                        "take `depends_on` out: a hook in `before` runs beside what ran before the change, others beside what runs after it",
                    ),
                    (false, true) => (
                        format!("`{name}` depends on `{target}`, which is a hook and does not stay"),
                        "take `depends_on` out: hooks in `before` have ended before anything is changed",
                    ),
                    (false, false) => continue,
                };
                self.say(&["services", name, "depends_on", target], "hook-dependency", message, help);
            }
        }
    }
}

/// Whether a field says what is so for a hook anyway: one container, that stays as it ended.
fn is_once(value: &Value) -> bool {
    let condition = value.get("condition").and_then(Value::as_str);
    value.as_u64() == Some(1) || value.as_str() == Some("no") || condition == Some("none")
}

/// What there is beside these hooks; none where there is no hook.
pub(super) fn beside(hooks: &BTreeSet<Arc<str>>, model: &Mapping, travelling: &Travelling) -> Option<Beside> {
    let mut model = model.clone();
    let services = model.get_mut("services")?.as_mapping_mut()?;
    let before = services.len();
    services.retain(|name, _| name.as_str().is_none_or(|name| !hooks.contains(name)));
    if services.len() == before {
        return None;
    }
    let read = |is_hook: bool| {
        let of = travelling.read_by.iter().filter(move |(name, _)| hooks.contains(*name) == is_hook);
        of.flat_map(|(_, files)| files.iter().cloned()).collect::<BTreeSet<_>>()
    };
    let files = &read(true) - &read(false);
    Some(Beside { model: Model::from_canonical(canonical_json(&Value::Mapping(model))), files })
}

/// What hooks are made from, in one number: none where there are none.
pub(super) fn digest(hooks: &BTreeMap<Arc<str>, ContainerSpec>) -> Option<Digest> {
    let content = || serde_json::to_vec(hooks).expect("the keys are strings");
    (!hooks.is_empty()).then(|| Digest::of(content()))
}
