//! Fresh weights: drawn on the host by `ChaCha`, so that one seed gives the same model on every backend.

use std::f64::consts::TAU;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::attention::LlamaAttention;
use super::causal_lm::LlamaForCausalLM;
use super::config::LlamaConfig;
use super::decoder_layer::LlamaDecoderLayer;
use super::mlp::LlamaMlp;
use super::model::LlamaModel;
use super::rms_norm::RmsNorm;
use super::rope::RotaryEmbedding;

impl LlamaConfig {
    /// A model with fresh weights: normal with standard deviation `initializer_range`, ones for norms.
    ///
    /// The same seed gives the same weights on every backend. All parameters require gradients when `device` is an
    /// autodiff device.
    pub fn init(&self, seed: u64, device: &Device) -> LlamaForCausalLM {
        let model = self.init_lazy(seed, device);
        model.visit(&mut Materialize);
        model
    }

    /// A model whose weights are drawn when first touched, so that loading a folder never draws them.
    pub(crate) fn init_lazy(&self, seed: u64, device: &Device) -> LlamaForCausalLM {
        let mut fresh = Fresh {
            seed,
            std: self.initializer_range,
            next_stream: 0,
            device,
        };
        let width = self.hidden_size;
        let model = LlamaModel {
            embed_tokens: Embedding {
                weight: fresh.normal([self.vocab_size, width]),
            },
            layers: (0..self.num_hidden_layers)
                .map(|_| self.init_layer(&mut fresh))
                .collect(),
            norm: self.init_norm(device),
            rotary_emb: RotaryEmbedding::new(self, device),
        };
        let lm_head = (!self.tie_word_embeddings).then(|| fresh.linear(width, self.vocab_size));
        LlamaForCausalLM { model, lm_head }
    }

    /// One layer.
    fn init_layer(&self, fresh: &mut Fresh) -> LlamaDecoderLayer {
        let width = self.hidden_size;
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        LlamaDecoderLayer {
            self_attn: LlamaAttention {
                q_proj: fresh.linear(width, queries),
                k_proj: fresh.linear(width, keys),
                v_proj: fresh.linear(width, keys),
                o_proj: fresh.linear(queries, width),
                num_heads: self.num_attention_heads,
                num_key_value_heads: self.num_key_value_heads,
                head_dim: self.head_dim,
            },
            mlp: LlamaMlp {
                gate_proj: fresh.linear(width, self.intermediate_size),
                up_proj: fresh.linear(width, self.intermediate_size),
                down_proj: fresh.linear(self.intermediate_size, width),
            },
            input_layernorm: self.init_norm(fresh.device),
            post_attention_layernorm: self.init_norm(fresh.device),
        }
    }

    /// One norm, of ones.
    fn init_norm(&self, device: &Device) -> RmsNorm {
        let ones = |device: &Device, require_grad| {
            Tensor::<1>::ones([self.hidden_size], (device, DType::F32)).set_require_grad(require_grad)
        };
        let require_grad = device.is_autodiff();
        RmsNorm {
            weight: Param::from_tensor(ones(device, require_grad)),
            epsilon: self.rms_norm_eps,
        }
    }
}

/// Hands out parameters, each with a random stream of its own.
struct Fresh<'a> {
    seed: u64,
    std: f64,
    next_stream: u64,
    device: &'a Device,
}

impl Fresh<'_> {
    /// A burn `Linear` without bias, `[inputs, outputs]`.
    fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        Linear {
            weight: self.normal([inputs, outputs]),
            bias: None,
        }
    }

    /// A matrix that draws itself when it is first touched.
    fn normal(&mut self, shape: [usize; 2]) -> Param<Tensor<2>> {
        let (seed, std, stream) = (self.seed, self.std, self.next_stream);
        self.next_stream += 1;
        let draw = move |device: &Device, require_grad| {
            let values = normal_values(seed, stream, std, shape.iter().product());
            let data = TensorData::new(values, shape);
            let tensor = device.memory_persistent_allocations(data, |data| {
                Tensor::<2>::from_data(data, (device, DType::F32))
            });
            tensor.set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), draw, self.device.clone(), true, shape.into())
    }
}

/// Normal numbers by Box and Muller (1958) from one stream of a seeded `ChaCha`.
fn normal_values(seed: u64, stream: u64, std: f64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * open_unit(&mut rng).ln()).sqrt();
        let (sin, cos) = (TAU * open_unit(&mut rng)).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(count);
    values
}

/// A number strictly between 0 and 1.
fn open_unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Touches every parameter.
struct Materialize;

impl ModuleVisitor for Materialize {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_asked_mean_and_deviation() {
        let values = normal_values(7, 3, 0.02, 20_001);
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        assert_eq!(values.len(), 20_001);
        assert!(
            mean.abs() < 5e-4 && (variance.sqrt() - 0.02).abs() < 4e-4,
            "{mean} {variance}"
        );
    }

    #[test]
    fn streams_and_seeds_differ_and_repeat() {
        assert_eq!(normal_values(1, 0, 1.0, 8), normal_values(1, 0, 1.0, 8));
        assert_ne!(normal_values(1, 0, 1.0, 8), normal_values(1, 1, 1.0, 8));
        assert_ne!(normal_values(1, 0, 1.0, 8), normal_values(2, 0, 1.0, 8));
    }

    #[test]
    fn the_count_of_parameters_is_exact() {
        let device = Device::default();
        for tie in [false, true] {
            let config = LlamaConfig::new(96, 32, 40, 2, 4)
                .with_num_key_value_heads(2)
                .with_tie_word_embeddings(tie);
            let model = config.init(0, &device);
            assert_eq!(model.num_params() as u64, config.num_parameters());
        }
    }
}
