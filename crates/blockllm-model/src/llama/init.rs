//! Fresh Llama models: every matrix drawn by [`Fresh`], ones for norms.

use burn::tensor::Device;

use super::attention::LlamaAttention;
use super::causal_lm::LlamaForCausalLM;
use super::config::LlamaConfig;
use super::decoder_layer::LlamaDecoderLayer;
use super::mlp::LlamaMlp;
use super::model::LlamaModel;
use super::rms_norm::RmsNorm;
use super::rope::RotaryEmbedding;
use super::sequence_classification::LlamaForSequenceClassification;
use crate::hf::WeightDtype;
use crate::init::{Fresh, materialize, materialize_as};

impl LlamaConfig {
    /// A model with fresh weights: normal with standard deviation `initializer_range`, ones for norms.
    ///
    /// The same seed gives the same weights on every backend. All parameters require gradients when `device` is an
    /// autodiff device.
    pub fn init(&self, seed: u64, device: &Device) -> LlamaForCausalLM {
        let model = self.init_lazy(seed, device);
        materialize(&model);
        model
    }

    /// [`init`](Self::init) in another number format, which the device must support: the same numbers, rounded. One
    /// parameter at a time is there in f32.
    pub fn init_as(&self, seed: u64, dtype: WeightDtype, device: &Device) -> LlamaForCausalLM {
        materialize_as(self.init_lazy(seed, device), dtype.into())
    }

    /// A model whose weights are drawn when first touched, so that loading a folder never draws them.
    pub(crate) fn init_lazy(&self, seed: u64, device: &Device) -> LlamaForCausalLM {
        let mut fresh = Fresh::new(seed, self.initializer_range, device);
        let model = self.init_decoder(&mut fresh);
        let lm_head = (!self.tie_word_embeddings).then(|| fresh.linear(self.hidden_size, self.vocab_size));
        LlamaForCausalLM { model, lm_head }
    }

    /// A model with fresh weights that sorts texts into `num_labels` classes, or gives one score.
    ///
    /// # Panics
    ///
    /// When `num_labels` is zero.
    pub fn init_classifier(
        &self,
        num_labels: usize,
        seed: u64,
        device: &Device,
    ) -> LlamaForSequenceClassification {
        let model = self.init_classifier_lazy(num_labels, seed, device);
        materialize(&model);
        model
    }

    /// [`init_classifier`](Self::init_classifier), drawn when first touched.
    pub(crate) fn init_classifier_lazy(
        &self,
        num_labels: usize,
        seed: u64,
        device: &Device,
    ) -> LlamaForSequenceClassification {
        assert!(num_labels > 0, "a classifier needs at least one label");
        let mut fresh = Fresh::new(seed, self.initializer_range, device);
        LlamaForSequenceClassification {
            model: self.init_decoder(&mut fresh),
            score: fresh.linear(self.hidden_size, num_labels),
        }
    }

    /// Everything below the head.
    fn init_decoder(&self, fresh: &mut Fresh) -> LlamaModel {
        LlamaModel {
            embed_tokens: fresh.embedding(self.vocab_size, self.hidden_size),
            layers: (0..self.num_hidden_layers)
                .map(|index| self.init_layer(index, fresh))
                .collect(),
            norm: self.init_norm(fresh),
            rotary_emb: RotaryEmbedding::new(self),
        }
    }

    /// The layer of that index, lowest first.
    fn init_layer(&self, index: usize, fresh: &mut Fresh) -> LlamaDecoderLayer {
        let width = self.hidden_size;
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let (input_bias, mlp_bias) = (self.attention_bias, self.mlp_bias);
        LlamaDecoderLayer {
            self_attn: LlamaAttention {
                q_proj: fresh.linear_with(width, queries, input_bias),
                k_proj: fresh.linear_with(width, keys, input_bias),
                v_proj: fresh.linear_with(width, keys, input_bias),
                o_proj: fresh.linear_with(queries, width, self.has_output_bias()),
                num_heads: self.num_attention_heads,
                num_key_value_heads: self.num_key_value_heads,
                head_dim: self.head_dim,
                sliding_window: self.window_of(index),
            },
            mlp: LlamaMlp {
                gate_proj: fresh.linear_with(width, self.intermediate_size, mlp_bias),
                up_proj: fresh.linear_with(width, self.intermediate_size, mlp_bias),
                down_proj: fresh.linear_with(self.intermediate_size, width, mlp_bias),
            },
            input_layernorm: self.init_norm(fresh),
            post_attention_layernorm: self.init_norm(fresh),
        }
    }

    /// One norm, of ones.
    fn init_norm(&self, fresh: &Fresh) -> RmsNorm {
        RmsNorm {
            weight: fresh.constant(self.hidden_size, 1.0),
            epsilon: self.rms_norm_eps,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::super::family::LlamaFamily;
    use super::*;

    #[test]
    fn the_count_of_parameters_is_exact() {
        let device = Device::default();
        let plain = LlamaConfig::new(96, 32, 40, 2, 4).with_num_key_value_heads(2);
        let biased = LlamaConfig {
            attention_bias: true,
            mlp_bias: true,
            ..plain.clone()
        };
        let qwen2 = LlamaConfig {
            family: LlamaFamily::Qwen2,
            attention_bias: true,
            ..plain.clone()
        };
        for config in [plain.clone().with_tie_word_embeddings(true), plain, biased, qwen2] {
            let model = config.init(0, &device);
            assert_eq!(model.num_params() as u64, config.num_parameters());
        }
    }
}
