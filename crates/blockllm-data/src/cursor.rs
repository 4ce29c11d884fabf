//! A place in the order of batches, small enough for every checkpoint.

use serde::{Deserialize, Serialize};

use crate::{DocumentId, DocumentPlace, Skipped};

/// Where the next batch starts. A loader resumed here gives the batches that a never-stopped one would have given.
///
/// It names places on disk, so that resuming opens the shards of the block and of the unfinished documents only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Batches handed out so far.
    pub batches: u64,
    /// Behind the last document that a row has taken.
    pub next: DocumentPlace,
    /// The documents that rows were in the midst of, in the order of rows (`Packed` only); every other row ended with
    /// its document.
    pub unfinished: Vec<UnfinishedDocument>,
    /// What was left out so far; documents that could not be read count when the block that they are in begins.
    #[serde(default)]
    pub skipped: Skipped,
    /// Names the corpus, tokenizer and settings that this order of batches belongs to.
    pub fingerprint: String,
}

/// A document that goes on in the next batch, in the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnfinishedDocument {
    /// The row, from 0 to below the batch size.
    pub row: usize,
    /// The document.
    pub document: DocumentId,
    /// Its tokens that are already used, those around its text counted.
    pub token_offset: u64,
}

impl Cursor {
    /// The place before the first batch.
    pub fn start(fingerprint: String) -> Self {
        Self {
            batches: 0,
            next: DocumentPlace::START,
            unfinished: Vec::new(),
            skipped: Skipped::default(),
            fingerprint,
        }
    }
}
