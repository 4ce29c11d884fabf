//! The train documents, epoch after epoch without end, shuffled anew in each.

use crate::documents::{Document, Documents};
use crate::shuffle::{Purpose, Shuffled, epoch_rng};
use crate::{Corpus, DataError};

/// An endless stream of train documents.
///
/// Each epoch is shuffled from (seed, epoch) alone, so an epoch can be entered without running those before
/// it.
pub struct DocumentStream {
    corpus: Corpus,
    shuffle_buffer: usize,
    seed: u64,
    epoch: u64,
    taken: u64,
    documents: Shuffled<Documents, Document>,
}

impl DocumentStream {
    /// The stream from its beginning. `shuffle_buffer` is in documents; 0 or 1 keeps the corpus's order.
    pub fn new(corpus: Corpus, shuffle_buffer: usize, seed: u64) -> Self {
        let documents = open_epoch(&corpus, shuffle_buffer, seed, 0);
        Self {
            corpus,
            shuffle_buffer,
            seed,
            epoch: 0,
            taken: 0,
            documents,
        }
    }

    /// The epoch of the last document, and how many documents of that epoch were taken.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.taken)
    }

    /// The corpus that the documents come from.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// Goes to the place in `epoch` after `taken` documents; reads those documents, but nobody tokenizes
    /// them.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::EmptySplit`] when the epoch has fewer documents.
    pub fn seek(&mut self, epoch: u64, taken: u64) -> Result<(), DataError> {
        self.enter(epoch);
        while self.taken < taken {
            self.documents.next().transpose()?.ok_or_else(|| self.empty())?;
            self.taken += 1;
        }
        Ok(())
    }

    /// The next document; at the end of an epoch the first of the next.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::EmptySplit`] when an epoch has no document.
    pub fn next_document(&mut self) -> Result<Document, DataError> {
        let document = if let Some(document) = self.documents.next() {
            document?
        } else {
            self.enter(self.epoch + 1);
            self.documents.next().transpose()?.ok_or_else(|| self.empty())?
        };
        self.taken += 1;
        Ok(document)
    }

    /// The error that says that the train split is empty.
    pub(crate) fn empty(&self) -> DataError {
        DataError::EmptySplit {
            split: "train",
            corpus: self.corpus.describe().to_owned(),
            mend: "Give a corpus with more documents",
        }
    }

    fn enter(&mut self, epoch: u64) {
        self.documents = open_epoch(&self.corpus, self.shuffle_buffer, self.seed, epoch);
        self.epoch = epoch;
        self.taken = 0;
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
        (0..n).map(|_| stream.next_document().unwrap().text).collect()
    }

    #[test]
    fn every_epoch_is_another_permutation_of_the_same_documents() {
        let mut stream = stream(50, 1);
        let (first, second) = (take(&mut stream, 50), take(&mut stream, 50));
        assert_eq!(stream.position(), (1, 50));
        assert_ne!(first, second);
        let sorted = |mut texts: Vec<String>| {
            texts.sort();
            texts
        };
        assert_eq!(sorted(first), sorted(second));
    }

    #[test]
    fn seeking_gives_the_documents_that_running_gives() {
        let (mut run, mut sought) = (stream(50, 1), stream(50, 1));
        take(&mut run, 63);
        sought.seek(1, 13).unwrap();
        assert_eq!(take(&mut run, 60), take(&mut sought, 60));
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
