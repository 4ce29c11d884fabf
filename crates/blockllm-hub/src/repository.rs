//! The name of a repository: `owner/name`, as the hub allows it.
use std::fmt;
use std::str::FromStr;

/// A model repository, its main branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    /// Its folder in a cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

/// Not the name of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no repository of the hub: its name has the form owner/name, in letters, digits, `-`, `_` and `.`"
)]
pub struct NameError {
    name: String,
}

impl FromStr for Repository {
    type Err = NameError;

    /// # Errors
    /// When `text` is not two words of letters, digits, `-`, `_` and `.` with a slash between, as the hub has them.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_word = |word: &str| {
            !word.is_empty()
                && !word.starts_with(['.', '-'])
                && !word.ends_with(['.', '-'])
                && !word.contains("--")
                && !word.contains("..")
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_word(owner) && is_word(name) => Ok(Self {
                owner: owner.into(),
                name: name.into(),
            }),
            _ => Err(NameError { name: text.into() }),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.owner, self.name)
    }
}
