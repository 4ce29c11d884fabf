//! Text generation, token by token, with or without a cache of keys and values.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::causal_lm::LlamaForCausalLM;
use super::generate_config::GenerateConfig;
use super::kv_cache::KvCache;
use super::sampling;
use crate::ModelError;

impl LlamaForCausalLM {
    /// Continues `prompt`, on the device that holds the weights; returns prompt and continuation.
    ///
    /// Call it on a model without autodiff (`model.valid()`) to keep no graph.
    ///
    /// # Errors
    ///
    /// When a field of `config` is senseless, the prompt is empty or has tokens outside of the vocabulary, prompt
    /// and continuation need more than `max_position_embeddings` positions, or the weights give logits that are no numbers.
    pub fn generate(&self, prompt: &[u32], config: &GenerateConfig) -> Result<Vec<u32>, ModelError> {
        config.validate()?;
        self.validate_prompt(prompt)?;
        // The last token is only returned, never fed in, so it needs no position.
        let positions = prompt
            .len()
            .saturating_add(config.max_new_tokens)
            .saturating_sub(1);
        let available = self.model.rotary_emb.num_positions();
        if positions.max(prompt.len()) > available {
            return Err(ModelError::TooLong {
                expected: available,
                found: positions.max(prompt.len()),
            });
        }
        let device = self.model.embed_tokens.weight.lazy_device();
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut cache = config
            .use_cache
            .then(|| KvCache::new(self.model.layers.len(), positions));
        let mut tokens = prompt.to_vec();
        for _ in 0..config.max_new_tokens {
            let seen = cache.as_ref().map_or(0, KvCache::len);
            let logits = self.next_logits(&tokens[seen..], cache.as_mut(), &device);
            if let Some(broken) = logits.iter().find(|logit| !logit.is_finite()) {
                let mend = "the weights are broken, by a training that diverged or on disk: load others";
                return Err(ModelError::config("generate", "logits", "numbers", broken, mend));
            }
            let token = match config.temperature {
                0.0 => sampling::greedy(&logits),
                _ => sampling::sample(&logits, config, &mut rng),
            };
            tokens.push(token);
            if config.stop_at.contains(&token) {
                break;
            }
        }
        Ok(tokens)
    }

    /// Checks that there is a prompt and that the embedding knows its tokens.
    fn validate_prompt(&self, prompt: &[u32]) -> Result<(), ModelError> {
        let [vocab_size, _] = self.model.embed_tokens.weight.lazy_shape().dims();
        let Some(largest) = prompt.iter().max() else {
            let mend = "begin with the `bos_token_id`";
            return Err(ModelError::config(
                "generate",
                "prompt",
                "at least one token",
                "empty",
                mend,
            ));
        };
        if *largest as usize >= vocab_size {
            let mend = "use the tokenizer of this model";
            let expected = format!("tokens less than {vocab_size}");
            return Err(ModelError::config("generate", "prompt", expected, largest, mend));
        }
        Ok(())
    }

    /// The logits, `V` of them, after the last of `tokens`, read back to the host.
    fn next_logits(&self, tokens: &[u32], cache: Option<&mut KvCache>, device: &Device) -> Vec<f32> {
        let ids: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens.len()]), device);
        let hidden = self
            .model
            .forward(ids, None, cache)
            .narrow(1, tokens.len() - 1, 1);
        let logits = self.logits(hidden).cast(DType::F32).into_data();
        logits
            .try_into_vec()
            .expect("the logits were cast to f32 just above")
    }
}
