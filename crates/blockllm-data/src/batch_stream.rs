//! Batches made one after the other on the calling thread: the pure order that a [`crate::Loader`] runs ahead
//! of.

use std::sync::Arc;

use crate::lane::Lane;
use crate::tokenized_documents::TokenizedDocuments;
use crate::{Corpus, Cursor, DataError, LmBatch, LoaderConfig, Packer, Tokenizer, UnfinishedDocument};

/// An endless stream of train batches.
pub struct BatchStream {
    config: LoaderConfig,
    documents: TokenizedDocuments,
    lanes: Vec<Lane>,
    cursor: Cursor,
}

impl BatchStream {
    /// The stream from its first batch.
    ///
    /// # Errors
    /// [`DataError::Config`] when a setting is out of range; [`DataError::NoEndToken`] when it is not known what ends a
    /// document.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: LoaderConfig) -> Result<Self, DataError> {
        config.validate()?;
        let cursor = Cursor::start(config.fingerprint(&corpus, &tokenizer));
        let packer = Packer::new(config.layout, config.seq_len, tokenizer.document_form()?);
        let lanes = (0..config.batch_size).map(|_| Lane::new(packer.clone()));
        Ok(Self {
            lanes: lanes.collect(),
            documents: TokenizedDocuments::new(corpus, tokenizer, &config)?,
            config,
            cursor,
        })
    }

    /// The stream from the batch after `cursor`.
    ///
    /// # Errors
    /// [`DataError::CursorMismatch`] when the cursor belongs to other settings, another corpus or another
    /// tokenizer; [`DataError::CursorPlace`] when it points to what the corpus does not have; else as
    /// [`BatchStream::new`] and what reading or tokenizing fails with.
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
        stream.seek(&cursor)?;
        stream.cursor = cursor;
        Ok(stream)
    }

    /// Hands each lane the document that it was in, then goes to the first document that none has taken.
    fn seek(&mut self, cursor: &Cursor) -> Result<(), DataError> {
        let all_tokens = self.documents.unfinished(&cursor.unfinished)?;
        for (unfinished, tokens) in cursor.unfinished.iter().zip(all_tokens) {
            let UnfinishedDocument {
                row,
                document,
                token_offset,
            } = unfinished;
            let lane = self.lanes.get_mut(*row);
            if !lane.is_some_and(|lane| lane.continue_document(unfinished, &tokens)) {
                let place = format!("row {row} at token {token_offset} of {document:?}");
                return Err(self.documents.no_such_place(place));
            }
        }
        self.documents.seek(cursor.next, cursor.skipped)
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
        let lanes = self.lanes.iter_mut();
        let rows: Result<Vec<_>, _> = lanes.map(|lane| lane.next_row(&mut self.documents)).collect();
        let batch = LmBatch::from_rows(rows?, self.config.seq_len);
        self.advance_cursor();
        Ok(batch)
    }

    fn advance_cursor(&mut self) {
        let lanes = self.lanes.iter().enumerate();
        self.cursor.batches = self.cursor.batches.saturating_add(1);
        self.cursor.next = self.documents.position();
        self.cursor.skipped = self.documents.skipped();
        self.cursor.unfinished = lanes.filter_map(|(row, lane)| lane.unfinished(row)).collect();
    }
}
