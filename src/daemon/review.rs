//! Carrying out a review: ask the forge, fetch, compare, say.
//!
//! Of the pull request only its number was given; all else is asked of the forge and read from the repository, by
//! ourselves. What it would do is compared with the fleet as it is, and where it starts from an older commit, what it
//! changes with that one. How it is judged, the deployed definitions say. Nothing of it is run, and of one that comes
//! from another repository nothing is said but whether it is right.

use std::sync::Arc;
use std::time::Duration;

use gitops_core::definition::{Saying, Settings};
use gitops_core::diff;
use gitops_core::holders::Holders;
use gitops_core::name::Revision;
use gitops_core::reconcile::preview::{Picture, Proposal, preview};
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::render::review as words;
use gitops_core::review::{self, Comment, Marker, Outcome, State, Status, Unsaid, Verdict, new_findings};
use gitops_core::tree::Tree;
use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::carry::{Tools, chain};
use super::outbox::{News, Review, Setback};
use super::{BoxError, Forge};
use crate::forge::{Check, ForgeError, PullState, Stuck, Why};

/// How long a pull request may be thought about. Ten thousand services take seconds.
const THINK_WITHIN: Duration = Duration::from_secs(60);

/// What a review looks at.
struct Sides {
    picture: Picture,
    head: (Revision, Arc<Tree>),
    /// Where the pull request starts from, where that is not what is deployed.
    start: Option<(Revision, Arc<Tree>)>,
    is_fork: bool,
}

impl From<ForgeError> for Setback {
    fn from(error: ForgeError) -> Self {
        let why = chain(&error);
        match (error.later(), &error.why) {
            (Some(after), _) => Self::Away(after, why),
            (None, Why::Missing { .. }) => Self::Hopeless(why),
            (None, _) => Self::Failed(why),
        }
    }
}

impl From<BoxError> for Setback {
    fn from(error: BoxError) -> Self {
        Self::Failed(chain(&*error))
    }
}

impl Tools {
    /// Says at a commit how its release stands.
    pub(super) async fn set_status(&self, revision: &Revision, status: &Status) -> Result<News, Setback> {
        self.forge()?.client.set_status(revision, status).await?;
        Ok(None)
    }

    /// Looks at a pull request, and says on it what it would do.
    pub(super) async fn review(&self, review: Review) -> Result<News, Setback> {
        let forge = self.forge()?;
        let Review { number, branch, picture } = review;
        let pull = forge.client.pull(number).await?;
        if pull.state != PullState::Open || pull.base_branch != *branch {
            return Ok(None);
        }
        let head = self.repository.fetch_head(&forge.kind.head_ref(number)).await?;
        if head.as_ref() != Some(&pull.head) {
            let head = pull.head.short();
            return Err(Setback::Failed(format!(
                "the repository does not have {head} there, which the forge names"
            )));
        }
        let settings = picture.deployed.as_ref().map(|deployed| deployed.catalog.settings.clone());
        let sides = self.sides(picture, pull.head, pull.is_fork).await?;
        let mut verdict = bounded(THINK_WITHIN, move || judge(&sides)).await?;
        if let Outcome::Compared(diff) = &mut verdict.outcome {
            self.time([&mut **diff]).await;
        }
        say(forge, number, settings.as_deref(), &verdict).await
    }

    fn forge(&self) -> Result<&Forge, Setback> {
        self.forge.as_deref().ok_or_else(|| Setback::Hopeless("there is no forge in the settings".to_owned()))
    }

    async fn sides(&self, picture: Picture, head: Revision, is_fork: bool) -> Result<Sides, Setback> {
        let mut start = None;
        if let Some(deployed) = &picture.deployed {
            let base = self.repository.merge_base(&deployed.revision, &head).await?;
            let base = base.ok_or_else(|| {
                Setback::Hopeless(format!("{} shares no history with what is deployed", head.short()))
            })?;
            if base != deployed.revision {
                let tree = self.repository.tree(&base).await?;
                start = Some((base, Arc::new(tree)));
            }
        }
        let tree = Arc::new(self.repository.tree(&head).await?);
        Ok(Sides { picture, head: (head, tree), start, is_fork })
    }
}

/// The outcome of work on what others wrote. Whatever they wrote, it neither ends the daemon nor holds up what is to be
/// told of others; and it is not tried again, as it would end the same way.
async fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Setback> {
    match timeout(limit, spawn_blocking(work)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(Setback::Hopeless("looking at it failed: this is a mistake in gitops".to_owned())),
        Err(_) => Err(Setback::Hopeless(format!("looking at it takes longer than {} s", limit.as_secs()))),
    }
}

/// What is thought of it.
fn judge(sides: &Sides) -> Verdict {
    let Sides { picture, head: (head, tree), start, is_fork } = sides;
    let holders = Holders::of_plans(picture.plans.clone()).with_offline(picture.silent.clone());
    // Whoever wrote a fork need not be told where there is room.
    let holders = (!is_fork).then_some(&holders);
    let known = Known { previous: picture.deployed.as_deref(), holders, now: picture.now };
    let examined = Definitions::examine(head.clone(), tree, &known);
    let started = start.as_ref().map(|(base, tree)| Definitions::examine(base.clone(), tree, &known));
    let base = started.as_ref().or(picture.deployed.as_deref());
    let fail_on = picture.deployed.as_ref().map(|deployed| deployed.catalog.settings.review.fail_on.clone());
    let before = base.map(|base| base.desired.sensitive.clone()).unwrap_or_default();
    let sensitive = before.and(&examined.desired.sensitive);
    let verdict = |outcome, warnings| {
        let base = base.map(|base| base.revision.clone());
        let verdict =
            Verdict::new(head.clone(), base, outcome, warnings, &fail_on.clone().unwrap_or_default());
        verdict.hiding(sensitive.clone())
    };
    if examined.has_errors() {
        return verdict(Outcome::Invalid(examined.findings), Vec::new());
    }
    let warnings = new_findings(base.map(|base| &*base.findings).unwrap_or_default(), &examined.findings);
    let outcome = match &started {
        _ if *is_fork => Outcome::Valid(Unsaid::Fork),
        Some(started) if !started.is_whole => Outcome::Valid(Unsaid::BaseInvalid),
        Some(started) => compared(started, &examined, picture.now),
        None => live(picture, head, tree),
    };
    verdict(outcome, warnings)
}

fn compared(old: &Definitions, new: &Definitions, now: Timestamp) -> Outcome {
    let (old, new) = (old.side(old.revision.as_str()), new.side(new.revision.as_str()));
    Outcome::Compared(Box::new(diff::compare(&old, &new, &diff::Scope::at(now))))
}

/// What deploying it would do to the fleet as it is.
fn live(picture: &Picture, head: &Revision, tree: &Arc<Tree>) -> Outcome {
    let proposal = Proposal { revision: Some(head.clone()), label: head.as_str().into(), tree: tree.clone() };
    match preview(picture, &proposal) {
        Ok(preview) => Outcome::Compared(Box::new(preview.diff)),
        Err(findings) => Outcome::Invalid(findings),
    }
}

/// Says it: in the comment, as a status, and at lines of files where the forge and the token allow it.
async fn say(
    forge: &Forge,
    number: u64,
    settings: Option<&Settings>,
    verdict: &Verdict,
) -> Result<News, Setback> {
    let name = settings.map_or("definitions", |settings| &*settings.name);
    let wanted = settings.map_or(Saying::default(), |settings| settings.review.comment);
    let (marker, text) = (Marker::new(&[name]), words::comment(verdict, name));
    let stuck = match verdict.comment(wanted) {
        Comment::Leave => Stuck::Unchanged,
        Comment::Make => forge.client.upsert_comment(number, &marker, &text).await?,
        Comment::Refresh => forge.client.refresh_comment(number, &marker, &text).await?,
    };
    let (context, summary) = (review::context(name), words::summary(verdict));
    let status = Status::new(verdict.state(), &*context, &summary);
    forge.client.set_status(&verdict.head, &status).await?;
    annotate(forge, &context, &summary, verdict).await?;
    let is_news = matches!(stuck, Stuck::Created | Stuck::Updated);
    Ok(is_news.then(|| (verdict.head.clone(), format!("pull request {number}: {summary}"))))
}

/// Most tokens may not: then the comment has to do.
async fn annotate(forge: &Forge, name: &str, summary: &str, verdict: &Verdict) -> Result<(), Setback> {
    let annotations = verdict.annotations(&forge.folder);
    if annotations.is_empty() {
        return Ok(());
    }
    let is_failure = verdict.state() == State::Failure;
    let check = Check { name, title: summary, summary, is_failure, annotations: &annotations };
    match forge.client.annotate(&verdict.head, &check).await {
        Err(ForgeError { why: Why::Denied { .. } | Why::Missing { .. } | Why::Refused { .. }, .. }) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_head_that_cannot_be_judged_is_given_up_and_the_daemon_goes_on() {
        let check = |result: Result<u8, Setback>, expected: &str| match result {
            Err(Setback::Hopeless(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}, and not {expected}"),
        };
        assert_eq!(bounded(THINK_WITHIN, || 7).await, Ok(7));
        check(bounded(THINK_WITHIN, || panic!("a test")).await, "a mistake in gitops");
        let (done, wait) = mpsc::channel::<u8>();
        let slow = move || wait.recv().unwrap_or_default();
        check(bounded(Duration::from_millis(10), slow).await, "takes longer than");
        drop(done);
    }
}
