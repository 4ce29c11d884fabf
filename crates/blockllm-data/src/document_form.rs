//! What stands around a document in language modelling.

use crate::DataError;

/// The tokens before and behind a document, and what fills a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentForm {
    /// Before every document: nothing, or the token that begins texts, as the tokenizer's own form has it.
    pub before: Vec<u32>,
    /// Behind every document.
    pub end: u32,
    /// Behind the last document of a row that is not full.
    pub pad: u32,
}

impl DocumentForm {
    /// Tokens of a document's text for which a row of `seq_len` has room.
    ///
    /// # Errors
    /// [`DataError::Config`] when it has room for none.
    pub fn room(&self, seq_len: usize) -> Result<usize, DataError> {
        let room = seq_len
            .checked_sub(self.before.len() + 1)
            .filter(|&room| room > 0);
        room.ok_or_else(|| DataError::Config {
            field: "seq_len",
            found: seq_len.to_string(),
            expected: "room for the tokens around a document and one more",
        })
    }
}
