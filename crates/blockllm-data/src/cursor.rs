//! A place in the order of batches, small enough for every checkpoint.

use serde::{Deserialize, Serialize};

/// Where the next batch starts. A loader resumed here gives the batches that a never-stopped one would have
/// given.
///
/// The place is kept in documents, so that resuming reads the epoch's earlier documents but tokenizes none of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Batches handed out so far.
    pub batches: u64,
    /// The epoch in which the next batch starts, from 0.
    pub epoch: u64,
    /// Documents of that epoch that are used up.
    pub document: u64,
    /// Tokens already used of the document after those (`Packed` only).
    pub token_offset: u64,
    /// Names the corpus, tokenizer and settings that this order of batches belongs to.
    pub fingerprint: String,
}

impl Cursor {
    /// The place before the first batch.
    pub fn start(fingerprint: String) -> Self {
        Self {
            batches: 0,
            epoch: 0,
            document: 0,
            token_offset: 0,
            fingerprint,
        }
    }
}
