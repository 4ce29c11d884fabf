//! Rows of a fixed length out of documents of any length: truncated and padded, or packed without padding.
//!
//! `TruncateAndPad` is how `GaLore` and the paper's C4 runs read C4: one document a row, cut so that its end token fits, as
//! `tokenizer(text, max_length=256, truncation=True, padding="max_length")` of transformers has it. `Packed` wastes no
//! position.

use serde::{Deserialize, Serialize};

use crate::row::{IGNORE_INDEX, PADDING_SEGMENT, Row};
use crate::{DataError, DocumentForm};

/// How documents become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One document a row: cut to the room beside its end token (and beginning token, where there is one), then padded.
    #[default]
    TruncateAndPad,
    /// Documents with the tokens around them, laid end to end and cut into windows of `seq_len`; no token is lost.
    ///
    /// In training each row of a batch goes on where the same row of the batch before ended, and takes the
    /// next document of the shuffled stream where its own ends: a batch mixes `batch_size` documents.
    Packed,
}

/// Turns a sequence of tokenized documents into rows; keeps the rest of a document between two rows.
#[derive(Debug, Clone)]
pub struct Packer {
    layout: Layout,
    seq_len: usize,
    form: DocumentForm,
    pending: Vec<i32>,
    offset: usize,
}

impl Packer {
    /// A packer without any rest. `seq_len` is in tokens, and has room for one beside those of `form`.
    pub fn new(layout: Layout, seq_len: usize, form: DocumentForm) -> Self {
        Self {
            layout,
            seq_len,
            form,
            pending: Vec::new(),
            offset: 0,
        }
    }

    /// Tokens already used of the document that the last row ended in, those around it counted; `None` when it ended
    /// with it.
    pub fn pending_offset(&self) -> Option<usize> {
        (self.offset < self.pending.len()).then_some(self.offset)
    }

    /// Continues `document` (its text's tokens) after the first `offset` tokens, as [`Packer::pending_offset`] counted
    /// them; `false` when it has fewer.
    pub fn continue_document(&mut self, document: &[u32], offset: u64) -> bool {
        self.load(document);
        match usize::try_from(offset) {
            Ok(offset) if offset < self.pending.len() => self.offset = offset,
            _ => return false,
        }
        true
    }

    /// The next row, out of as many documents as it takes; `next_document` gives the tokens of
    /// a text.
    ///
    /// `Ok(None)` when the documents end and nothing is left. In `Packed` the very last row may end in
    /// padding.
    ///
    /// # Errors
    /// Whatever `next_document` fails with.
    pub fn next_row(
        &mut self,
        mut next_document: impl FnMut() -> Result<Option<Vec<u32>>, DataError>,
    ) -> Result<Option<Row>, DataError> {
        match self.layout {
            Layout::TruncateAndPad => loop {
                match next_document()? {
                    None => return Ok(None),
                    Some(document) if document.is_empty() => {}
                    Some(document) => return Ok(Some(self.padded_row(&document))),
                }
            },
            Layout::Packed => self.packed_row(next_document),
        }
    }

    fn padded_row(&mut self, document: &[u32]) -> Row {
        let room = self.seq_len.saturating_sub(self.form.before.len() + 1);
        self.load(&document[..room.min(document.len())]);
        let mut input_ids = std::mem::take(&mut self.pending);
        let mut labels = input_ids[1..].to_vec();
        labels.resize(self.seq_len, IGNORE_INDEX);
        input_ids.resize(self.seq_len, self.form.pad as i32);
        Row {
            input_ids,
            labels,
            segment_ids: None,
        }
    }

    fn packed_row(
        &mut self,
        mut next_document: impl FnMut() -> Result<Option<Vec<u32>>, DataError>,
    ) -> Result<Option<Row>, DataError> {
        let mut input_ids = Vec::with_capacity(self.seq_len);
        let mut labels = Vec::with_capacity(self.seq_len);
        let mut segment_ids = Vec::with_capacity(self.seq_len);
        let mut segment = 0;
        while input_ids.len() < self.seq_len {
            if self.pending_offset().is_none() {
                match next_document()? {
                    None => break,
                    Some(document) if document.is_empty() => continue,
                    Some(document) => self.load(&document),
                }
            }
            let taken = (self.seq_len - input_ids.len()).min(self.pending.len() - self.offset);
            let piece = &self.pending[self.offset..self.offset + taken];
            input_ids.extend_from_slice(piece);
            // Inside the piece every token is followed by the next; after it comes another row or another
            // document.
            labels.extend_from_slice(&piece[1..]);
            labels.push(IGNORE_INDEX);
            segment_ids.resize(input_ids.len(), segment);
            segment += 1;
            self.offset += taken;
        }
        if input_ids.is_empty() {
            return Ok(None);
        }
        input_ids.resize(self.seq_len, self.form.pad as i32);
        labels.resize(self.seq_len, IGNORE_INDEX);
        segment_ids.resize(self.seq_len, PADDING_SEGMENT);
        Ok(Some(Row {
            input_ids,
            labels,
            segment_ids: Some(segment_ids),
        }))
    }

    fn load(&mut self, document: &[u32]) {
        let tokens = self.form.before.iter().chain(document).chain([&self.form.end]);
        self.pending.clear();
        self.pending.extend(tokens.map(|&id| id as i32));
        self.offset = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EOS: u32 = 1;
    const PAD: u32 = 0;

    fn form(before: &[u32]) -> DocumentForm {
        DocumentForm {
            before: before.to_vec(),
            end: EOS,
            pad: PAD,
        }
    }

    fn rows(layout: Layout, seq_len: usize, documents: &[Vec<u32>]) -> Vec<Row> {
        let mut packer = Packer::new(layout, seq_len, form(&[]));
        let mut documents = documents.iter().cloned();
        let mut next = || Ok(documents.next());
        std::iter::from_fn(|| packer.next_row(&mut next).unwrap()).collect()
    }

    fn documents() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(2u32..1000, 0..40), 0..20)
    }

    proptest! {
        #[test]
        fn packed_rows_hold_every_token_once_in_order_and_pad_only_the_very_end(
            documents in documents(), seq_len in 2usize..24,
        ) {
            let rows = rows(Layout::Packed, seq_len, &documents);
            let expected: Vec<i32> = documents.iter().filter(|d| !d.is_empty())
                .flat_map(|d| d.iter().copied().chain([EOS])).map(|id| id as i32).collect();
            let seen: Vec<i32> = rows.iter()
                .flat_map(|row| row.input_ids.iter().zip(row.segment_ids.as_ref().unwrap()))
                .filter(|&(_, &segment)| segment != PADDING_SEGMENT).map(|(&id, _)| id).collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert_eq!(rows.len(), expected.len().div_ceil(seq_len));
            for row in rows.iter().rev().skip(1) {
                prop_assert!(!row.segment_ids.as_ref().unwrap().contains(&PADDING_SEGMENT));
            }
        }

        #[test]
        fn a_packed_label_is_the_next_token_of_the_same_document_or_nothing(
            documents in documents(), seq_len in 2usize..24,
        ) {
            for row in rows(Layout::Packed, seq_len, &documents) {
                let segments = row.segment_ids.unwrap();
                for t in 0..seq_len {
                    let same = t + 1 < seq_len && segments[t] == segments[t + 1] && segments[t] != PADDING_SEGMENT;
                    let expected = if same { row.input_ids[t + 1] } else { IGNORE_INDEX };
                    prop_assert_eq!(row.labels[t], expected);
                    // In these documents EOS stands nowhere but at a document's end.
                    let ends = row.input_ids[t] == EOS as i32;
                    prop_assert!(!(ends && same));
                }
            }
        }

        #[test]
        fn a_padded_row_is_the_head_of_its_document_then_eos_then_padding(
            document in prop::collection::vec(2u32..1000, 1..40), seq_len in 3usize..24, begins: bool,
        ) {
            let before = if begins { vec![7] } else { vec![] };
            let mut packer = Packer::new(Layout::TruncateAndPad, seq_len, form(&before));
            let row = packer.next_row(|| Ok(Some(document.clone()))).unwrap().unwrap();
            let room = seq_len - 1 - before.len();
            let text = document.iter().take(room);
            let whole: Vec<i32> = before.iter().chain(text).chain([&EOS]).map(|&id| id as i32).collect();
            let kept = whole.len();
            prop_assert_eq!(row.input_ids.len(), seq_len);
            prop_assert_eq!(&row.input_ids[..kept], &whole[..]);
            prop_assert!(row.input_ids[kept..].iter().all(|&id| id == PAD as i32));
            prop_assert_eq!(&row.labels[..kept - 1], &whole[1..]);
            prop_assert!(row.labels[kept - 1..].iter().all(|&label| label == IGNORE_INDEX));
        }
    }

    #[test]
    fn a_document_that_runs_into_the_next_row_can_be_continued_from_its_offset() {
        let document: Vec<u32> = (2..12).collect();
        let mut whole = Packer::new(Layout::Packed, 4, form(&[7]));
        let mut once = Some(document.clone());
        whole.next_row(|| Ok(once.take())).unwrap();
        let offset = whole.pending_offset().unwrap();
        let mut resumed = Packer::new(Layout::Packed, 4, form(&[7]));
        assert!(resumed.continue_document(&document, offset as u64));
        for _ in 0..3 {
            assert_eq!(
                whole.next_row(|| Ok(None)).unwrap(),
                resumed.next_row(|| Ok(None)).unwrap()
            );
        }
        assert_eq!(whole.pending_offset(), None);
        assert!(!resumed.continue_document(&document, 12));
        assert!(!resumed.continue_document(&document, u64::MAX));
    }
}
