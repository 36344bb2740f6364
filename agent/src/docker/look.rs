//! Observing: one list call, and an inspection only of what changed since the last look.
//!
//! A list tells state and health but neither restarts nor start times, and an inspection costs 0.3 ms each, so what
//! an inspection said is remembered as long as nothing points to a change: the row looks the same and, while the
//! event stream is connected, no event named the container. While it is not, containers in the first minute of
//! their state are inspected on every look, since a restart loop looks the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gitops_core::status::{Container, Orphan, Orphans};

use super::events::{Event, OfMemory};
use super::rows::{self, Details, Row};
use crate::picture::Picture;

/// Inspections that run at the same time: the engine answers them from memory, one lock at a time.
const CONCURRENT: usize = 8;

/// What inspections said.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// The event stream is connected.
    watched: bool,
    /// Rises whenever something is forgotten, so that an inspection that was on its way meanwhile is not kept.
    forgotten: u64,
    by_id: BTreeMap<Arc<str>, (Row, Details)>,
    /// All that the last list named, whatever is remembered of them.
    ours: BTreeSet<Arc<str>>,
    /// Containers that lacked memory. An inspection tells it only until Docker starts the container again.
    starved: BTreeMap<Arc<str>, Starved>,
}

/// What is known of a container that lacked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starved {
    /// One of its processes was killed.
    Process,
    /// Its last run ended of it.
    Run,
}

impl Memory {
    /// An event named a container.
    pub(super) fn heard(&self, event: &Event) {
        let mut remembered = self.lock();
        let id = &event.container;
        remembered.forgotten += 1;
        remembered.by_id.remove(id);
        match event.memory {
            Some(OfMemory::Killed) => drop(remembered.starved.insert(id.clone(), Starved::Process)),
            Some(OfMemory::Ended) => match remembered.starved.remove(id) {
                Some(Starved::Process) => drop(remembered.starved.insert(id.clone(), Starved::Run)),
                // The run after that one ended as well, of something else.
                Some(Starved::Run) | None => {}
            },
            None => {}
        }
    }

    /// Nothing is relied on any more.
    pub(super) fn forget_all(&self) {
        let mut remembered = self.lock();
        remembered.forgotten += 1;
        remembered.by_id.clear();
    }

    /// Whether a container is one of ours, as far as the last list says.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.lock().ours.contains(id)
    }

    /// The event stream is connected until the answer is dropped.
    pub(super) fn watched(&self) -> Watched<'_> {
        self.set_watched(true);
        Watched(self)
    }

    /// What happened before is not known either way.
    fn set_watched(&self, watched: bool) {
        let mut remembered = self.lock();
        remembered.forgotten += 1;
        remembered.by_id.clear();
        remembered.starved.clear();
        remembered.watched = watched;
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self, rows: &[Row]) {
        self.lock().ours = rows.iter().map(|row| row.container.id.clone()).collect();
    }

    /// What is still known of a row.
    fn recall(&self, row: &Row) -> Option<Details> {
        let remembered = self.lock();
        let (before, details) = remembered.by_id.get(&row.container.id)?;
        (before.class() == row.class() && (remembered.watched || !row.is_young())).then(|| details.clone())
    }

    /// Whether the last run of a container ended for want of memory, where an inspection does not tell it any more. Where
    /// it does, that is remembered as long as events would tell of another end.
    fn recall_starved(&self, id: &Arc<str>, inspected: bool) -> bool {
        let mut remembered = self.lock();
        if inspected && remembered.watched {
            remembered.starved.entry(id.clone()).or_insert(Starved::Run);
        }
        inspected || remembered.starved.get(id) == Some(&Starved::Run)
    }

    /// Keeps what was learnt since `then` and forgets containers that are gone.
    fn keep(&self, then: u64, rows: &[(Row, Details)]) {
        let mut remembered = self.lock();
        let ids: BTreeSet<_> = rows.iter().map(|(row, _)| &row.container.id).collect();
        remembered.starved.retain(|id, _| ids.contains(id));
        if remembered.forgotten == then {
            let entry = |known: &(Row, Details)| (known.0.container.id.clone(), known.clone());
            remembered.by_id = rows.iter().map(entry).collect();
        }
    }
}

/// As long as it lives, every event reaches [`Memory::heard`].
#[derive(Debug)]
pub(super) struct Watched<'m>(&'m Memory);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.set_watched(false);
    }
}

/// Lists containers in all states by one label: `name=value`.
///
/// # Errors
///
/// What the client says.
pub(super) async fn list(engine: &Docker, label: &str, value: &str) -> Result<Vec<Row>, Error> {
    let filters = super::filters([("label", vec![format!("{label}={value}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let rows = engine.list_containers(Some(options)).await?;
    Ok(rows.into_iter().filter_map(rows::row).collect())
}

/// Lists the containers that carry no node's label.
///
/// # Errors
///
/// What the client says.
pub(super) async fn orphans(engine: &Docker) -> Result<Orphans, Error> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let rows = engine.list_containers(Some(options)).await?.into_iter().filter_map(rows::row);
    let orphan = |row: Row| {
        let Container { name, image, state, .. } = row.container;
        Orphan { name, image, state, project: row.project }
    };
    Ok(Orphans::of(rows.filter(|row| row.node.is_none()).map(orphan).collect()))
}

/// One container of a look.
pub(super) type Looked = (Row, Container, Option<Arc<Picture>>);

/// Containers of one node with everything that is known of them, with the row they came from.
///
/// # Errors
///
/// What the client says.
pub(super) async fn look(engine: &Docker, memory: &Memory, node: &str) -> Result<Vec<Looked>, Error> {
    let then = memory.lock().forgotten;
    let rows = list(engine, rows::NODE, node).await?;
    memory.listed(&rows);
    let rows: Vec<(Row, Details)> = stream::iter(rows)
        .map(|row| async {
            let details = match memory.recall(&row) {
                Some(details) => Some(details),
                None => inspect_with_image(engine, &row).await?.map(|mut details| {
                    details.oom_killed = memory.recall_starved(&row.container.id, details.oom_killed);
                    details
                }),
            };
            Ok::<_, Error>(details.map(|details| (row, details)))
        })
        .buffer_unordered(CONCURRENT)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await?;
    memory.keep(then, &rows);
    let looked = |(row, details): (Row, Details)| (row.clone(), row.with(&details), details.picture);
    Ok(rows.into_iter().map(looked).collect())
}

/// The details of the container in a row, and what its image reference names by now; none where it is gone.
async fn inspect_with_image(engine: &Docker, row: &Row) -> Result<Option<Details>, Error> {
    let Some(mut details) = inspect(engine, &row.container.id).await? else { return Ok(None) };
    if let Some(reference) = details.image.as_deref().filter(|image| **image != *row.container.image) {
        let now = match engine.inspect_image(reference).await {
            Ok(image) => image.id.map(Arc::from),
            // Mostly the reference was taken away, and names nothing. Whatever it is, the containers are known.
            Err(error) => {
                tracing::debug!(reference, %error, "what an image reference names by now is not known");
                None
            }
        };
        details.image_now = now.filter(|now| *now != row.container.image_id);
    }
    Ok(Some(details))
}

/// The details of one container; none where it is gone.
///
/// # Errors
///
/// What the client says.
pub(super) async fn inspect(engine: &Docker, id: &str) -> Result<Option<Details>, Error> {
    match engine.inspect_container(id, None::<InspectContainerOptions>).await {
        Ok(inspected) => Ok(Some(rows::details(inspected))),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// Stands for an engine that knows one container, and answers every question about images with `images`.
    async fn answer(mut stream: UnixStream, images: u16) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        let request = String::from_utf8_lossy(&request);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = if path.contains("/images/") {
            (images, r#"{"message": "no"}"#)
        } else if path.contains("/containers/json") {
            (
                200,
                r#"[{"Id": "c1", "Names": ["/web-1"], "Image": "sha256:1", "ImageID": "sha256:1", "State": "running",
                "Labels": {"com.docker.compose.service": "web"}}]"#,
            )
        } else {
            (200, r#"{"Id": "c1", "Config": {"Image": "web:1"}}"#)
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all((head + body).as_bytes()).await
    }

    async fn serve(socket: PathBuf, images: u16) {
        let listener = UnixListener::bind(socket).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            // A client that went away is not missed.
            let _ = answer(stream, images).await;
        }
    }

    #[tokio::test]
    async fn a_container_is_known_even_where_its_image_is_not() {
        for status in [404, 409, 500] {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("docker.sock");
            let looked = async {
                let engine =
                    Docker::connect_with_unix(socket.to_str().unwrap(), 5, bollard::API_DEFAULT_VERSION);
                look(&engine.unwrap(), &Memory::default(), "edge").await.unwrap()
            };
            let looked = tokio::select! {
                biased;
                () = serve(socket.clone(), status) => unreachable!("it serves for ever"),
                looked = looked => looked,
            };
            let images: Vec<_> = looked.iter().map(|(_, container, _)| container.image_now.clone()).collect();
            assert_eq!(images, [None], "{status}");
        }
    }
}
