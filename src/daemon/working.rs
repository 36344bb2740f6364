//! What a load and a pass come to: the pure part of carrying them out, which a simulator calls as the loop does.

use std::sync::Arc;

use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::{self, Scope, Side, State};
use gitops_core::holders::Holders;
use gitops_core::name::Revision;
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, reconcile};
use gitops_core::release::{Commit, Opened};
use gitops_core::tree::Tree;
use jiff::Timestamp;

use super::state::{Load, Pass};

impl Load {
    /// Reads the definitions of `tree`, which is that of the revision.
    ///
    /// # Errors
    ///
    /// All findings, where they cannot be planned from.
    pub fn read(self, tree: &Arc<Tree>, now: Timestamp) -> Result<Arc<Definitions>, Vec<Diagnostic>> {
        let Self { revision, previous, is_deployed, plans, silent, decisions } = self;
        let holders = Holders::of_plans(plans).with_offline(silent).with_closed(decisions.closed(now));
        let (previous, holders) = (previous.as_deref(), Some(&holders));
        let known = Known { previous, holders, now };
        let read = if is_deployed { Definitions::resume } else { Definitions::load };
        read(revision, tree, &known).map(Arc::new)
    }
}

impl Pass {
    /// The plans, and how everything stands.
    pub fn outcome(&self) -> Outcome {
        reconcile(&self.inputs())
    }

    /// What is known of the release that it begins, if it begins one. What that does is what its definitions change; where
    /// those before cannot be read, it is what they change of the plans that stand.
    pub fn opened(&self, commit: Option<Commit>) -> Option<Box<Opened>> {
        let (opens, definitions, now) = (self.opens.as_ref()?, &*self.definitions, self.now);
        let new = definitions.side(definitions.revision.as_str());
        let label = opens.before.as_ref().map_or("nothing", Revision::as_str);
        let scope = Scope::at(now);
        let diff = match &opens.definitions {
            Some(before) => diff::compare(&before.side(label), &new, &scope),
            None => {
                let states =
                    (&State::of_plans(&self.plans, Some(new.desired)), &State::of_desired(new.desired));
                diff::compare_states(&Side { label: label.into(), ..new.clone() }, &new, states, &scope)
            }
        };
        Some(Box::new(Opened::new(definitions.revision.clone(), opens.before.clone(), commit, diff, now)))
    }

    fn inputs(&self) -> Inputs<'_> {
        let Self { definitions, plans, reported, facts, now, stale_after, listening_since, seen, opens: _ } =
            self;
        let (now, stale_after, listening_since) = (*now, *stale_after, *listening_since);
        Inputs { definitions, plans, reported, facts, now, stale_after, listening_since, seen: Some(seen) }
    }
}
