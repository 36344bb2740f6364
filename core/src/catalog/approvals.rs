//! Who must say yes before a release changes a service: by its roll-out, and by the controls that it must meet.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Catalog, Deployment};
use crate::definition::{Approvals, Rollout};
use crate::name::{EnvironmentName, RoleName};

/// So many people, each with one of these roles. Several demands must all be met; one person may count for more than one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApprovalDemand {
    /// Who asks for it, or what is asked: ``` `rollout.approval` ```, ``control `pci-dss-4.0` ``.
    pub why: Arc<str>,
    /// How many.
    pub count: usize,
    /// Roles of which each of them must have one; any will do where there are none.
    pub roles: BTreeSet<RoleName>,
    /// How long they are waited for; then it is told that none came.
    pub timeout: Option<SignedDuration>,
    /// Whether the author of the commit may be one of them.
    pub author_may: bool,
}

impl Catalog {
    /// What is asked of those who approve in an environment, where nothing more is said.
    pub fn approvals_for(&self, environment: Option<&EnvironmentName>) -> Approvals {
        let base = &self.settings.approvals;
        let own = environment.and_then(|name| self.settings.environments.get(name));
        own.map_or_else(|| base.clone(), |own| own.approvals.clone().or(base))
    }

    /// What is asked of those who approve in an environment, for a reason of its own.
    pub fn approval_demand(
        &self,
        environment: Option<&EnvironmentName>,
        why: impl Into<Arc<str>>,
    ) -> ApprovalDemand {
        let Approvals { count, roles, timeout } = self.approvals_for(environment);
        ApprovalDemand {
            why: why.into(),
            count: count.map_or(1, |count| count.0 as usize),
            roles: roles.into_iter().flatten().collect(),
            timeout: timeout.map(|timeout| timeout.duration()),
            author_may: false,
        }
    }

    /// Everything that is asked before a deployment is changed in an environment.
    pub fn approval_demands(
        &self,
        deployment: &Deployment,
        environment: Option<&EnvironmentName>,
        rollout: &Rollout,
    ) -> Vec<ApprovalDemand> {
        let asked = rollout.approval == Some(true);
        let own = asked.then(|| self.approval_demand(environment, "`rollout.approval`"));
        let by_controls = match self.approving.is_empty() {
            true => Vec::new(),
            false => self.asked_of(deployment),
        };
        let of_control = by_controls.into_iter().filter_map(|asked| {
            let approval = self.controls.get(asked.control)?.value.release_approval.as_ref()?;
            let base = self.approval_demand(environment, format!("control `{}`", asked.control));
            Some(ApprovalDemand {
                count: approval.count.map_or(1, |count| count.0 as usize),
                roles: approval.roles.iter().flatten().cloned().collect(),
                ..base
            })
        });
        own.into_iter().chain(of_control).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    const SETTINGS: &str = "format = 1
name = 'test'
[approvals]
count = 2
roles = ['lead']
timeout = '2d'
[environments.back]
nodes = { site = 'back' }
[environments.back.rollout]
approval = true
[environments.back.approvals]
count = 1
[environments.front]
nodes = { site = 'front' }
";

    /// What is asked of `web`, whose definition has these lines, in an environment.
    fn demands(lines: &str, environment: &str) -> Vec<String> {
        let service = format!("service: web\nplace: {{nodes: [a, b]}}\n{lines}");
        let files = [
            ("gitops.toml", SETTINGS),
            ("nodes/a.yaml", "{node: a, labels: {site: back}}"),
            ("nodes/b.yaml", "{node: b, labels: {site: front}}"),
            (
                "controls/pci.yaml",
                "{control: pci, enforcement: strict, release_approval: {roles: [security]}}",
            ),
            (
                "controls/all.yaml",
                "{control: all, enforcement: strict, depends_on: [pci], release_approval: {count: 3}}",
            ),
            ("services/web/service.yaml", &*service),
            ("services/web/compose.yaml", "services: {app: {image: i}}"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let (catalog, found) = super::super::load(&Arc::new(Tree::from_files(files)), None);
        assert!(found.is_empty(), "{found:?}");
        let environment: EnvironmentName = environment.parse().expect("a name");
        let deployment = &catalog.services["web"].deployments[0];
        let rollout = deployment.service.rollout.clone().or(catalog.rollout_for(Some(&environment)));
        let demands = catalog.approval_demands(deployment, Some(&environment), &rollout);
        let text = |demand: &ApprovalDemand| {
            let roles: Vec<&str> = demand.roles.iter().map(RoleName::as_str).collect();
            let hours = demand.timeout.map_or(0, |timeout| timeout.as_hours());
            format!("{} of [{}] within {hours}h: {}", demand.count, roles.join(" "), demand.why)
        };
        demands.iter().map(text).collect()
    }

    #[test]
    fn everybody_who_asks_for_approval_has_it() {
        let check = |lines: &str, environment: &str, expected: &[&str]| {
            assert_eq!(demands(lines, environment), expected, "{lines} in {environment}");
        };
        let (own, front) =
            ("1 of [lead] within 48h: `rollout.approval`", "2 of [lead] within 48h: `rollout.approval`");
        let (pci, all) = ("1 of [security] within 48h: control `pci`", "3 of [] within 48h: control `all`");
        check("", "front", &[]);
        check("", "back", &[own]);
        check("rollout: {approval: false}", "back", &[]);
        check("rollout: {approval: true}", "front", &[front]);
        check("controls: [pci]", "front", &[pci]);
        check("controls: [all]", "back", &[own, all, pci]);
    }
}
