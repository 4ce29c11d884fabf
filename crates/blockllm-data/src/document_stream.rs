//! The train documents, epoch after epoch without end, shuffled anew in each, from any place on.
//!
//! An epoch reads its shards in an order of its own and is cut into blocks of documents as they are read; each block is
//! given in an order of its own. While a block is given, the next one is read, document for document, so that there are
//! never more documents in memory than one block has. A place is the beginning of a block and how much of it was given,
//! so going there reads one shard up to that block, and the block: nothing of what was before.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::documents::{Document, Documents, ReadPlace};
use crate::reading::Skipped;
use crate::shuffle::{block_rng, shuffle};
use crate::{Corpus, DataError};

/// A block ends here even if it has fewer documents, so that books fit into memory as web pages do.
const BLOCK_BYTES: usize = 256 << 20;

/// A place between two documents of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentPlace {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The documents before it in this epoch.
    pub document: u64,
    /// The block, from 0 in the epoch.
    pub block: u64,
    /// Where the block begins.
    pub block_start: ReadPlace,
    /// The documents before it in its block.
    pub taken: u64,
}

impl DocumentPlace {
    /// Before the very first document.
    pub const START: Self = Self::start_of(0);

    const fn start_of(epoch: u64) -> Self {
        Self {
            epoch,
            document: 0,
            block: 0,
            block_start: ReadPlace::START,
            taken: 0,
        }
    }
}

impl fmt::Display for DocumentPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            block,
            taken,
            block_start: ReadPlace { shard, document },
            ..
        } = self;
        write!(
            formatter,
            "document {taken} of block {block} of epoch {epoch}, which begins at document {document} of the shard read as \
             number {shard}"
        )
    }
}

/// An endless stream of train documents. Nothing is read before the first is asked for.
pub struct DocumentStream {
    corpus: Corpus,
    block_documents: usize,
    seed: u64,
    position: DocumentPlace,
    /// Documents left out up to the end of the present block.
    skipped: Skipped,
    /// The rest of the present block, its next document last.
    present: Vec<Document>,
    /// `None` until the epoch's first block is asked for.
    reading: Option<Reading>,
    is_over: bool,
}

/// An epoch while it is read.
struct Reading {
    documents: Documents,
    coming: Block,
    block_documents: usize,
}

/// A block while it is read.
struct Block {
    number: u64,
    start: ReadPlace,
    documents: Vec<Document>,
    bytes: usize,
    is_whole: bool,
    skipped: Skipped,
}

impl Block {
    fn new(number: u64, start: ReadPlace) -> Self {
        Self {
            number,
            start,
            documents: Vec::new(),
            bytes: 0,
            is_whole: false,
            skipped: Skipped::default(),
        }
    }
}

impl Reading {
    /// Reads one document of the coming block, if it is to have more. What cannot be read is told at once, and not when
    /// training gets there.
    fn read_one(&mut self) -> Result<(), DataError> {
        let block = &mut self.coming;
        if block.is_whole {
            return Ok(());
        }
        let before = self.documents.skipped();
        match self.documents.next().transpose()? {
            Some(document) => {
                block.bytes += document.text.len();
                block.documents.push(document);
                block.is_whole = block.documents.len() >= self.block_documents || block.bytes >= BLOCK_BYTES;
            }
            None => block.is_whole = true,
        }
        let after = self.documents.skipped();
        block.skipped += Skipped {
            documents: after.documents - before.documents,
            shards: after.shards - before.shards,
        };
        Ok(())
    }

    /// Reads the rest of the coming block and takes it; after it the next one comes.
    fn take_block(&mut self) -> Result<Block, DataError> {
        while !self.coming.is_whole {
            self.read_one()?;
        }
        let next = Block::new(self.coming.number.saturating_add(1), self.documents.place());
        Ok(std::mem::replace(&mut self.coming, next))
    }
}

impl DocumentStream {
    /// The stream from its beginning. `block_documents` are shuffled together; 0 or 1 keeps the corpus's order.
    pub fn new(corpus: Corpus, block_documents: usize, seed: u64) -> Self {
        Self {
            corpus,
            block_documents: block_documents.max(1),
            seed,
            position: DocumentPlace::START,
            skipped: Skipped::default(),
            present: Vec::new(),
            reading: None,
            is_over: false,
        }
    }

    /// The place after the last document, still in that document's block.
    pub fn position(&self) -> DocumentPlace {
        self.position
    }

    /// What was left out up to the end of the present block.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Goes to `place`, where `skipped` was left out already. Reads the block that it is in, and passes over what is
    /// before that block in its shard.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::CursorPlace`] when the corpus has no such place.
    pub fn seek(&mut self, place: DocumentPlace, skipped: Skipped) -> Result<(), DataError> {
        let mut reading = self.open(place.epoch, place.block, place.block_start);
        let is_there = reading.documents.seek(place.block_start)?;
        let block = reading.take_block()?;
        let taken = usize::try_from(place.taken).unwrap_or(usize::MAX);
        let Some(kept) = block.documents.len().checked_sub(taken).filter(|_| is_there) else {
            return Err(self.corpus.no_such_place(place.to_string()));
        };
        self.skipped = skipped;
        if taken == 0 {
            self.skipped += block.skipped;
        }
        self.present = self.in_order(block.documents, place);
        self.present.truncate(kept);
        // In the run that was here before, the next block had been read as far.
        for _ in 0..taken {
            reading.read_one()?;
        }
        self.reading = Some(reading);
        self.position = place;
        self.is_over = false;
        Ok(())
    }

    /// The next document; at the end of an epoch the first of the next.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::EmptySplit`] when an epoch has no document; after that
    /// [`DataError::LoaderStopped`].
    pub fn next_document(&mut self) -> Result<Document, DataError> {
        if self.is_over {
            return Err(DataError::LoaderStopped {
                found: "an earlier error ended the documents",
            });
        }
        let next = self.try_next();
        self.is_over = next.is_err();
        next
    }

    fn try_next(&mut self) -> Result<Document, DataError> {
        let first_epoch = self.position.epoch;
        loop {
            if let Some(document) = self.present.pop() {
                self.position.document = self.position.document.saturating_add(1);
                self.position.taken += 1;
                if let Some(reading) = &mut self.reading {
                    reading.read_one()?;
                }
                return Ok(document);
            }
            match self.position.epoch.checked_sub(first_epoch) {
                Some(0 | 1) => self.next_block()?,
                _ => return Err(self.empty()),
            }
        }
    }

    /// The error that says that the train split is empty.
    pub(crate) fn empty(&self) -> DataError {
        DataError::EmptySplit {
            split: "train",
            corpus: self.corpus.describe().to_owned(),
            mend: "Give a corpus with more documents",
        }
    }

    fn open(&self, epoch: u64, block: u64, start: ReadPlace) -> Reading {
        Reading {
            documents: self.corpus.epoch_documents(self.seed, epoch),
            coming: Block::new(block, start),
            block_documents: self.block_documents,
        }
    }

    /// Makes the coming block the present one; behind the last one goes to the next epoch.
    fn next_block(&mut self) -> Result<(), DataError> {
        let epoch = self.position.epoch;
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.open(epoch, 0, ReadPlace::START),
        };
        let block = reading.take_block()?;
        self.skipped += block.skipped;
        if block.documents.is_empty() {
            self.position = DocumentPlace::start_of(epoch.saturating_add(1));
            return Ok(());
        }
        self.reading = Some(reading);
        self.position = DocumentPlace {
            block: block.number,
            block_start: block.start,
            taken: 0,
            ..self.position
        };
        self.present = self.in_order(block.documents, self.position);
        Ok(())
    }

    /// The documents of the block of `place`, the first to be given last.
    fn in_order(&self, mut documents: Vec<Document>, place: DocumentPlace) -> Vec<Document> {
        if self.block_documents > 1 {
            shuffle(&mut documents, block_rng(self.seed, place.epoch, place.block));
        }
        documents.reverse();
        documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;

    fn stream(documents: usize, seed: u64) -> DocumentStream {
        let texts = (0..documents).map(|i| format!("text {i}")).collect();
        DocumentStream::new(
            Corpus::from_documents("test", texts, vec!["held out".into()]),
            16,
            seed,
        )
    }

    fn take(stream: &mut DocumentStream, n: usize) -> Vec<String> {
        (0..n).map(|_| stream.next_document().unwrap().text).collect()
    }

    #[test]
    fn every_epoch_is_another_permutation_of_the_same_documents() {
        let mut stream = stream(50, 1);
        let (first, second) = (take(&mut stream, 50), take(&mut stream, 50));
        let end = stream.position();
        assert_eq!((end.epoch, end.document, end.block, end.taken), (1, 50, 3, 2));
        assert_ne!(first, second);
        let sorted = |mut texts: Vec<String>| {
            texts.sort();
            texts
        };
        assert_eq!(sorted(first), sorted(second));
    }

    #[test]
    fn seeking_onwards_and_back_gives_the_documents_that_running_gives() {
        let (mut run, mut sought) = (stream(50, 1), stream(50, 1));
        let mut all = Vec::new();
        for _ in 0..170 {
            all.push((run.position(), run.next_document().unwrap()));
        }
        for at in [63, 70, 64, 64, 0, 49, 50, 150, 99, 16, 32, 100] {
            sought.seek(all[at].0, Skipped::default()).unwrap();
            for (place, expected) in &all[at..at + 20] {
                assert_eq!(sought.position(), *place);
                assert_eq!(&sought.next_document().unwrap(), expected);
            }
        }
    }

    #[test]
    fn places_that_the_corpus_does_not_have_are_refused() {
        let mut run = stream(50, 1);
        take(&mut run, 50);
        let end = run.position();
        let shard = |shard, document| DocumentPlace {
            block_start: ReadPlace { shard, document },
            ..end
        };
        for missing in [
            DocumentPlace { taken: 3, ..end },
            DocumentPlace {
                taken: u64::MAX,
                ..end
            },
            shard(0, 51),
            shard(0, u64::MAX),
            shard(1, 1),
            shard(7, 0),
            shard(u64::MAX, u64::MAX),
        ] {
            let refused = stream(50, 1).seek(missing, Skipped::default());
            assert!(matches!(refused, Err(DataError::CursorPlace { .. })), "{missing}");
        }
    }

    #[test]
    fn held_out_documents_are_never_trained_on_and_no_document_is_lost() {
        let texts: Vec<String> = (0..400).map(|i| format!("text {i}")).collect();
        let corpus = Corpus::from_documents("test", texts, vec![]);
        let count = |split| corpus.documents(split).count();
        assert_eq!(count(Split::Train) + count(Split::Validation), 400);
        assert!(
            (8..40).contains(&count(Split::Validation)),
            "about one in 20 is held out"
        );
    }

    #[test]
    fn a_corpus_without_documents_is_an_error_and_not_an_endless_loop() {
        let mut empty = stream(0, 1);
        assert!(matches!(empty.next_document(), Err(DataError::EmptySplit { .. })));
        assert!(matches!(
            empty.next_document(),
            Err(DataError::LoaderStopped { .. })
        ));
    }
}
