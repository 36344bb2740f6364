//! Carrying out effects: one short function each, and the event that tells how it went.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::applied::applied;
use gitops_core::catalog::Catalog;
use gitops_core::decision::Decision;
use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::Diff;
use gitops_core::fleet::NodeView;
use gitops_core::fleet::drift::{Facts, drift};
use gitops_core::name::Revision;
use gitops_core::reconcile::preview::{Picture, Proposal, Prospect};
use gitops_core::release::Commit;
use gitops_core::sensitive::Sensitive;
use gitops_core::tree::Tree;
use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::asking::{Question, Study};
use super::state::{Effect, Event, Load, Pass};
use super::{BoxError, Forge, Repository};
use crate::api::control::{Answer, Previewed};
use crate::api::metrics::Metrics;
use crate::api::wire::{DiffRequest, Only};
use crate::clock;
use crate::store::outbox::{Change, ErrandKey};
use crate::store::{self, Decided, NewEvent, Publication, Published, Retention, StatusReport, Store};

/// What effects are carried out with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) store: Arc<dyn Store>,
    pub(super) repository: Arc<dyn Repository>,
    pub(super) retention: Retention,
    pub(super) metrics: Arc<Metrics>,
    pub(super) forge: Option<Arc<Forge>>,
}

impl Tools {
    /// Carries out one effect.
    pub(super) async fn carry_out(self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Fetch => Some(Event::Fetched(self.fetch().await)),
            Effect::Compare { newest, base } => {
                let result = self.repository.descends(&newest, &base).await;
                Some(Event::Compared(result.map_err(|error| chain(&*error))))
            }
            Effect::Load(load) => Some(self.load(load).await),
            Effect::Keep(revision) => {
                if let Err(error) = self.repository.keep(&revision).await {
                    tracing::warn!(%revision, error = %chain(&*error), "cannot keep the deployed commit");
                }
                None
            }
            Effect::Pass(pass) => Some(self.pass(pass).await),
            Effect::Publish(publication) => Some(Event::Published(self.publish(publication).await)),
            Effect::Reload => {
                let loaded = self.store.load().await.map(Box::new);
                Some(Event::Reloaded(loaded.map_err(|error| self.failed(&error))))
            }
            Effect::Peek { after } => Some(Event::Peeked(self.peek(after).await)),
            Effect::Record { reports, events, finished, outbox } => {
                Some(Event::Recorded(self.record(reports, events, finished, outbox).await))
            }
            Effect::Decide(decided) => {
                let (decision, event) = *decided;
                Some(Event::Decided(self.decide(decision, event).await))
            }
            Effect::ReadCommit(ticket, revision) => {
                let read = self.repository.commit(&revision).await;
                Some(Event::CommitRead(ticket, read.map_err(|error| chain(&*error))))
            }
            Effect::Review(review) => Some(Event::Ended(self.review(*review).await)),
            Effect::SetStatus(revision, status) => {
                Some(Event::Ended(self.set_status(&revision, &status).await))
            }
            Effect::Prune => {
                let pruned = self.store.prune(self.retention, clock::now()).await;
                let _ = pruned.map_err(|error| self.failed(&error));
                None
            }
            Effect::Study(ticket, study) => Some(Event::Studied(ticket, self.study(*study).await)),
            Effect::Answer(..) => None,
        }
    }

    async fn fetch(&self) -> Result<Option<Revision>, String> {
        let started = Instant::now();
        let result = self.repository.fetch().await.map_err(|error| chain(&*error));
        self.metrics.fetched(result.is_ok(), started.elapsed());
        result
    }

    async fn load(&self, load: Load) -> Event {
        let tree = match self.repository.tree(&load.revision).await {
            Ok(tree) => Arc::new(tree),
            Err(error) => return Event::Loaded(Err(chain(&*error))),
        };
        let read = move || load.read(&tree, clock::now());
        Event::Loaded(Ok(spawn_blocking(read).await.expect(ON_PANIC)))
    }

    async fn pass(&self, pass: Pass) -> Event {
        let commit = match &pass.opens {
            Some(_) => self.commit(&pass.definitions.revision).await,
            None => None,
        };
        let started = Instant::now();
        let pass = Arc::new(pass);
        let same = pass.clone();
        // Beside each other: the record of a release must not hold up its plans.
        let planning = spawn_blocking(move || pass.outcome());
        let recording = spawn_blocking(move || same.opened(commit));
        let (outcome, opened) = (planning.await.expect(ON_PANIC), recording.await.expect(ON_PANIC));
        self.metrics.passes.inc();
        self.metrics.pass_seconds.observe(started.elapsed().as_secs_f64());
        Event::Passed(outcome, opened)
    }

    /// A commit that cannot be read is no reason not to deploy what could be.
    async fn commit(&self, revision: &Revision) -> Option<Commit> {
        let commit = self.repository.commit(revision).await;
        let failed =
            |error: &BoxError| tracing::warn!(%revision, error = %chain(&**error), "cannot read the commit");
        commit.inspect_err(failed).ok()
    }

    async fn publish(&self, publication: Publication) -> Result<Published, String> {
        let plans = publication.plans.len() as u64;
        let published = self.store.publish(publication).await.map_err(|error| self.failed(&error))?;
        match &published {
            Published::Done(events) => {
                self.metrics.plans_published.inc_by(plans);
                log(events);
            }
            Published::Unaware => {
                self.metrics.publish_conflicts.inc();
                tracing::info!("something was published or decided meanwhile: planning again");
            }
            Published::Conflict(node) => {
                self.metrics.publish_conflicts.inc();
                tracing::info!(%node, "another daemon published a plan first: planning again");
            }
        }
        Ok(published)
    }

    /// The newest event is the first after what is known, or there are several and it does not matter which.
    async fn peek(&self, after: u64) -> Result<u64, String> {
        let later = self.store.events(after, 1).await.map_err(|error| self.failed(&error))?;
        Ok(later.first().map_or(after, |event| event.id))
    }

    async fn decide(&self, decision: Decision, event: NewEvent) -> Result<Option<Decided>, String> {
        let decided = self.store.decide(decision, event).await.map_err(|error| self.failed(&error))?;
        decided.iter().for_each(|decided| log(std::slice::from_ref(&decided.event)));
        Ok(decided)
    }

    async fn record(
        &self,
        reports: Vec<StatusReport>,
        events: Vec<NewEvent>,
        finished: Option<(Revision, Timestamp)>,
        outbox: BTreeMap<ErrandKey, Change>,
    ) -> Result<Vec<store::Event>, String> {
        let mut numbered = Vec::new();
        if !outbox.is_empty() {
            self.store.change_outbox(outbox).await.map_err(|error| self.failed(&error))?;
        }
        if !events.is_empty() {
            numbered = self.store.append_events(events).await.map_err(|error| self.failed(&error))?;
            log(&numbered);
        }
        if let Some((revision, at)) = finished {
            self.store.finish_release(&revision, at).await.map_err(|error| self.failed(&error))?;
        }
        let count = reports.len() as u64;
        if count > 0 {
            self.store.record_statuses(reports).await.map_err(|error| self.failed(&error))?;
            self.metrics.reports.inc_by(count);
        }
        Ok(numbered)
    }

    async fn study(&self, study: Study) -> Answer {
        let Study { question, picture, views, newest } = study;
        match question {
            Question::Diff(request) => self.preview(*request, picture).await,
            Question::Drift(only) => {
                let deployed = picture.deployed.as_ref().map(|deployed| &deployed.catalog);
                let sides: Vec<&Catalog> = deployed.into_iter().collect();
                if let Some(unknown) = picture.known_of(only.selection()).unknown(&sides) {
                    return Answer::Unfit(format!("there is no {unknown} in what is deployed"));
                }
                let drift = move || {
                    let deployed = picture.deployed.as_ref();
                    let sensitive = deployed.map(|deployed| deployed.desired.sensitive.clone());
                    let sensitive = sensitive.unwrap_or_default();
                    drift(&facts(&picture, &sensitive, &views, newest.as_ref()), &only)
                };
                Answer::Drift(Box::new(spawn_blocking(drift).await.expect(ON_PANIC)))
            }
            Question::Applied(release) => {
                let Some(deployed) = picture.deployed else { return Answer::NotReady };
                let applied = move || applied(&release, &deployed.catalog, &deployed.desired, &views);
                Answer::Applied(Box::new(spawn_blocking(applied).await.expect(ON_PANIC)))
            }
        }
    }

    /// What deploying a tree would do. It is kept under its plan id.
    async fn preview(&self, request: DiffRequest, picture: Picture) -> Answer {
        let read = match (&request.changes, &request.revision) {
            (None, Some(revision)) => Some(self.repository.tree(revision).await),
            _ => None,
        };
        let tree = match read.transpose() {
            Ok(tree) => tree,
            Err(error) => return Answer::NoRevision(chain(&*error)),
        };
        let now = picture.now;
        let previewed = move || previewed(&request, tree, &picture);
        let mut previewed = match spawn_blocking(previewed).await.expect(ON_PANIC) {
            Ok(previewed) => previewed,
            Err(why) => return Answer::Unfit(why),
        };
        if let Ok(previewed) = &mut previewed {
            self.time([&mut previewed.preview.diff, &mut previewed.diff]).await;
        }
        if let Ok(previewed) = &previewed
            && let Err(error) = self.store.keep_preview(&previewed.preview, now).await
        {
            self.failed(&error);
            return Answer::NotStored;
        }
        Answer::Previewed(previewed)
    }

    /// Tells in the diffs of one change how long services took to come back. Without that they say no less of it.
    pub(super) async fn time(&self, diffs: impl IntoIterator<Item = &mut Diff>) {
        for diff in diffs {
            let services = diff.interrupted();
            if services.is_empty() {
                continue;
            }
            match self.store.durations(services).await {
                Ok(durations) => diff.time(&durations),
                Err(error) => _ = self.failed(&error),
            }
        }
    }

    fn failed(&self, error: &store::StoreError) -> String {
        self.metrics.store_failures.inc();
        let text = chain(error);
        tracing::error!(error = %text, "the store failed");
        text
    }
}

fn facts<'a>(
    picture: &'a Picture,
    sensitive: &'a Sensitive,
    views: &'a [NodeView],
    newest: Option<&'a Revision>,
) -> Facts<'a> {
    let Picture { deployed, plans, reported, now, stale_after, .. } = picture;
    Facts {
        deployed: deployed.as_ref().map(|deployed| &deployed.revision),
        newest,
        catalog: deployed.as_ref().map(|deployed| &deployed.catalog),
        sensitive,
        plans,
        reported,
        views,
        now: *now,
        stale_after: *stale_after,
    }
}

/// The preview of what was asked for: of the tree that was read, or of the deployed one with the changes that were sent.
fn previewed(
    request: &DiffRequest,
    tree: Option<Tree>,
    picture: &Picture,
) -> Result<Result<Box<Previewed>, Vec<Diagnostic>>, String> {
    let DiffRequest { revision, changes, only, .. } = request;
    let tree = match (tree, changes) {
        (Some(tree), _) => Arc::new(tree),
        (None, changes) => {
            let base = picture.deployed.as_ref().map(|deployed| deployed.catalog.tree.clone());
            let base = base.unwrap_or_default();
            let applied =
                changes.as_ref().map_or_else(|| Ok(base.clone()), |patch| patch.applied(&base).map(Arc::new));
            applied.map_err(|error| error.to_string())?
        }
    };
    let label = revision.as_ref().map_or("work tree".into(), |revision| revision.as_str().into());
    let proposal = Proposal { revision: revision.clone(), label, tree };
    let prospect = match Prospect::of(picture, &proposal) {
        Ok(prospect) => prospect,
        Err(findings) => return Ok(Err(findings)),
    };
    if let Some(unknown) = prospect.unknown(&only.selection()) {
        return Err(format!("there is no {unknown}, neither in what is deployed nor in this"));
    }
    let preview = prospect.preview();
    let diff = match *only == Only::default() {
        true => preview.diff.clone(),
        false => prospect.diff(&only.selection()),
    };
    Ok(Ok(Box::new(Previewed { preview, diff })))
}

pub(super) const ON_PANIC: &str = "the core does not panic; where it does, the loop ends with it";

fn log(events: &[store::Event]) {
    for store::Event { id, event } in events {
        let (kind, message) = (&event.kind, &event.message);
        let [revision, node, service] = [
            event.revision.as_ref().map(tracing::field::display).map(|text| text.to_string()),
            event.node.as_ref().map(ToString::to_string),
            event.service.as_ref().map(ToString::to_string),
        ];
        tracing::info!(id, %kind, revision, node, service, "{message}");
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
