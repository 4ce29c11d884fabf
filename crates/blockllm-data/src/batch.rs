//! A batch of token rows on the host, with labels that are already shifted.
//!
//! Shape legend: `B` rows, `T` positions a row.

use crate::row::{IGNORE_INDEX, PADDING_SEGMENT, Row};

/// `batch_size` rows of `seq_len` tokens, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LmBatch {
    /// `B`: the rows. Smaller than the setting only in the last batch of a validation pass.
    pub batch_size: usize,
    /// `T`: the positions of every row, padding included.
    pub seq_len: usize,
    /// Token ids, `[B, T]`.
    pub input_ids: Vec<i32>,
    /// `labels[b][t]` is the token that follows `input_ids[b][t]`, or [`IGNORE_INDEX`], `[B, T]`.
    pub labels: Vec<i32>,
    /// Packed rows only: which document of its row a token belongs to, from 0, or [`PADDING_SEGMENT`], `[B,
    /// T]`.
    pub segment_ids: Option<Vec<i32>>,
}

impl LmBatch {
    /// Stacks rows of the same length.
    ///
    /// # Panics
    /// When rows differ in length, or only some of them carry segments.
    pub fn from_rows(rows: Vec<Row>, seq_len: usize) -> Self {
        let batch_size = rows.len();
        let mut input_ids = Vec::with_capacity(batch_size * seq_len);
        let mut labels = Vec::with_capacity(batch_size * seq_len);
        let mut segment_ids = rows
            .first()
            .and_then(|row| row.segment_ids.as_ref().map(|_| Vec::new()));
        for row in rows {
            assert_eq!(
                row.input_ids.len(),
                seq_len,
                "every row of a batch has seq_len positions"
            );
            assert_eq!(
                row.segment_ids.is_some(),
                segment_ids.is_some(),
                "a batch has one layout"
            );
            input_ids.extend(row.input_ids);
            labels.extend(row.labels);
            if let (Some(all), Some(of_row)) = (segment_ids.as_mut(), row.segment_ids) {
                all.extend(of_row);
            }
        }
        Self {
            batch_size,
            seq_len,
            input_ids,
            labels,
            segment_ids,
        }
    }

    /// The first `positions` of the first row, at most; `None` when the loss counts nothing there.
    #[must_use]
    pub fn excerpt(&self, positions: usize) -> Option<Self> {
        let seq_len = self.seq_len.min(positions);
        let cut = |ids: &[i32]| ids.iter().take(seq_len).copied().collect::<Vec<_>>();
        let excerpt = Self {
            batch_size: 1,
            seq_len,
            input_ids: cut(&self.input_ids),
            labels: cut(&self.labels),
            segment_ids: self.segment_ids.as_deref().map(cut),
        };
        (self.batch_size > 0 && excerpt.label_tokens() > 0).then_some(excerpt)
    }

    /// The place of each token in its document, from 0, `[B, T]`; without segments in its row.
    ///
    /// For rotary embeddings it makes no difference where attention stays within a segment.
    pub fn position_ids(&self) -> Vec<i32> {
        let mut positions: Vec<i32> = Vec::with_capacity(self.input_ids.len());
        for at in 0..self.input_ids.len() {
            let same = |segments: &Vec<i32>| segments[at - 1] == segments[at];
            let goes_on = at % self.seq_len.max(1) > 0 && self.segment_ids.as_ref().is_none_or(same);
            let last = positions.last().copied().unwrap_or_default();
            positions.push(if goes_on { last + 1 } else { 0 });
        }
        positions
    }

    /// The positions that the loss counts: labels that are not [`IGNORE_INDEX`].
    pub fn label_tokens(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
    }

    /// The input positions that are not padding.
    pub fn input_tokens(&self) -> usize {
        match &self.segment_ids {
            Some(segments) => segments
                .iter()
                .filter(|&&segment| segment != PADDING_SEGMENT)
                .count(),
            // Without segments a row is one document at its left, and only its last token has no label.
            None => self
                .labels
                .chunks(self.seq_len.max(1))
                .map(padded_row_tokens)
                .sum(),
        }
    }
}

fn padded_row_tokens(labels: &[i32]) -> usize {
    labels
        .iter()
        .rposition(|&label| label != IGNORE_INDEX)
        .map_or(0, |last| last + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_neither_as_input_nor_as_label() {
        let row = Row {
            input_ids: vec![5, 6, 0, 0],
            labels: vec![6, IGNORE_INDEX, -100, -100],
            segment_ids: None,
        };
        let batch = LmBatch::from_rows(vec![row.clone(), row], 4);
        assert_eq!((batch.label_tokens(), batch.input_tokens()), (2, 4));
    }

    #[test]
    fn an_excerpt_is_the_beginning_of_the_first_row_and_counts_something() {
        let row = Row {
            input_ids: vec![5, 9, 6, 0],
            labels: vec![9, 6, -100, -100],
            segment_ids: Some(vec![0, 0, 0, PADDING_SEGMENT]),
        };
        let batch = LmBatch::from_rows(vec![row.clone(), row], 4);
        let excerpt = batch.excerpt(2).unwrap();
        assert_eq!((excerpt.batch_size, excerpt.seq_len), (1, 2));
        assert_eq!(excerpt.input_ids, [5, 9]);
        assert_eq!(excerpt.segment_ids, Some(vec![0, 0]));
        assert_eq!(batch.excerpt(0), None);
    }

    #[test]
    fn a_packed_row_counts_every_token_that_has_a_segment() {
        let row = Row {
            input_ids: vec![5, 9, 6, 0],
            labels: vec![9, -100, -100, -100],
            segment_ids: Some(vec![0, 0, 1, PADDING_SEGMENT]),
        };
        let batch = LmBatch::from_rows(vec![row], 4);
        assert_eq!((batch.label_tokens(), batch.input_tokens()), (1, 3));
        assert_eq!(batch.position_ids(), [0, 1, 0, 0]);
    }
}
