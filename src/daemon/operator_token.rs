//! The first operator's token: made once, at the first start, and written where only the daemon's user can read it.
//! Whoever holds it gives other operators theirs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gitops_core::name::OperatorName;

use crate::clock;
use crate::store::token::Secret;
use crate::store::{Identity, Store, StoreError, StoredToken};

/// The file in the state folder.
pub const FILE: &str = "operator.token";

/// Why there is no operator token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No randomness.
    #[error("the operating system has no randomness to give")]
    Randomness(#[from] getrandom::Error),
    /// The store failed.
    #[error("cannot store the operator's token")]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("cannot write the operator's token to {path}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Makes the token unless the store has one of this operator, and says whether it did. The file is written before the token is
/// stored: a crash between the two leaves a file that opens nothing, and the next start writes another.
///
/// # Errors
///
/// If the file cannot be written or the store fails.
pub async fn ensure(store: &dyn Store, state_dir: &Path) -> Result<bool, TokenError> {
    let identity = Identity::Operator(OperatorName::first());
    if store.tokens().await?.iter().any(|token| token.identity == identity) {
        return Ok(false);
    }
    let secret = Secret::generate(&identity)?;
    let path = state_dir.join(FILE);
    write(&path, secret.expose()).map_err(|source| TokenError::File { path, source })?;
    let (digest, roles) = (secret.digest(), BTreeSet::new());
    store.add_token(StoredToken { digest, identity, roles, created_at: clock::now() }).await?;
    Ok(true)
}

/// Whole or not at all, and never readable by others, not even for a moment.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let beside = path.with_extension("token.new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::token;

    #[tokio::test]
    async fn the_token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = MemoryStore::default();
        assert!(ensure(&store, folder.path()).await.expect("made"));
        let path = folder.path().join(FILE);
        let secret = fs::read_to_string(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let tokens = store.tokens().await.expect("stored");
        let known = token::identify(&Secret::presented(secret.trim()), &tokens).map(|token| &token.identity);
        assert_eq!(known, Some(&Identity::Operator(OperatorName::first())));

        assert!(!ensure(&store, folder.path()).await.expect("kept"));
        assert_eq!(fs::read_to_string(&path).expect("still there"), secret);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named() {
        let error = ensure(&MemoryStore::default(), Path::new("/nowhere")).await.expect_err("no folder");
        assert!(error.to_string().contains("/nowhere/operator.token"), "{error}");
    }
}
