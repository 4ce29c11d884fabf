//! One row of tokens with what follows each of them.

/// The label of a position that has nothing to predict; the loss skips it. PyTorch's and Hugging Face's
/// value.
pub const IGNORE_INDEX: i32 = -100;

/// The segment of a padding position. Real segments count from 0 in each row.
pub const PADDING_SEGMENT: i32 = -1;

/// One row of a batch: every vector has `seq_len` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Token ids.
    pub input_ids: Vec<i32>,
    /// The token after each input, or [`IGNORE_INDEX`].
    pub labels: Vec<i32>,
    /// Packed rows only: the document of each token, counted from 0 in the row.
    pub segment_ids: Option<Vec<i32>>,
}

impl Row {
    /// The positions of the row that the loss counts.
    pub fn label_tokens(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
    }
}
