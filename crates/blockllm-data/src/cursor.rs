//! A place in the order of batches, small enough for every checkpoint.

use serde::{Deserialize, Serialize};

use crate::DocumentPlace;

/// Where the next batch starts. A loader resumed here gives the batches that a never-stopped one would have
/// given.
///
/// The place is kept in documents, so that resuming reads earlier documents but tokenizes only the unfinished
/// ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Batches handed out so far.
    pub batches: u64,
    /// The first document that no row has taken; just behind an epoch's last document where that was the last
    /// taken.
    pub next: DocumentPlace,
    /// The documents that rows were in the midst of, in the order of rows (`Packed` only); every other row
    /// ended with its document.
    pub unfinished: Vec<UnfinishedDocument>,
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
    pub document: DocumentPlace,
    /// Its tokens that are already used.
    pub token_offset: u64,
}

impl Cursor {
    /// The place before the first batch.
    pub fn start(fingerprint: String) -> Self {
        Self {
            batches: 0,
            next: DocumentPlace::START,
            unfinished: Vec::new(),
            fingerprint,
        }
    }
}
