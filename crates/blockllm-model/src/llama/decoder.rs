//! What all generation does between two choices: new tokens of every row go through the model, logits come back to the host.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::causal_lm::LlamaForCausalLM;
use super::kv_cache::KvCache;
use crate::ModelError;

/// A model and what it has computed of the texts of a batch.
#[derive(Debug)]
pub(super) struct Decoder<'m> {
    model: &'m LlamaForCausalLM,
    device: Device,
    cache: KvCache,
}

impl<'m> Decoder<'m> {
    /// For `rows` texts, of which nothing is computed yet.
    pub(super) fn new(model: &'m LlamaForCausalLM, rows: usize) -> Self {
        Self {
            model,
            device: model.model.embed_tokens.weight.lazy_device(),
            cache: KvCache::new(model.model.layers.len(), rows),
        }
    }

    /// Positions that a text may have.
    pub(super) fn num_positions(&self) -> usize {
        self.model.model.rotary_emb.num_positions()
    }

    /// The number of tokens computed of row `row`.
    pub(super) fn len_of(&self, row: usize) -> usize {
        self.cache.len_of(row)
    }

    /// Goes back to the first `length` tokens of the only row.
    pub(super) fn truncate(&mut self, length: usize) {
        self.cache.truncate(length);
    }

    /// Forgets everything computed.
    pub(super) fn clear(&mut self) {
        self.cache = KvCache::new(self.model.model.layers.len(), self.cache.num_rows());
    }

    /// Keeps these rows alone, in this order.
    pub(super) fn keep_rows(&mut self, rows: &[usize]) {
        self.cache.keep_rows(rows);
    }

    /// Checks that the embedding knows all of `tokens`, which `origin` calls `field`.
    pub(super) fn check_tokens(&self, tokens: &[u32], origin: &str, field: &str) -> Result<(), ModelError> {
        let [vocab_size, _] = self.model.model.embed_tokens.weight.lazy_shape().dims();
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            None => Ok(()),
            Some(unknown) => {
                let mend = "use the tokenizer of this model";
                let expected = format!("tokens less than {vocab_size}");
                Err(ModelError::config(origin, field, expected, unknown, mend))
            }
        }
    }

    /// Computes the new tokens of every row, one at least, behind those computed before; returns the logits, `V` of them, after the
    /// last of each.
    ///
    /// # Errors
    ///
    /// When a text has more tokens than the model has positions, or the logits are no numbers.
    pub(super) fn feed(&mut self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let needed = rows
            .iter()
            .enumerate()
            .map(|(row, new)| self.len_of(row) + new.len());
        let (found, expected) = (needed.max().unwrap_or(0), self.num_positions());
        if found > expected {
            return Err(ModelError::TooLong { expected, found });
        }
        let length = rows.iter().map(|new| new.len()).max().unwrap_or(0);
        let padding: Vec<usize> = rows.iter().map(|new| length - new.len()).collect();
        let mut ids = Vec::with_capacity(rows.len() * length);
        for (new, padding) in rows.iter().zip(&padding) {
            ids.resize(ids.len() + padding, 0);
            ids.extend(new.iter().map(|token| *token as i32));
        }
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows.len(), length]), &self.device);
        let hidden = self.model.model.forward_cached(ids, &padding, &mut self.cache);
        let logits = self.model.logits(hidden.narrow(1, length - 1, 1)); // [B, 1, V]
        let vocab_size = logits.dims()[2];
        let logits: Vec<f32> = logits
            .cast(DType::F32)
            .into_data()
            .try_into_vec()
            .expect("the logits were cast to f32 just above");
        if let Some(broken) = logits.iter().find(|logit| !logit.is_finite()) {
            let mend = "the weights hold NaN or infinity (a training that diverged, a broken file), or the arithmetic overflowed: \
                        load others";
            return Err(ModelError::config("generate", "logits", "numbers", broken, mend));
        }
        Ok(logits.chunks_exact(vocab_size).map(<[f32]>::to_vec).collect())
    }
}

/// An empty text, which has no token that a next one could follow.
pub(super) fn no_tokens(origin: &str, field: &str) -> ModelError {
    let mend = "begin with the `bos_token_id`";
    ModelError::config(origin, field, "at least one token", "empty", mend)
}
