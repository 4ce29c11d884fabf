//! What a corpus is made of: numbered documents in two splits.

use crate::DataError;

/// Documents to learn from, or documents to be measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// To learn from.
    Train,
    /// To be measured on; never seen in training.
    Validation,
}

impl Split {
    /// `train` or `validation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// A document's place in its corpus, the same in every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// The shard, counted from 0 in the order of names.
    pub shard: u32,
    /// The document in its shard, counted from 0.
    pub index: u32,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its place in the corpus.
    pub id: DocumentId,
    /// Its text.
    pub text: String,
}

/// An owned stream of documents, as errors may come in the midst of a shard.
pub type Documents = Box<dyn Iterator<Item = Result<Document, DataError>> + Send>;
