//! Batches made one after the other on the calling thread: the pure order that a [`crate::Loader`] runs ahead
//! of.

use std::sync::Arc;

use crate::{
    Corpus, Cursor, DataError, Document, DocumentStream, Layout, LmBatch, LoaderConfig, Packer, TokenStore,
    Tokenizer,
};

/// An endless stream of train batches.
pub struct BatchStream {
    config: LoaderConfig,
    documents: DocumentStream,
    tokens: Tokens,
    packer: Packer,
    cursor: Cursor,
}

/// Tokenizes, and remembers.
struct Tokens {
    tokenizer: Arc<Tokenizer>,
    store: TokenStore,
    /// Tokens of a document that are ever needed.
    needed: usize,
}

impl BatchStream {
    /// The stream from its first batch.
    ///
    /// # Errors
    /// [`DataError::Config`] when a setting is out of range.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: LoaderConfig) -> Result<Self, DataError> {
        config.validate()?;
        let cursor = Cursor::start(config.fingerprint(&corpus, &tokenizer));
        let packer = Packer::new(
            config.layout,
            config.seq_len,
            tokenizer.eos_id(),
            tokenizer.pad_id(),
        );
        let needed = match config.layout {
            Layout::TruncateAndPad => config.seq_len,
            Layout::Packed => usize::MAX,
        };
        let store = TokenStore::new(tokenizer.vocab_size(), config.cache_tokens);
        let documents = DocumentStream::new(corpus, config.shuffle_buffer, config.seed);
        Ok(Self {
            config,
            documents,
            tokens: Tokens {
                tokenizer,
                store,
                needed,
            },
            packer,
            cursor,
        })
    }

    /// The stream from the batch after `cursor`.
    ///
    /// # Errors
    /// [`DataError::CursorMismatch`] when the cursor belongs to other settings, another corpus or another
    /// tokenizer; else as [`BatchStream::new`] and [`DocumentStream::seek`].
    pub fn resume(
        corpus: Corpus,
        tokenizer: Arc<Tokenizer>,
        config: LoaderConfig,
        cursor: Cursor,
    ) -> Result<Self, DataError> {
        let mut stream = Self::new(corpus, tokenizer, config)?;
        if stream.cursor.fingerprint != cursor.fingerprint {
            let (expected, found) = (stream.cursor.fingerprint, cursor.fingerprint);
            return Err(DataError::CursorMismatch { expected, found });
        }
        stream.documents.seek(cursor.epoch, cursor.document)?;
        if cursor.token_offset > 0 {
            let document = stream.tokens.next_document(&mut stream.documents)?;
            stream
                .packer
                .continue_document(&document, cursor.token_offset as usize);
        }
        stream.cursor = cursor;
        Ok(stream)
    }

    /// The place before the next batch.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next batch of `batch_size` rows.
    ///
    /// # Errors
    /// What reading or tokenizing fails with, and [`DataError::EmptySplit`] when no train document gives a
    /// token.
    pub fn next_batch(&mut self) -> Result<LmBatch, DataError> {
        let mut rows = Vec::with_capacity(self.config.batch_size);
        while rows.len() < self.config.batch_size {
            // The stream of documents has no end, so there is always a row.
            rows.extend(
                self.packer
                    .next_row(|| self.tokens.next_document(&mut self.documents).map(Some))?,
            );
        }
        self.advance_cursor();
        Ok(LmBatch::from_rows(rows, self.config.seq_len))
    }

    fn advance_cursor(&mut self) {
        let (epoch, taken) = self.documents.position();
        let offset = self.packer.pending_offset();
        self.cursor.batches += 1;
        self.cursor.epoch = epoch;
        self.cursor.document = taken - u64::from(offset.is_some());
        self.cursor.token_offset = offset.unwrap_or(0) as u64;
    }
}

impl Tokens {
    fn tokenize(&mut self, document: &Document) -> Result<Vec<u32>, DataError> {
        if let Some(tokens) = self.store.get(document.id) {
            return Ok(tokens);
        }
        let mut tokens = self.tokenizer.encode(&document.text)?;
        tokens.truncate(self.needed);
        self.store.insert(document.id, &tokens);
        Ok(tokens)
    }

    /// The tokens of the next document that has any.
    fn next_document(&mut self, documents: &mut DocumentStream) -> Result<Vec<u32>, DataError> {
        let (first_epoch, _) = documents.position();
        loop {
            let document = documents.next_document()?;
            let tokens = self.tokenize(&document)?;
            if !tokens.is_empty() {
                return Ok(tokens);
            }
            if documents.position().0 > first_epoch + 1 {
                return Err(documents.empty());
            }
        }
    }
}
