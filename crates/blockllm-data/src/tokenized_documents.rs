//! The endless stream of train documents as tokens, each document tokenized once where memory allows.

use std::sync::Arc;

use crate::{
    Corpus, DataError, Document, DocumentPlace, DocumentStream, Layout, LoaderConfig, TokenStore, Tokenizer,
};

/// Takes documents, tokenizes, and remembers.
pub(crate) struct TokenizedDocuments {
    documents: DocumentStream,
    tokenizer: Arc<Tokenizer>,
    store: TokenStore,
    /// Tokens of a document that are ever needed.
    needed: usize,
}

impl TokenizedDocuments {
    /// The stream from its beginning.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: &LoaderConfig) -> Self {
        Self {
            documents: DocumentStream::new(corpus, config.shuffle_buffer, config.seed),
            store: TokenStore::new(tokenizer.vocab_size(), config.cache_tokens),
            tokenizer,
            needed: match config.layout {
                Layout::TruncateAndPad => config.seq_len,
                Layout::Packed => usize::MAX,
            },
        }
    }

    /// As [`DocumentStream::position`].
    pub fn position(&self) -> DocumentPlace {
        self.documents.position()
    }

    /// As [`DocumentStream::seek`]; tokenizes nothing.
    ///
    /// # Errors
    /// As [`DocumentStream::seek`].
    pub fn seek(&mut self, place: DocumentPlace) -> Result<(), DataError> {
        self.documents.seek(place)
    }

    /// The next document that has any token: its place and its tokens.
    ///
    /// # Errors
    /// What reading or tokenizing fails with, and [`DataError::EmptySplit`] when no document has a token.
    pub fn next_document(&mut self) -> Result<(DocumentPlace, Vec<u32>), DataError> {
        let first_epoch = self.position().epoch;
        loop {
            let (place, document) = self.documents.next_document()?;
            let tokens = self.tokenize(&document)?;
            if !tokens.is_empty() {
                return Ok((place, tokens));
            }
            if place.epoch > first_epoch + 1 {
                return Err(self.documents.empty());
            }
        }
    }

    /// The tokens of the document at `place`; the stream goes on after it.
    ///
    /// # Errors
    /// What reading or tokenizing fails with, and [`DataError::CursorPlace`] when there is no such document.
    pub fn document_at(&mut self, place: DocumentPlace) -> Result<Vec<u32>, DataError> {
        let document = self.documents.document_at(place)?;
        self.tokenize(&document)
    }

    /// As [`DocumentStream::no_such_place`].
    pub fn no_such_place(&self, place: String) -> DataError {
        self.documents.no_such_place(place)
    }

    fn tokenize(&mut self, document: &Document) -> Result<Vec<u32>, DataError> {
        if let Some(tokens) = self.store.get(document.id) {
            return Ok(tokens);
        }
        let mut tokens = self.tokenizer.encode(&document.text)?;
        tokens.truncate(self.needed);
        self.store.insert(document.id, &tokens);
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_sought_is_the_one_that_running_gives_and_nothing_else_is_tokenized() {
        let texts: Vec<String> = (0..40).map(|i| format!("the text of number {i}")).collect();
        let tokenizer = Arc::new(Tokenizer::train_byte_level_bpe(texts.clone(), 280).unwrap());
        let corpus = Corpus::from_documents("test", texts, vec!["held out".into()]);
        let config = LoaderConfig {
            layout: Layout::Packed,
            shuffle_buffer: 8,
            ..LoaderConfig::default()
        };
        let open = || TokenizedDocuments::new(corpus.clone(), tokenizer.clone(), &config);
        let (mut run, mut sought) = (open(), open());
        let all: Vec<_> = (0..130).map(|_| run.next_document().unwrap()).collect();
        let mut tokenized = 0;
        for &at in &[3, 25, 39, 41, 118] {
            let (place, expected) = &all[at];
            assert_eq!(&sought.document_at(*place).unwrap(), expected);
            tokenized += expected.len();
            assert_eq!(sought.store.len(), tokenized);
        }
        sought.seek(all[129].0).unwrap();
        assert_eq!(sought.store.len(), tokenized);
        assert_eq!(sought.next_document().unwrap(), all[129]);
    }
}
