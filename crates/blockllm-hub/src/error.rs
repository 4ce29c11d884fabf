//! What can go wrong with a repository: every variant says which, what was found, and what to do.
use crate::{NameError, Repository};
use std::io;
use std::path::{Path, PathBuf};

/// An error of a lookup or a download.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not the name of a repository.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No variable says where the cache is.
    #[error(
        "no HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or HOME says where the hub's cache is; set one of them"
    )]
    NoCache,
    /// The environment has something that is no setting.
    #[error("{variable} is {found}; {mend}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it; for a token not the token.
        found: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// Not in the cache, and the network shall not be used.
    #[error(
        "{repository} is not in the hub's cache at {}, and HF_HUB_OFFLINE forbids to download it; \
         unset that, copy the repository there, or name a folder", cache.display()
    )]
    Offline {
        /// The repository.
        repository: Repository,
        /// Where it is not.
        cache: PathBuf,
    },
    /// The hub cannot be reached, or stops answering.
    #[error(
        "{repository}: {url} does not answer ({reason}); what has come is kept, and the same line goes on with it; \
         without a network copy the repository from a machine that has it, and name its folder"
    )]
    Network {
        /// The repository.
        repository: Repository,
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The hub does not show the repository to us.
    #[error(
        "{repository}: the hub answers {status}: there is no such repository, or it is private or gated; look at its name, accept \
         its terms on its page, and set HF_TOKEN to a token that may read it ({token})"
    )]
    Refused {
        /// The repository.
        repository: Repository,
        /// The HTTP status.
        status: u16,
        /// Whether one was sent.
        token: &'static str,
    },
    /// The hub answers with another status than it should.
    #[error("{repository}: {url} answers with status {status}; try again later")]
    Status {
        /// The repository.
        repository: Repository,
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that is not the hub's.
    #[error(
        "{repository}: {url} does not answer as the hub does: {found}; look at HF_ENDPOINT and at proxies"
    )]
    Answer {
        /// The repository.
        repository: Repository,
        /// What was asked for.
        url: String,
        /// What is wrong.
        found: String,
    },
    /// A repository without what is needed.
    #[error("{repository} has no {missing}; {mend}")]
    NoModel {
        /// The repository.
        repository: Repository,
        /// What is not there.
        missing: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// A file that is not what the hub says.
    #[error(
        "{repository}: {file} has come with another hash than the hub names ({found} in place of {expected}), and was removed; \
         run the same line again, and if that fails too, look at proxies between here and the hub"
    )]
    Hash {
        /// The repository.
        repository: Repository,
        /// The file.
        file: String,
        /// The hub's hash.
        expected: String,
        /// What came.
        found: String,
    },
    /// The operating system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl HubError {
    /// Makes an [`Io`](Self::Io) of what `action` on `path` gave.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }
}
