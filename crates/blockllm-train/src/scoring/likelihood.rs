//! The log-likelihood of continuations, in batches of rows of like length, padded on their right.
use crate::TrainError;
use blockllm_data::tasks::PairTokens;
use blockllm_model::llama::LlamaForCausalLM;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a model says of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likelihood {
    /// The sum over its tokens, in nats.
    pub log_likelihood: f64,
    /// Whether each of its tokens is the likeliest one.
    pub is_greedy: bool,
}

/// Scores continuations with one model.
#[derive(Debug)]
pub struct Scorer<'a> {
    model: &'a LlamaForCausalLM,
    device: Device,
    batch: usize,
}

/// A row that the model reads, and the pairs that are scored on it: those that differ in their last token alone share it.
struct Row {
    input_ids: Vec<u32>,
    pairs: Vec<usize>,
}

impl<'a> Scorer<'a> {
    /// With `batch` rows at a time, at least one, on the device where the weights are; `model` without autodiff.
    pub fn new(model: &'a LlamaForCausalLM, device: &Device, batch: usize) -> Self {
        Self {
            model,
            device: device.clone(),
            batch: batch.max(1),
        }
    }

    /// The model.
    pub fn model(&self) -> &'a LlamaForCausalLM {
        self.model
    }

    /// Rows at a time.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens that the model can read at once.
    pub fn positions(&self) -> usize {
        self.model.model.rotary_emb.num_positions()
    }

    /// Checks that a pair can be scored: its continuation has a token and not more than there are positions. A context is cut on
    /// its left.
    ///
    /// # Errors
    /// [`TrainError::Unscorable`], naming `what`.
    pub fn check(&self, pair: &PairTokens, what: impl FnOnce() -> String) -> Result<(), TrainError> {
        let why = match pair.continuation.len() {
            0 => "no token is left of it behind its context: reword it, or leave the item out".to_owned(),
            length if length > self.positions() => format!(
                "it has {length} tokens and the model {} positions: leave the item out, or take a model with more",
                self.positions()
            ),
            _ => return Ok(()),
        };
        Err(TrainError::Unscorable { what: what(), why })
    }

    /// The likelihood of every pair's continuation; `done` hears how many more pairs are scored.
    ///
    /// # Errors
    /// When the device fails, or the weights give no numbers.
    ///
    /// # Panics
    /// When a pair is none that [`check`](Self::check) passes.
    pub fn score(&self, pairs: &[PairTokens], done: &dyn Fn(usize)) -> Result<Vec<Likelihood>, TrainError> {
        let mut found = vec![None; pairs.len()];
        for rows in self.rows(pairs).chunks(self.batch) {
            for (pair, likelihood) in self.score_rows(rows, pairs)? {
                found[pair] = Some(likelihood);
            }
            done(rows.iter().map(|row| row.pairs.len()).sum());
        }
        let all = found.into_iter();
        Ok(all.map(|one| one.expect("every pair is on a row")).collect())
    }

    /// The rows of all pairs, the longest first: the first batch shows whether the memory is enough.
    fn rows(&self, pairs: &[PairTokens]) -> Vec<Row> {
        let mut rows: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
        for (index, pair) in pairs.iter().enumerate() {
            // The last token is only predicted, never read.
            let mut read = [pair.context.as_slice(), &pair.continuation].concat();
            read.pop();
            let left = read.len().saturating_sub(self.positions());
            rows.entry(read.split_off(left)).or_default().push(index);
        }
        let rows = rows.into_iter();
        let mut rows: Vec<Row> = rows.map(|(input_ids, pairs)| Row { input_ids, pairs }).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.input_ids.len()));
        rows
    }

    /// One batch.
    fn score_rows(&self, rows: &[Row], pairs: &[PairTokens]) -> Result<Vec<(usize, Likelihood)>, TrainError> {
        let length = rows.iter().map(|row| row.input_ids.len()).max().unwrap_or(0);
        let (mut input_ids, mut places, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            for continuation in row.pairs.iter().map(|pair| &pairs[*pair].continuation) {
                let end = number * length + row.input_ids.len();
                places.extend(end - continuation.len()..end);
                targets.extend_from_slice(continuation);
            }
            input_ids.extend(row.input_ids.iter().map(|id| *id as i32));
            input_ids.resize((number + 1) * length, 0);
        }
        let input_ids = TensorData::new(input_ids, [rows.len(), length]);
        let input_ids = Tensor::<2, Int>::from_data(input_ids, &self.device);
        let scores = self.model.token_scores(input_ids, &places, &targets);
        let losses: Vec<f64> = read_back(scores.losses.try_into_data())?.iter::<f64>().collect();
        let likeliest: Vec<i64> = read_back(scores.likeliest.try_into_data())?
            .iter::<i64>()
            .collect();
        if losses.iter().any(|loss| !loss.is_finite()) {
            return Err(TrainError::Logits);
        }
        let mut at = 0;
        let scored = rows.iter().flat_map(|row| &row.pairs).map(|pair| {
            let of_pair = at..at + pairs[*pair].continuation.len();
            at = of_pair.end;
            let likelihood = Likelihood {
                log_likelihood: -losses[of_pair.clone()].iter().sum::<f64>(),
                is_greedy: of_pair
                    .into_iter()
                    .all(|token| likeliest[token] == i64::from(targets[token])),
            };
            (*pair, likelihood)
        });
        Ok(scored.collect())
    }
}

fn read_back<E: std::fmt::Display>(data: Result<TensorData, E>) -> Result<TensorData, TrainError> {
    data.map_err(|error| TrainError::Device {
        what: "the likelihoods",
        message: error.to_string(),
    })
}
