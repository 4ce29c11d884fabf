//! The documents of a split, one after the other: from any place on, bad ones passed to the caller or counted.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::hashing::stable_hash;
use crate::reading::shard_hashes::ShardHashes;
use crate::reading::shard_reader::ShardReader;
use crate::reading::{ReadingConfig, Skipped};

/// Where a corpus has no validation documents of its own, one document in this many is held out of training.
pub const HOLD_OUT_ONE_IN: u64 = 20;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentId {
    /// The shard, counted from 0 in the order of names.
    pub shard: u32,
    /// The document in its shard, counted from 0; blank lines do not count, bad ones do.
    pub index: u64,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its place in the corpus.
    pub id: DocumentId,
    /// Its text.
    pub text: String,
}

/// How far an order of shards has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadPlace {
    /// Shards before this one, in the order in which they are read.
    pub shard: u64,
    /// Documents of it that were read.
    pub document: u64,
}

impl ReadPlace {
    /// Nothing was read.
    pub const START: Self = Self {
        shard: 0,
        document: 0,
    };
}

/// Where texts lie.
#[derive(Debug, Clone)]
pub(crate) enum Texts {
    /// In these shards, in the order of their names.
    Shards(Arc<[PathBuf]>, Arc<ShardHashes>),
    /// In memory: one shard.
    Memory(Arc<[String]>),
}

impl Texts {
    pub fn shards(&self) -> usize {
        match self {
            Self::Shards(paths, _) => paths.len(),
            Self::Memory(_) => 1,
        }
    }
}

/// A stream of documents. With [`BadDocuments::Stop`](crate::BadDocuments::Stop) it ends with the first error.
pub struct Documents {
    texts: Texts,
    /// The shards that are still to be read, by number, after those that were.
    order: Vec<usize>,
    place: ReadPlace,
    reader: Option<ShardReader>,
    held_out: Option<Split>,
    config: ReadingConfig,
    skipped: Skipped,
}

impl Documents {
    /// The documents of the shards in `order`; of a split that is held out by hash only those that belong to it.
    pub(crate) fn new(
        texts: Texts,
        order: Vec<usize>,
        held_out: Option<Split>,
        config: ReadingConfig,
    ) -> Self {
        Self {
            texts,
            order,
            place: ReadPlace::START,
            reader: None,
            held_out,
            config,
            skipped: Skipped::default(),
        }
    }

    /// Where the next document will be read.
    pub fn place(&self) -> ReadPlace {
        self.place
    }

    /// What was left out since the beginning, or since [`Documents::seek`].
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Goes to `place`: opens its shard alone and passes over the documents before it; `false` where there is no such
    /// place.
    ///
    /// # Errors
    /// What opening or decompressing the shard fails with.
    pub fn seek(&mut self, place: ReadPlace) -> Result<bool, DataError> {
        self.place = ReadPlace {
            shard: place.shard,
            document: 0,
        };
        self.reader = None;
        let Some(shard) = self.shard() else {
            let is_end = usize::try_from(place.shard).is_ok_and(|shard| shard == self.order.len());
            return Ok(is_end && place.document == 0);
        };
        let passed = match &self.texts {
            Texts::Memory(texts) => place.document.min(texts.len() as u64),
            // Nothing is opened for the beginning of a shard: it will be when it is read.
            Texts::Shards(..) if place.document == 0 => 0,
            Texts::Shards(..) => self.reader(shard).pass_over(place.document)?,
        };
        self.place.document = passed;
        Ok(passed == place.document)
    }

    /// As [`Documents::seek`], but goes on in the same shard where `place` lies further on in it.
    pub(crate) fn advance(&mut self, place: ReadPlace) -> Result<bool, DataError> {
        let Some(reader) = &mut self.reader else {
            return self.seek(place);
        };
        if self.place.shard != place.shard || self.place.document > place.document {
            return self.seek(place);
        }
        reader.pass_over(place.document - self.place.document)?;
        self.place.document = reader.documents();
        Ok(self.place == place)
    }

    fn shard(&self) -> Option<usize> {
        self.order.get(usize::try_from(self.place.shard).ok()?).copied()
    }

    fn reader(&mut self, shard: usize) -> &mut ShardReader {
        let Texts::Shards(paths, hashes) = &self.texts else {
            unreachable!("texts in memory need no reader");
        };
        self.reader
            .get_or_insert_with(|| ShardReader::with(paths[shard].clone(), self.config, Arc::clone(hashes)))
    }

    /// The next text of the present shard, as it stands there.
    fn next_of_shard(&mut self, shard: usize) -> Option<Result<String, DataError>> {
        if let Texts::Memory(texts) = &self.texts {
            let text = texts.get(self.place.document as usize)?.clone();
            self.place.document += 1;
            return Some(Ok(text));
        }
        let reader = self.reader(shard);
        let next = reader.next();
        self.place.document = reader.documents();
        next
    }

    fn next_shard(&mut self) {
        self.reader = None;
        self.place = ReadPlace {
            shard: self.place.shard + 1,
            document: 0,
        };
    }
}

impl Iterator for Documents {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let shard = self.shard()?;
            let index = self.place.document;
            match self.next_of_shard(shard) {
                None => self.next_shard(),
                Some(Ok(text)) if is_of(self.held_out, &text) => {
                    let id = DocumentId {
                        shard: shard as u32,
                        index,
                    };
                    return Some(Ok(Document { id, text }));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let ends_shard = !error.is_about_a_document();
                    if let Err(error) = self.config.bad_documents.pass(error, &mut self.skipped) {
                        self.order.clear();
                        return Some(Err(error));
                    }
                    if ends_shard {
                        self.next_shard();
                    }
                }
            }
        }
    }
}

/// Where a split is cut out of the train documents, a text's hash says which side it is on; equal texts stay together.
fn is_of(held_out: Option<Split>, text: &str) -> bool {
    held_out.is_none_or(|split| {
        let validates = stable_hash(text.as_bytes()).is_multiple_of(HOLD_OUT_ONE_IN);
        validates == (split == Split::Validation)
    })
}
