//! Git, read in process: addresses, a bare mirror and what is fetched into it, objects, trees and work trees.
//!
//! Nothing is ever checked out and no `git` command is run to read: objects come straight from the object database.
//! Only a fetch starts a program, and only for a local repository (`git upload-pack`) or an SSH one (`ssh`), with its
//! arguments as a list; HTTPS needs none.
//!
//! | module | its one job |
//! |---|---|
//! | [`url`](RemoteUrl) | which addresses are accepted, and how they are shown |
//! | `error` | what can go wrong, and what to do about it |
//! | `objects` | open an object database; ancestry and commits |
//! | `signature` | which key the signature of a commit names |
//! | `read` | the [`Tree`](gitops_core::tree::Tree) of a revision, sharing what the last one read |
//! | `worktree` | the same `Tree` from files on disk |
//! | `transport` | the programs and the HTTPS client that a fetch goes through |
//! | `mirror` | the bare mirror under the state folder |
//! | `refs` | the branches of a repository on this machine, for those who watch them |
//! | `repository` | the repository around a folder, for the command line |
//! | `range` | what is compared with what: `BASE..HEAD` and the two sides that it means |
//! | `push` | a push that is not accepted yet: the references it moves, and where its objects are |
//! | `write` | one changed file as a commit on a new branch |

mod changes;
mod error;
mod mirror;
mod objects;
mod read;
mod refs;
mod repository;
mod range;
mod push;
mod signature;
mod transport;
mod url;
pub mod worktree;
mod write;

#[cfg(test)]
pub(crate) mod testing;

pub use error::GitError;
pub use mirror::{Mirror, MirrorConfig};
pub use push::{MAX_UPDATES, Update, UpdatesError, object_folders, updates};
pub use range::{Range, Side, Sides};
pub use read::{Scope, TreeCache};
pub use refs::{branch_tip, refs_folder};
pub use repository::{Branch, Repository};
pub use transport::{Access, SshOptions, Token};
pub(crate) use url::is_loopback;
pub use url::{RemoteUrl, SshAddress, UrlError};
pub use write::{Draft, Edit};
