//! The endless stream of train documents as tokens, each document tokenized once where memory allows.

use std::sync::Arc;

use crate::tokenize_ahead::{TokenizeAhead, Work};
use crate::{
    BadDocuments, Corpus, DataError, DocumentId, DocumentPlace, DocumentStream, Layout, LoaderConfig,
    Skipped, TokenStore, Tokenizer, UnfinishedDocument,
};

/// Tokens of a text take about so many bytes of it; a corpus that is larger than the store could hold is not stored.
const BYTES_PER_TOKEN: u64 = 4;

/// Takes documents, has them tokenized ahead, and remembers.
pub(crate) struct TokenizedDocuments {
    corpus: Corpus,
    documents: DocumentStream,
    tokenizer: Arc<Tokenizer>,
    ahead: TokenizeAhead<Taken>,
    store: Option<TokenStore>,
    /// Tokens of a document that are ever needed.
    needed: usize,
    /// Behind the last document that was given, however far ahead the stream is.
    position: DocumentPlace,
    skipped: Skipped,
    /// Documents that the tokenizer refused.
    refused: u64,
}

/// A document, and how far the stream was when it was taken.
struct Taken {
    id: DocumentId,
    position: DocumentPlace,
    skipped: Skipped,
    is_stored: bool,
}

impl TokenizedDocuments {
    /// The stream from its beginning. Nothing is read before the first document is asked for.
    ///
    /// # Errors
    /// As [`Tokenizer::document_form`], and when a row has no room for a token.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: &LoaderConfig) -> Result<Self, DataError> {
        let needed = needed_tokens(&tokenizer, config)?;
        let is_small = corpus.train_bytes() / BYTES_PER_TOKEN <= config.cache_tokens as u64;
        let store = is_small.then(|| TokenStore::new(tokenizer.vocab_size(), config.cache_tokens));
        Ok(Self {
            documents: DocumentStream::new(corpus.clone(), config.shuffle_buffer, config.seed),
            corpus,
            ahead: TokenizeAhead::new(Arc::clone(&tokenizer), needed, config.threads),
            tokenizer,
            store,
            needed,
            position: DocumentPlace::START,
            skipped: Skipped::default(),
            refused: 0,
        })
    }

    /// The place after the last document.
    pub fn position(&self) -> DocumentPlace {
        self.position
    }

    /// What was left out so far.
    pub fn skipped(&self) -> Skipped {
        let mut skipped = self.skipped;
        skipped += Skipped {
            documents: self.refused,
            shards: 0,
        };
        skipped
    }

    /// As [`DocumentStream::seek`], on a stream that has not begun; tokenizes nothing.
    ///
    /// # Errors
    /// As [`DocumentStream::seek`].
    pub fn seek(&mut self, place: DocumentPlace, skipped: Skipped) -> Result<(), DataError> {
        (self.position, self.skipped) = (place, skipped);
        self.documents.seek(place, skipped)
    }

    /// The next document that has any token, and its tokens.
    ///
    /// # Errors
    /// What reading or tokenizing fails with, and [`DataError::EmptySplit`] when no document has a token.
    pub fn next_document(&mut self) -> Result<(DocumentId, Vec<u32>), DataError> {
        let first_epoch = self.position.epoch;
        loop {
            let (documents, store) = (&mut self.documents, &self.store);
            let mut work = || {
                let document = documents.next_document()?;
                let known = store.as_ref().and_then(|store| store.get(document.id));
                let taken = Taken {
                    id: document.id,
                    position: documents.position(),
                    skipped: documents.skipped(),
                    is_stored: known.is_some(),
                };
                Ok(Some((
                    taken,
                    known.map_or(Work::Text(document.text), Work::Tokens),
                )))
            };
            let next = self.ahead.next(&mut work)?;
            let (taken, tokens) = next.ok_or(DataError::LoaderStopped {
                found: "an earlier error ended the documents",
            })?;
            (self.position, self.skipped) = (taken.position, taken.skipped);
            match tokens {
                Ok(tokens) if !tokens.is_empty() => {
                    self.remember(&taken, &tokens);
                    return Ok((taken.id, tokens));
                }
                Ok(_) => {}
                Err(error) => self.refuse(error)?,
            }
            if self.position.epoch > first_epoch.saturating_add(1) {
                return Err(self.documents.empty());
            }
        }
    }

    /// The tokens of the documents that rows were in the midst of, in the same order.
    ///
    /// # Errors
    /// What reading or tokenizing fails with, and [`DataError::CursorPlace`] when there is no such document.
    pub fn unfinished(&self, unfinished: &[UnfinishedDocument]) -> Result<Vec<Vec<u32>>, DataError> {
        let documents = self
            .corpus
            .documents_at(unfinished.iter().map(|one| one.document))?;
        unfinished
            .iter()
            .map(|one| {
                let text = documents
                    .get(&one.document)
                    .map(|document| document.text.as_str());
                self.tokenizer
                    .encode_beginning(text.unwrap_or_default(), self.needed)
            })
            .collect()
    }

    /// As [`Corpus::no_such_place`].
    pub fn no_such_place(&self, place: String) -> DataError {
        self.corpus.no_such_place(place)
    }

    fn refuse(&mut self, error: DataError) -> Result<(), DataError> {
        let mut refused = Skipped::default();
        let policy: BadDocuments = self.corpus.reading().bad_documents;
        policy.pass(error, &mut refused)?;
        self.refused += refused.documents;
        Ok(())
    }

    /// A store that holds a part of the corpus only would take memory and save little: it is given up.
    fn remember(&mut self, taken: &Taken, tokens: &[u32]) {
        let Some(store) = &mut self.store else { return };
        if !taken.is_stored && !store.insert(taken.id, tokens) {
            self.store = None;
        }
    }
}

/// Tokens of a document that a row can hold.
///
/// # Errors
/// As [`Tokenizer::document_form`], and when a row has no room for a token.
pub(crate) fn needed_tokens(tokenizer: &Tokenizer, config: &LoaderConfig) -> Result<usize, DataError> {
    let room = tokenizer.document_form()?.room(config.seq_len)?;
    Ok(match config.layout {
        Layout::TruncateAndPad => room,
        Layout::Packed => usize::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(cache_tokens: usize) -> TokenizedDocuments {
        let texts: Vec<String> = (0..40).map(|i| format!("{i}{i}{i}")).collect();
        let tokenizer = Tokenizer::train_byte_level_bpe(vec!["x".to_owned()], 258).unwrap();
        let config = LoaderConfig {
            cache_tokens,
            threads: 1,
            ..LoaderConfig::default()
        };
        let corpus = Corpus::from_documents("test", texts, vec!["held out".into()]);
        TokenizedDocuments::new(corpus, Arc::new(tokenizer), &config).unwrap()
    }

    #[test]
    fn a_corpus_is_kept_whole_or_not_at_all() {
        // A byte is a token here, and 210 of them were taken for 52.
        for (cache_tokens, is_begun, is_kept) in [(10, false, false), (100, true, false), (300, true, true)] {
            let mut documents = documents(cache_tokens);
            assert_eq!(documents.store.is_some(), is_begun);
            for _ in 0..40 {
                documents.next_document().unwrap();
            }
            assert_eq!(documents.store.is_some(), is_kept, "{cache_tokens}");
        }
    }
}
