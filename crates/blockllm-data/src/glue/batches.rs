//! Batches for classification: padded to their longest row, shuffled by epoch, from any place on.
use super::{EncodedExample, GlueLabel};
use crate::DataError;
use crate::hashing::sha256_hex;
use crate::shuffle::{Purpose, epoch_rng, permutation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::ops::Deref;
use std::sync::Arc;

/// Batches that are sorted by length together.
const WINDOW: usize = 50;

/// Rows of one batch, each `seq_len` wide.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationBatch {
    /// `B`.
    pub batch_size: usize,
    /// `T`: the longest row of the batch.
    pub seq_len: usize,
    /// `[B, T]`, row by row.
    pub input_ids: Vec<i32>,
    /// `[B, T]`.
    pub token_type_ids: Vec<i32>,
    /// `[B, T]`: 1 for tokens, 0 for padding.
    pub attention_mask: Vec<i32>,
    /// `[B]`; empty when a row has no label.
    pub labels: Vec<GlueLabel>,
    /// `[B]`: the place of each row in the set that the batch is from.
    pub rows: Vec<usize>,
}

impl ClassificationBatch {
    /// The examples at `rows` of `examples`, padded behind with `pad_id`.
    pub fn of(examples: &[EncodedExample], rows: &[usize], pad_id: i32) -> Self {
        let seq_len = rows
            .iter()
            .map(|&row| examples[row].input_ids.len())
            .max()
            .unwrap_or(0);
        let mut batch = Self {
            batch_size: rows.len(),
            seq_len,
            input_ids: Vec::with_capacity(rows.len() * seq_len),
            token_type_ids: Vec::with_capacity(rows.len() * seq_len),
            attention_mask: Vec::with_capacity(rows.len() * seq_len),
            labels: Vec::new(),
            rows: rows.to_vec(),
        };
        for (&row, end) in rows.iter().zip((seq_len..).step_by(seq_len.max(1))) {
            let example = &examples[row];
            batch.input_ids.extend(&example.input_ids);
            batch.input_ids.resize(end, pad_id);
            batch.token_type_ids.extend(&example.token_type_ids);
            batch.token_type_ids.resize(end, 0);
            batch
                .attention_mask
                .extend(std::iter::repeat_n(1, example.input_ids.len()));
            batch.attention_mask.resize(end, 0);
        }
        batch.labels = rows
            .iter()
            .map(|&row| examples[row].label)
            .collect::<Option<_>>()
            .unwrap_or_default();
        batch
    }

    /// The first `rows` rows, at most; `None` when they have no labels.
    #[must_use]
    pub fn excerpt(&self, rows: usize) -> Option<Self> {
        let batch_size = self.batch_size.min(rows);
        let cut = |ids: &[i32]| ids[..batch_size * self.seq_len].to_vec();
        (batch_size > 0 && self.labels.len() >= batch_size).then(|| Self {
            batch_size,
            seq_len: self.seq_len,
            input_ids: cut(&self.input_ids),
            token_type_ids: cut(&self.token_type_ids),
            attention_mask: cut(&self.attention_mask),
            labels: self.labels[..batch_size].to_vec(),
            rows: self.rows[..batch_size].to_vec(),
        })
    }

    /// Tokens that are no padding.
    pub fn tokens(&self) -> u64 {
        self.attention_mask.iter().map(|&real| u64::from(real == 1)).sum()
    }
}

/// Rows to train on, and what tells them from others: found once, however many runs they are used for.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedExamples {
    rows: Vec<EncodedExample>,
    sha256: String,
}

impl EncodedExamples {
    /// Takes the rows and hashes their ids and labels.
    pub fn new(rows: Vec<EncodedExample>) -> Self {
        let mut hasher = Sha256::new();
        for row in &rows {
            hasher.update((row.input_ids.len() as u64).to_le_bytes());
            for id in row.input_ids.iter().chain(&row.token_type_ids) {
                hasher.update(id.to_le_bytes());
            }
            hasher.update(format!("{:?}", row.label));
        }
        Self {
            rows,
            sha256: hex::encode(hasher.finalize()),
        }
    }
}

impl Deref for EncodedExamples {
    type Target = [EncodedExample];

    fn deref(&self) -> &[EncodedExample] {
        &self.rows
    }
}

/// How the batches of an epoch are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochConfig {
    /// Rows of a batch; the last one of an epoch may have fewer.
    pub batch_size: usize,
    /// Whether every epoch has an order of its own; else rows come as they stand in the file.
    pub shuffle: bool,
    /// Whether rows of similar length share a batch: windows of 50 batches are sorted by length, and the batches
    /// shuffled again. Less padding for the same rows.
    pub bucketing: bool,
    /// Seed of the orders.
    pub seed: u64,
    /// What rows are padded with.
    pub pad_id: i32,
}

/// A place in the epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochCursor {
    /// Of settings and examples: a cursor fits no others.
    pub fingerprint: String,
    /// Batches given.
    pub batches: u64,
}

/// The batches of one epoch after the other, without end.
#[derive(Clone, Debug)]
pub struct EpochBatches {
    examples: Arc<EncodedExamples>,
    config: EpochConfig,
    fingerprint: String,
    given: u64,
    epoch: Vec<Vec<usize>>,
}

impl EpochBatches {
    /// From the first batch of the first epoch.
    ///
    /// # Errors
    /// When there is no example, or the batch size is 0.
    pub fn new(examples: Arc<EncodedExamples>, config: EpochConfig) -> Result<Self, DataError> {
        let refuse = |field, expected| {
            Err(DataError::Config {
                field,
                found: "0".into(),
                expected,
            })
        };
        if config.batch_size == 0 {
            return refuse("batch_size", "at least one row");
        }
        if examples.is_empty() {
            return refuse("examples", "at least one example to train on");
        }
        let mut batches = Self {
            fingerprint: fingerprint(&examples, &config),
            examples,
            config,
            given: 0,
            epoch: Vec::new(),
        };
        batches.epoch = batches.order(0);
        Ok(batches)
    }

    /// From the batch after `cursor`.
    ///
    /// # Errors
    /// As [`new`](Self::new); and when the cursor is of other examples or settings.
    pub fn resume(
        examples: Arc<EncodedExamples>,
        config: EpochConfig,
        cursor: EpochCursor,
    ) -> Result<Self, DataError> {
        let mut batches = Self::new(examples, config)?;
        if batches.fingerprint != cursor.fingerprint {
            return Err(DataError::CursorMismatch {
                expected: batches.fingerprint,
                found: cursor.fingerprint,
            });
        }
        batches.given = cursor.batches;
        batches.epoch = batches.order(cursor.batches / batches.batches_per_epoch());
        Ok(batches)
    }

    /// Batches of an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.examples.len().div_ceil(self.config.batch_size) as u64
    }

    /// The place after the last batch given.
    pub fn cursor(&self) -> EpochCursor {
        EpochCursor {
            fingerprint: self.fingerprint.clone(),
            batches: self.given,
        }
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> ClassificationBatch {
        let per_epoch = self.batches_per_epoch();
        let place = self.given % per_epoch;
        if place == 0 && self.given > 0 {
            self.epoch = self.order(self.given / per_epoch);
        }
        self.given = self.given.saturating_add(1);
        let rows = &self.epoch[usize::try_from(place).expect("it counts batches in memory")];
        ClassificationBatch::of(&self.examples, rows, self.config.pad_id)
    }

    /// The rows of every batch of an epoch: a function of (seed, epoch).
    fn order(&self, epoch: u64) -> Vec<Vec<usize>> {
        let order = |n, purpose| {
            if self.config.shuffle {
                permutation(n, epoch_rng(self.config.seed, epoch, purpose))
            } else {
                (0..n).collect()
            }
        };
        let mut rows = order(self.examples.len(), Purpose::RowOrder);
        if self.config.bucketing {
            for window in rows.chunks_mut(WINDOW * self.config.batch_size) {
                window.sort_by_key(|&row| self.examples[row].input_ids.len());
            }
        }
        let batches: Vec<&[usize]> = rows.chunks(self.config.batch_size).collect();
        order(batches.len(), Purpose::BatchOrder)
            .into_iter()
            .map(|batch| batches[batch].to_vec())
            .collect()
    }
}

/// All of `examples` in batches of similar length, the longest first, for evaluation and prediction.
pub fn evaluation_batches(
    examples: &[EncodedExample],
    batch_size: usize,
    pad_id: i32,
) -> Vec<ClassificationBatch> {
    let mut rows: Vec<usize> = (0..examples.len()).collect();
    rows.sort_by_key(|&row| std::cmp::Reverse(examples[row].input_ids.len()));
    rows.chunks(batch_size.max(1))
        .map(|rows| ClassificationBatch::of(examples, rows, pad_id))
        .collect()
}

fn fingerprint(examples: &EncodedExamples, config: &EpochConfig) -> String {
    let mut bytes = serde_json::to_vec(config).expect("the settings have only string keys");
    bytes.extend(examples.sha256.as_bytes());
    sha256_hex(&bytes)
}
