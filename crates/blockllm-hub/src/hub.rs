//! The hub: a cache on this machine, and where to get what it lacks.
use crate::download::{Download, Progress};
use crate::listing::Listing;
use crate::{Cache, HubError, Repository, TimeOuts};
use std::fmt;
use std::path::PathBuf;

/// The hub of Hugging Face.
const ENDPOINT: &str = "https://huggingface.co";

/// Finds models by the names of their repositories.
pub struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    is_offline: bool,
    time_outs: TimeOuts,
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Hub")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("is_offline", &self.is_offline)
            .field("time_outs", &self.time_outs)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub at `endpoint`, such as a mirror's, without a token.
    pub fn new(cache: Cache, endpoint: impl Into<String>) -> Self {
        Self {
            cache,
            endpoint: endpoint.into().trim_end_matches('/').to_owned(),
            token: None,
            is_offline: false,
            time_outs: TimeOuts::default(),
        }
    }

    /// As the environment says: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`.
    ///
    /// # Errors
    /// When nothing says where the cache is, or a token is none.
    pub fn from_env() -> Result<Self, HubError> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut hub = Self::new(
            Cache::from_env()?,
            of("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()),
        );
        hub.is_offline = of("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        match of("HF_TOKEN") {
            Some(token) => hub.with_token(&token),
            None => Ok(hub),
        }
    }

    /// With a token that may read what is private or gated.
    ///
    /// # Errors
    /// When it has characters that no token has.
    pub fn with_token(mut self, token: &str) -> Result<Self, HubError> {
        let token = token.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HubError::Environment {
                variable: "HF_TOKEN",
                found: "no token: it has characters that none has",
                mend: "copy it again from the settings of your account, or unset it",
            });
        }
        self.token = Some(token.to_owned());
        Ok(self)
    }

    /// With the network out of bounds.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.is_offline = true;
        self
    }

    /// With other time-outs.
    #[must_use]
    pub fn with_time_outs(mut self, time_outs: TimeOuts) -> Self {
        self.time_outs = time_outs;
        self
    }

    /// Where it keeps things.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The folder of a model: from the cache, else downloaded into it, which `told` is told of as it goes.
    ///
    /// # Errors
    /// When it is in neither place, the network fails, a file is not what the hub says, or the cache cannot be written. What has
    /// come stays, and the next call goes on with it.
    pub fn model(
        &self,
        repository: &Repository,
        told: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        if let Some(folder) = self.cache.snapshot(repository) {
            return Ok(folder);
        }
        if self.is_offline {
            return Err(HubError::Offline {
                repository: repository.clone(),
                cache: self.cache.dir().to_path_buf(),
            });
        }
        let download = Download::new(repository, &self.endpoint, self.token.as_deref(), self.time_outs);
        let url = format!(
            "{}/api/models/{repository}/revision/main?blobs=true",
            self.endpoint
        );
        let listing = Listing::parse(&download.text(&url)?, repository, &url)?;
        download.all(&listing, &self.cache.folder(repository)?, told)
    }
}
