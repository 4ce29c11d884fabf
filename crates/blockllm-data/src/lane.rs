//! A lane: one row of every batch, which goes on in each batch where it ended in the batch before.
//!
//! Lanes take their documents from one stream, each its next one when it runs out, so a batch mixes as many
//! documents as it has rows, and no document is split over lanes.

use crate::cursor::UnfinishedDocument;
use crate::tokenized_documents::TokenizedDocuments;
use crate::{DataError, DocumentId, Packer, Row};

/// A packer, and which document it is in.
pub(crate) struct Lane {
    packer: Packer,
    document: DocumentId,
}

impl Lane {
    /// A lane that begins with a document of its own.
    pub fn new(packer: Packer) -> Self {
        Self {
            packer,
            document: DocumentId { shard: 0, index: 0 },
        }
    }

    /// The lane's row of the next batch.
    ///
    /// # Errors
    /// As [`TokenizedDocuments::next_document`].
    pub fn next_row(&mut self, documents: &mut TokenizedDocuments) -> Result<Row, DataError> {
        let row = self.packer.next_row(|| {
            let (document, tokens) = documents.next_document()?;
            self.document = document;
            Ok(Some(tokens))
        })?;
        Ok(row.expect("the stream of documents has no end, so there is always a row"))
    }

    /// The document that the lane, being row `row`, is in the midst of.
    pub fn unfinished(&self, row: usize) -> Option<UnfinishedDocument> {
        let token_offset = self.packer.pending_offset()? as u64;
        Some(UnfinishedDocument {
            row,
            document: self.document,
            token_offset,
        })
    }

    /// Goes on with a document as [`Lane::unfinished`] gave it; `tokens` are its text's. `false` when it has fewer.
    pub fn continue_document(&mut self, unfinished: &UnfinishedDocument, tokens: &[u32]) -> bool {
        self.document = unfinished.document;
        self.packer.continue_document(tokens, unfinished.token_offset)
    }
}
