//! Batches that the tests make by hand, so that the number of counted labels is theirs to choose.
use blockllm::data::{IGNORE_INDEX, LmBatch, Row};

/// The vocabulary of every batch here.
pub const VOCAB: usize = 96;

/// `count` tokens below [`VOCAB`], the same on every call.
fn tokens(count: usize, salt: usize) -> Vec<i32> {
    (0..count)
        .map(|i| ((i * 37 + salt * 101 + i * i * 7) % VOCAB) as i32)
        .collect()
}

/// One document of `length` tokens in a row of `seq_len`, padded at its right; `length - 1` labels count.
pub fn padded_row(length: usize, seq_len: usize, salt: usize) -> Row {
    let mut input_ids = tokens(length, salt);
    let mut labels = input_ids[1..].to_vec();
    labels.resize(seq_len, IGNORE_INDEX);
    input_ids.resize(seq_len, 0);
    Row {
        input_ids,
        labels,
        segment_ids: None,
    }
}

/// Padded rows with one document each, of these lengths.
pub fn padded(lengths: &[usize], seq_len: usize, salt: usize) -> LmBatch {
    let rows = lengths.iter().zip(salt..);
    LmBatch::from_rows(
        rows.map(|(&length, salt)| padded_row(length, seq_len, salt))
            .collect(),
        seq_len,
    )
}

/// A packed row: documents of these lengths end to end, separated by their segments.
pub fn packed_row(lengths: &[usize], salt: usize) -> Row {
    let mut row = Row {
        input_ids: tokens(lengths.iter().sum(), salt),
        labels: Vec::new(),
        segment_ids: None,
    };
    let mut segments = Vec::new();
    for (segment, &length) in (0..).zip(lengths) {
        let start = segments.len();
        row.labels
            .extend_from_slice(&row.input_ids[start + 1..start + length]);
        row.labels.push(IGNORE_INDEX);
        segments.resize(start + length, segment);
    }
    row.segment_ids = Some(segments);
    row
}

/// All rows of `batches` in one batch.
pub fn joined(batches: &[LmBatch]) -> LmBatch {
    let mut whole = batches[0].clone();
    for batch in &batches[1..] {
        whole.batch_size += batch.batch_size;
        whole.input_ids.extend(&batch.input_ids);
        whole.labels.extend(&batch.labels);
    }
    whole
}
