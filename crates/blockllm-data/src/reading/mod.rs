//! Reading shards: files, gzip members, bounded lines, JSON objects; and what becomes of a document that is none.
mod gzip_members;
mod json_line;
pub(crate) mod json_records;
mod lines;
pub(crate) mod parquet_rows;
pub mod shard_hashes;
pub mod shard_reader;

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How shards are read. It changes no batch of data that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadingConfig {
    /// What becomes of a document that is broken.
    pub bad_documents: BadDocuments,
    /// The longest line of a shard, in bytes; a longer one is a bad document. Memory for a line is asked for up to here.
    pub max_line_bytes: usize,
}

impl Default for ReadingConfig {
    fn default() -> Self {
        Self {
            bad_documents: BadDocuments::Stop,
            max_line_bytes: 64 << 20,
        }
    }
}

/// What becomes of a document that is broken: a line that is no JSON object, has no `text`, or is too long; a record that is no
/// example; a text that the tokenizer or the chat template refuses; and of a shard that is empty, cut short or corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadDocuments {
    /// An error that names file and line.
    #[default]
    Stop,
    /// It is left out and counted in [`Skipped`]; the documents after it are used.
    Skip,
}

impl FromStr for BadDocuments {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stop" => Ok(Self::Stop),
            "skip" => Ok(Self::Skip),
            _ => Err(format!("`{text}` is neither stop nor skip")),
        }
    }
}

/// What was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Skipped {
    /// Documents.
    pub documents: u64,
    /// Shards that hold no document, or whose rest could not be read.
    pub shards: u64,
}

impl Skipped {
    /// Whether nothing was left out.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let Self { documents, shards } = *self;
        write!(
            formatter,
            "{documents} document{} and {shards} shard{}",
            plural(documents),
            plural(shards)
        )
    }
}

impl AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.documents = self.documents.saturating_add(other.documents);
        self.shards = self.shards.saturating_add(other.shards);
    }
}

impl BadDocuments {
    /// Counts `error` where it is about one document or one shard and those are to be skipped; else gives it back.
    pub(crate) fn pass(self, error: DataError, skipped: &mut Skipped) -> Result<(), DataError> {
        match self {
            Self::Skip if error.is_about_a_document() => skipped.documents += 1,
            Self::Skip if error.is_about_a_shard() => skipped.shards += 1,
            _ => return Err(error),
        }
        Ok(())
    }
}
