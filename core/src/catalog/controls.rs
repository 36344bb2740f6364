//! Which controls a service must meet, and their rules, read.
//!
//! A service names controls; the organisation asks for them by the labels of services; and a control asks for others. The
//! rules are read once with the definitions that hold for all services, not for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalog, Deployment};
use crate::condition::{Condition, Mistake};
use crate::definition::{Control, Enforcement, Located};
use crate::name::{ControlName, EnvironmentName};

/// What a rule may look at, in the order in which [`Condition::holds`] takes them.
pub const VARIABLES: [&str; 6] = ["service", "compose", "node", "instance", "before", "after"];

/// The rules of every control, read, in their order.
pub(super) type Rules = BTreeMap<ControlName, Vec<Result<Condition, Mistake>>>;

pub(super) fn read_rules(controls: &BTreeMap<ControlName, Located<Control>>) -> Rules {
    let rules = controls.values().flat_map(|control| &control.value.rules);
    let texts: Vec<&str> = rules.map(|rule| &*rule.expression).collect();
    let mut read = Condition::read_all(&texts, &VARIABLES).into_iter();
    let mut of = |control: &Located<Control>| read.by_ref().take(control.value.rules.len()).collect();
    controls.iter().map(|(name, control)| (name.clone(), of(control))).collect()
}

/// A control that a service must meet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The control.
    pub control: &'a ControlName,
    /// Where it is asked for.
    pub by: By,
    /// The control that is asked for there: this one, or one that depends on it.
    pub root: &'a ControlName,
}

/// Who asks a service to meet a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A list of controls, by its item from 0: that of the service, or of the defaults.
    List(usize),
    /// The control itself, by the labels of services.
    Labels,
}

impl Catalog {
    /// The rules of a control, read, in their order.
    pub fn rules(&self, control: &ControlName) -> &[Result<Condition, Mistake>] {
        self.rules.get(control).map(Vec::as_slice).unwrap_or_default()
    }

    /// The controls that a deployment must meet, each once: those that are named, those that ask for its labels, and those
    /// that they depend on. One that could not be read in full is left out, as is one that there is not.
    pub fn asked_of<'a>(&'a self, deployment: &'a Deployment) -> Vec<Asked<'a>> {
        let named = deployment.controls(&self.settings).iter().enumerate();
        let named = named.map(|(index, control)| Asked { control, by: By::List(index), root: control });
        let labels = &deployment.service.labels;
        let fits = |control: &Control| {
            let label = |name: &str| labels.get(name).map(|value| &*value.0);
            control.applies_to.as_ref().is_some_and(|selector| selector.matches(label))
        };
        let by_labels = self.applying.iter().filter(|name| fits(&self.controls[*name].value));
        let by_labels = by_labels.map(|control| Asked { control, by: By::Labels, root: control });
        let mut asked: Vec<Asked<'a>> = Vec::new();
        for one in named.chain(by_labels) {
            self.add(one, &mut asked);
        }
        // What is asked for by another comes after all that are asked for themselves.
        let mut next = 0;
        while let Some(one) = asked.get(next).copied() {
            for control in &self.controls[one.control].value.depends_on {
                self.add(Asked { control, ..one }, &mut asked);
            }
            next += 1;
        }
        asked
    }

    fn add<'a>(&'a self, one: Asked<'a>, asked: &mut Vec<Asked<'a>>) {
        let is_read = self.controls.get(one.control).is_some_and(|control| control.broken.is_empty());
        if is_read && !asked.iter().any(|known| known.control == one.control) {
            asked.push(one);
        }
    }

    /// What a control weighs in an environment: what it says, or more where the policy asks for more.
    pub fn enforcement(&self, control: &Control, environment: Option<&EnvironmentName>) -> Enforcement {
        self.policy_for(environment)
            .controls
            .map_or(control.enforcement, |least| least.min(control.enforcement))
    }
}

/// The controls that ask for services by their labels.
pub(super) fn applying(controls: &BTreeMap<ControlName, Located<Control>>) -> Arc<[ControlName]> {
    let applying = controls.iter().filter(|(_, control)| control.value.applies_to.is_some());
    applying.map(|(name, _)| name.clone()).collect()
}

/// The controls that ask for approval of releases.
pub(super) fn approving(controls: &BTreeMap<ControlName, Located<Control>>) -> Arc<[ControlName]> {
    let approving = controls.iter().filter(|(_, control)| control.value.release_approval.is_some());
    approving.map(|(name, _)| name.clone()).collect()
}
