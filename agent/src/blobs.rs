//! Content that plans name, by digest, in the state folder.
//!
//! All content of a plan is here before the plan is accepted, so an accepted plan can be applied with the daemon
//! away. A blob is streamed to a file beside its place, measured and hashed on the way, and appears under its
//! digest only if both are right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use gitops_core::name::Digest;
use gitops_core::plan::{NodePlan, Step};
use sha2::{Digest as _, Sha256};

use crate::disk::{self, DiskError};
use crate::host::Blobs;

/// No single file of a plan may be larger, whatever the plan says: 256 MiB, the default limit of a whole
/// definitions repository.
pub const MAX_BLOB_BYTES: u64 = 256 << 20;

/// Why content was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The plan says another size than what came.
    #[error("content {digest} should have {expected} bytes and has {}", if *found > *expected { "more" } else { "fewer" })]
    Size {
        /// Its name.
        digest: Digest,
        /// In the plan.
        expected: u64,
        /// That came, up to one chunk over `expected`.
        found: u64,
    },
    /// What came is something else.
    #[error("content {expected} came with digest {found}: it was changed on the way")]
    Digest {
        /// Its name.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
    /// It is larger than any file may be.
    #[error("content {digest} has {size} bytes; a file may have {MAX_BLOB_BYTES}")]
    TooLarge {
        /// Its name.
        digest: Digest,
        /// In the plan.
        size: u64,
    },
    /// It cannot be stored.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The folder of blobs.
#[derive(Clone, Debug)]
pub struct BlobDir {
    folder: PathBuf,
}

impl BlobDir {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(folder: PathBuf) -> Result<Self, DiskError> {
        fs::create_dir_all(&folder).map_err(DiskError::io("make", &folder))?;
        Ok(Self { folder })
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The content of `plan` that is not here, with its size.
    pub fn missing(&self, plan: &NodePlan) -> BTreeMap<Digest, u64> {
        let mut wanted = contents(plan);
        wanted.retain(|digest, size| {
            !fs::symlink_metadata(self.place(*digest))
                .is_ok_and(|found| found.is_file() && found.len() == *size)
        });
        wanted
    }

    /// Begins to take in content of exactly `size` bytes.
    ///
    /// # Errors
    ///
    /// Where it is too large or the system refuses.
    pub fn writer(&self, digest: Digest, size: u64) -> Result<BlobWriter, BlobError> {
        if size > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge { digest, size });
        }
        let beside = self.folder.join(format!(".{}.new", digest.hex()));
        let file = File::create(&beside).map_err(DiskError::io("make", &beside))?;
        let place = self.place(digest);
        Ok(BlobWriter { digest, size, written: 0, hash: Sha256::new(), file, beside, place })
    }

    /// Deletes everything else, half-written content included.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn keep_only(&self, content: &BTreeSet<Digest>) -> Result<usize, DiskError> {
        let keep: BTreeSet<_> = content.iter().map(Digest::hex).collect();
        let mut deleted = 0;
        let entries = fs::read_dir(&self.folder).map_err(DiskError::io("read", &self.folder))?;
        for entry in entries {
            let entry = entry.map_err(DiskError::io("read", &self.folder))?;
            if !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                fs::remove_file(entry.path()).map_err(DiskError::io("delete", &entry.path()))?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

impl Blobs for BlobDir {
    fn path(&self, digest: Digest) -> Option<Box<Path>> {
        let path = self.place(digest);
        path.is_file().then(|| path.into())
    }
}

fn contents(plan: &NodePlan) -> BTreeMap<Digest, u64> {
    let files = plan.steps.iter().filter_map(Step::as_ensure).flat_map(|ensure| ensure.files.values());
    files.map(|file| (file.digest, file.size)).collect()
}

/// Content on its way in. Dropped before [`BlobWriter::finish`], it leaves nothing: on a full disk, what was half
/// written would keep the ledger from accepting the plan that mends it.
#[derive(Debug)]
pub struct BlobWriter {
    digest: Digest,
    size: u64,
    written: u64,
    hash: Sha256,
    file: File,
    beside: PathBuf,
    place: PathBuf,
}

impl BlobWriter {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Where there are more than announced, or the system refuses.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.written += chunk.len() as u64;
        if self.written > self.size {
            return Err(self.wrong_size());
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(DiskError::io("write", &self.beside))?;
        Ok(())
    }

    /// Checks size and digest and puts the content in its place, durably.
    ///
    /// # Errors
    ///
    /// Where it is not what was announced, or the system refuses.
    pub fn finish(mut self) -> Result<(), BlobError> {
        if self.written != self.size {
            return Err(self.wrong_size());
        }
        let found = digest_of(std::mem::take(&mut self.hash));
        if found != self.digest {
            return Err(BlobError::Digest { expected: self.digest, found });
        }
        self.file.sync_all().map_err(DiskError::io("write", &self.beside))?;
        Ok(disk::rename_durably(&self.beside, &self.place)?)
    }

    fn wrong_size(&self) -> BlobError {
        BlobError::Size { digest: self.digest, expected: self.size, found: self.written }
    }
}

impl Drop for BlobWriter {
    /// Once in its place, it is not here any more. What cannot be deleted, [`BlobDir::keep_only`] deletes.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// A [`Digest`] is made from whole content or from text; this content was hashed piece by piece.
fn digest_of(hash: Sha256) -> Digest {
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}").parse().expect("SHA-256 has 32 bytes, which are 64 digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ensure, plan};

    fn store() -> (tempfile::TempDir, BlobDir) {
        let temp = tempfile::tempdir().unwrap();
        let blobs = BlobDir::open(temp.path().join("blobs")).unwrap();
        (temp, blobs)
    }

    fn put(blobs: &BlobDir, digest: Digest, size: u64, content: &[u8]) -> Result<(), BlobError> {
        let mut writer = blobs.writer(digest, size)?;
        content.chunks(3).try_for_each(|chunk| writer.write(chunk))?;
        writer.finish()
    }

    #[test]
    fn what_was_half_written_leaves_nothing() {
        let (temp, blobs) = store();
        let mut writer = blobs.writer(Digest::of(b"content"), 7).unwrap();
        writer.write(b"cont").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(temp.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn content_appears_only_when_size_and_digest_are_right() {
        let (_temp, blobs) = store();
        let digest = Digest::of("hello");
        for (size, content) in [(5, "hell"), (5, "hello!"), (4, "hello"), (5, "jello")] {
            assert!(put(&blobs, digest, size, content.as_bytes()).is_err(), "{size} {content}");
            assert_eq!(blobs.path(digest), None);
        }
        assert!(matches!(put(&blobs, digest, MAX_BLOB_BYTES + 1, b""), Err(BlobError::TooLarge { .. })));
        put(&blobs, digest, 5, b"hello").unwrap();
        assert_eq!(fs::read(blobs.path(digest).unwrap()).unwrap(), b"hello");
    }

    #[test]
    fn only_what_the_plan_names_is_missing_and_only_that_is_kept() {
        let (_temp, blobs) = store();
        let wanted = plan(1, vec![ensure("web", "1").file("nginx.conf", "hello").step()]);
        let (named, other) = (Digest::of("hello"), Digest::of("old"));
        assert_eq!(blobs.missing(&wanted), BTreeMap::from([(named, 5)]));
        put(&blobs, named, 5, b"hello").unwrap();
        put(&blobs, other, 3, b"old").unwrap();
        let mut half = blobs.writer(Digest::of("half"), 4).unwrap();
        half.write(b"ha").unwrap();
        std::mem::forget(half); // as `kill -9` leaves it
        assert!(blobs.missing(&wanted).is_empty());
        assert_eq!(blobs.keep_only(&BTreeSet::from([named])).unwrap(), 2);
        assert_eq!((blobs.path(named).is_some(), blobs.path(other)), (true, None));
    }
}
