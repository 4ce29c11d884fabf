//! The train documents, epoch after epoch without end, shuffled anew in each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::documents::{Document, Documents};
use crate::shuffle::{Purpose, Shuffled, epoch_rng};
use crate::{Corpus, DataError};

/// A document's number in the stream of train documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentPlace {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The document in the shuffled order of that epoch, from 0.
    pub document: u64,
}

impl DocumentPlace {
    /// The very first document.
    pub const START: Self = Self {
        epoch: 0,
        document: 0,
    };
}

impl fmt::Display for DocumentPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "document {} of epoch {}", self.document, self.epoch)
    }
}

/// An endless stream of train documents.
///
/// Each epoch is shuffled from (seed, epoch) alone, so an epoch can be entered without running those before
/// it.
pub struct DocumentStream {
    corpus: Corpus,
    shuffle_buffer: usize,
    seed: u64,
    position: DocumentPlace,
    documents: Shuffled<Documents, Document>,
}

impl DocumentStream {
    /// The stream from its beginning. `shuffle_buffer` is in documents; 0 or 1 keeps the corpus's order.
    pub fn new(corpus: Corpus, shuffle_buffer: usize, seed: u64) -> Self {
        let position = DocumentPlace::START;
        let documents = open_epoch(&corpus, shuffle_buffer, seed, position.epoch);
        Self {
            corpus,
            shuffle_buffer,
            seed,
            position,
            documents,
        }
    }

    /// The place after the last document, still in that document's epoch.
    pub fn position(&self) -> DocumentPlace {
        self.position
    }

    /// Goes to `place`; reads the documents before it that lie in the same epoch and after the present
    /// position, but nobody tokenizes them.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::CursorPlace`] when the epoch has fewer documents.
    pub fn seek(&mut self, place: DocumentPlace) -> Result<(), DataError> {
        if place.epoch != self.position.epoch || place < self.position {
            self.enter(place.epoch);
        }
        while self.position < place {
            self.next_of_epoch()?
                .ok_or_else(|| self.no_such_place(place.to_string()))?;
        }
        Ok(())
    }

    /// The document at `place`; the stream goes on after it.
    ///
    /// # Errors
    /// As [`DocumentStream::seek`].
    pub fn document_at(&mut self, place: DocumentPlace) -> Result<Document, DataError> {
        self.seek(place)?;
        self.next_of_epoch()?
            .ok_or_else(|| self.no_such_place(place.to_string()))
    }

    /// The next document and its place; at the end of an epoch the first of the next.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::EmptySplit`] when an epoch has no document.
    pub fn next_document(&mut self) -> Result<(DocumentPlace, Document), DataError> {
        let place = self.position;
        if let Some(document) = self.next_of_epoch()? {
            return Ok((place, document));
        }
        self.enter(place.epoch + 1);
        let place = self.position;
        let document = self.next_of_epoch()?.ok_or_else(|| self.empty())?;
        Ok((place, document))
    }

    /// The error that says that the train split is empty.
    pub(crate) fn empty(&self) -> DataError {
        DataError::EmptySplit {
            split: "train",
            corpus: self.corpus.describe().to_owned(),
            mend: "Give a corpus with more documents",
        }
    }

    /// The error that says that a cursor points to what this run does not have.
    pub(crate) fn no_such_place(&self, place: String) -> DataError {
        DataError::CursorPlace {
            place,
            corpus: self.corpus.describe().to_owned(),
        }
    }

    fn next_of_epoch(&mut self) -> Result<Option<Document>, DataError> {
        let document = self.documents.next().transpose()?;
        self.position.document += u64::from(document.is_some());
        Ok(document)
    }

    fn enter(&mut self, epoch: u64) {
        self.documents = open_epoch(&self.corpus, self.shuffle_buffer, self.seed, epoch);
        self.position = DocumentPlace { epoch, document: 0 };
    }
}

fn open_epoch(
    corpus: &Corpus,
    shuffle_buffer: usize,
    seed: u64,
    epoch: u64,
) -> Shuffled<Documents, Document> {
    let documents = corpus.epoch_documents(seed, epoch);
    Shuffled::new(documents, shuffle_buffer, epoch_rng(seed, epoch, Purpose::Buffer))
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
        (0..n).map(|_| stream.next_document().unwrap().1.text).collect()
    }

    #[test]
    fn every_epoch_is_another_permutation_of_the_same_documents() {
        let mut stream = stream(50, 1);
        let (first, second) = (take(&mut stream, 50), take(&mut stream, 50));
        let end = DocumentPlace {
            epoch: 1,
            document: 50,
        };
        assert_eq!(stream.position(), end);
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
        let all: Vec<_> = (0..170).map(|_| run.next_document().unwrap()).collect();
        for at in [63, 70, 64, 64, 0, 49, 50, 150, 99] {
            let (place, document) = &all[at];
            assert_eq!(&sought.document_at(*place).unwrap(), document);
            sought.seek(*place).unwrap();
            for expected in &all[at..at + 20] {
                assert_eq!(&sought.next_document().unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_place_behind_the_last_document_of_an_epoch_can_be_sought_but_holds_no_document() {
        let place = |document| DocumentPlace { epoch: 0, document };
        let mut stream = stream(50, 1);
        stream.seek(place(50)).unwrap();
        for missing in [stream.document_at(place(50)).err(), stream.seek(place(51)).err()] {
            assert!(matches!(missing, Some(DataError::CursorPlace { .. })));
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
        assert!(matches!(
            stream(0, 1).next_document(),
            Err(DataError::EmptySplit { .. })
        ));
    }
}
