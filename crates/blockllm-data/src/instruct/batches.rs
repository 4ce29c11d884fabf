//! Batches of instruction data without end, from any place on.
//!
//! Examples come in the order of the mixture. A block of them is packed into rows at once, best fit, and its rows are given in
//! an order of their own; a place is the beginning of a block and the rows of it that were given.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::encoded_data::EncodedData;
use super::encoder::EncodedInstruction;
use super::mixture::Mixture;
use super::row_packing::{best_fit, row};
use crate::hashing::sha256_hex;
use crate::packing::Layout;
use crate::shuffle::{block_rng, shuffle};
use crate::{DataError, LmBatch, Row};

/// Changes when the order of batches does.
const ORDER_FORMAT: u32 = 1;
/// Examples that are packed together: enough for rows without holes.
const BLOCK_EXAMPLES: usize = 2048;

/// How examples become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstructBatchConfig {
    /// Rows of a batch.
    pub batch_size: usize,
    /// Several examples a row, or one; each has a segment of its own in either.
    pub layout: Layout,
    /// Seed of all orders.
    pub seed: u64,
}

impl Default for InstructBatchConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            layout: Layout::Packed,
            seed: 0,
        }
    }
}

/// A place in the order of batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructCursor {
    /// Names the data and the settings that the order belongs to.
    pub fingerprint: String,
    /// Batches given.
    pub batches: u64,
    /// The block, from 0.
    pub block: u64,
    /// Examples of each source before the block.
    pub taken: Vec<u64>,
    /// Rows of the block that were given.
    pub rows: u64,
}

/// The endless stream.
#[derive(Debug, Clone)]
pub struct InstructBatches {
    data: Arc<EncodedData>,
    config: InstructBatchConfig,
    mixture: Mixture,
    cursor: InstructCursor,
    /// The rows of the present block, each the examples in it.
    block: Vec<Vec<(usize, usize)>>,
}

impl InstructBatches {
    /// From the first batch.
    ///
    /// # Errors
    /// [`DataError::Config`] when the batch size is 0 or `max_tokens` below 2.
    pub fn new(data: Arc<EncodedData>, config: InstructBatchConfig) -> Result<Self, DataError> {
        let refuse = |field, found: usize, expected| {
            let found = found.to_string();
            Err(DataError::Config {
                field,
                found,
                expected,
            })
        };
        if config.batch_size == 0 {
            return refuse("batch_size", 0, "at least one row");
        }
        if data.config.max_tokens < 2 {
            return refuse(
                "max_tokens",
                data.config.max_tokens,
                "at least 2: a token and one to predict",
            );
        }
        let sizes: Vec<(usize, f64)> = data
            .sources
            .iter()
            .map(|source| (source.examples.len(), source.weight))
            .collect();
        let mixture = Mixture::new(&sizes, config.seed);
        let parts = format!("{ORDER_FORMAT}|{BLOCK_EXAMPLES}|{}|{config:?}", data.identity);
        let cursor = InstructCursor {
            fingerprint: sha256_hex(parts.as_bytes())[..16].to_owned(),
            batches: 0,
            block: 0,
            taken: mixture.taken(),
            rows: 0,
        };
        let mut batches = Self {
            data,
            config,
            mixture,
            cursor,
            block: Vec::new(),
        };
        batches.block = batches.pack();
        Ok(batches)
    }

    /// From the batch after `cursor`.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`DataError::CursorMismatch`] when the cursor is of other data or settings,
    /// [`DataError::CursorPlace`] when it points to what they do not have.
    pub fn resume(
        data: Arc<EncodedData>,
        config: InstructBatchConfig,
        cursor: InstructCursor,
    ) -> Result<Self, DataError> {
        let mut batches = Self::new(data, config)?;
        if batches.cursor.fingerprint != cursor.fingerprint {
            return Err(DataError::CursorMismatch {
                expected: batches.cursor.fingerprint,
                found: cursor.fingerprint,
            });
        }
        let before = cursor
            .taken
            .iter()
            .try_fold(0u64, |sum, &taken| sum.checked_add(taken));
        let is_whole = before.is_some() && before == cursor.block.checked_mul(BLOCK_EXAMPLES as u64);
        let is_there = is_whole && batches.mixture.seek(&cursor.taken);
        if is_there {
            batches.cursor = cursor.clone();
            batches.block = batches.pack();
        }
        if !is_there || cursor.rows > batches.block.len() as u64 {
            return Err(DataError::CursorPlace {
                place: format!(
                    "row {} of block {} after {:?} examples",
                    cursor.rows, cursor.block, cursor.taken
                ),
                corpus: "the instruction data".to_owned(),
            });
        }
        Ok(batches)
    }

    /// The same stream from the batch after `cursor`.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn resumed(&self, cursor: InstructCursor) -> Result<Self, DataError> {
        Self::resume(self.data.clone(), self.config, cursor)
    }

    /// The place before the next batch.
    pub fn cursor(&self) -> &InstructCursor {
        &self.cursor
    }

    /// Examples that were begun for each source, up to the end of the present block.
    pub fn taken(&self) -> Vec<u64> {
        self.mixture.taken()
    }

    /// The next batch of `batch_size` rows.
    pub fn next_batch(&mut self) -> LmBatch {
        let rows = (0..self.config.batch_size).map(|_| self.next_row()).collect();
        self.cursor.batches = self.cursor.batches.saturating_add(1);
        LmBatch::from_rows(rows, self.data.config.max_tokens)
    }

    fn next_row(&mut self) -> Row {
        if self.cursor.rows >= self.block.len() as u64 {
            self.cursor.block = self.cursor.block.saturating_add(1);
            self.cursor.taken = self.mixture.taken();
            self.cursor.rows = 0;
            self.block = self.pack();
        }
        let examples = &self.block[self.cursor.rows as usize];
        self.cursor.rows += 1;
        let of = |&(source, at): &(usize, usize)| &self.data.sources[source].examples[at];
        row(
            examples.iter().map(of),
            self.data.config.max_tokens,
            self.data.pad_id,
        )
    }

    /// Takes the examples of the present block and lays them into rows.
    fn pack(&mut self) -> Vec<Vec<(usize, usize)>> {
        let places: Vec<(usize, usize)> = (0..BLOCK_EXAMPLES).map(|_| self.mixture.next()).collect();
        let length = |&(source, at): &(usize, usize)| self.data.sources[source].examples[at].input_ids.len();
        let lengths: Vec<usize> = places.iter().map(length).collect();
        let mut rows = best_fit(&lengths, self.data.config.max_tokens, self.config.layout);
        shuffle(&mut rows, block_rng(self.config.seed, 0, self.cursor.block));
        let places_of = |row: &Vec<usize>| row.iter().map(|&at| places[at]).collect();
        rows.iter().map(places_of).collect()
    }
}

/// All examples of `data` once, in batches of the same rows each time, for validation; the last one may be smaller. With
/// `most_rows` only so many of the rows, evenly spaced over all of them.
pub fn instruct_validation_batches(
    data: &EncodedData,
    config: &InstructBatchConfig,
    most_rows: Option<usize>,
) -> Vec<LmBatch> {
    let examples: Vec<&EncodedInstruction> =
        data.sources.iter().flat_map(|source| &source.examples).collect();
    let lengths: Vec<usize> = examples.iter().map(|example| example.input_ids.len()).collect();
    let seq_len = data.config.max_tokens;
    let all = best_fit(&lengths, seq_len, config.layout);
    let taken = most_rows.unwrap_or(all.len()).min(all.len());
    let rows: Vec<Row> = (0..taken)
        .map(|at| &all[at * all.len() / taken])
        .map(|places| row(places.iter().map(|&at| examples[at]), seq_len, data.pad_id))
        .collect();
    rows.chunks(config.batch_size.max(1))
        .map(|rows| LmBatch::from_rows(rows.to_vec(), seq_len))
        .collect()
}
