//! Grouped-query self-attention (Ainslie et al. 2023) with rotary positions.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};

use super::kv_cache::LayerCache;
use super::rope::RotarySlice;

/// Attention of `H` query heads over `K` key and value heads, without biases.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `[D, H * head_dim]`.
    pub q_proj: Linear,
    /// `[D, K * head_dim]`.
    pub k_proj: Linear,
    /// `[D, K * head_dim]`.
    pub v_proj: Linear,
    /// `[H * head_dim, D]`.
    pub o_proj: Linear,
    /// `H`.
    pub num_heads: usize,
    /// `K`.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

impl LlamaAttention {
    /// Lets every token gather from those that `bias` lets it see.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - bias: `[1 or B, 1, T, S]`
    /// - output: `[B, T, D]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        rotary: &RotarySlice,
        bias: Option<&Tensor<4>>,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [batch, length, _] = hidden.dims();
        let queries = self.split(self.q_proj.forward(hidden.clone()), self.num_heads);
        let keys = self.split(self.k_proj.forward(hidden.clone()), self.num_key_value_heads);
        let values = self.split(self.v_proj.forward(hidden), self.num_key_value_heads);
        // Scaling the queries instead of the scores touches `S / head_dim` times fewer numbers.
        let queries = rotary.rotate(queries) * (self.head_dim as f64).powf(-0.5);
        let keys = rotary.rotate(keys);
        let (keys, values) = match cache {
            Some(cache) => cache.append(keys, values),
            None => (keys, values),
        };
        let gathered = self.attend(queries, keys, values, bias); // [B, H, T, head_dim]
        self.o_proj.forward(
            gathered
                .swap_dims(1, 2)
                .reshape([batch, length, self.num_heads * self.head_dim]),
        )
    }

    /// `softmax(q k^T + bias) v`, the softmax in f32.
    ///
    /// The queries that share a key head are laid below each other as rows of one matrix, so that keys and values
    /// are never repeated.
    ///
    /// # Shapes
    ///
    /// - queries: `[B, H, T, head_dim]`
    /// - keys, values: `[B, K, S, head_dim]`
    /// - output: `[B, H, T, head_dim]`
    fn attend(
        &self,
        queries: Tensor<4>,
        keys: Tensor<4>,
        values: Tensor<4>,
        bias: Option<&Tensor<4>>,
    ) -> Tensor<4> {
        let [batch, heads, length, head_dim] = queries.dims();
        let groups = self.num_key_value_heads;
        let rows = heads / groups * length;
        let [_, _, seen, _] = keys.dims();
        let dtype = queries.dtype();

        let queries = queries.reshape([batch, groups, rows, head_dim]);
        let scores = queries
            .matmul(keys.transpose())
            .reshape([batch, heads, length, seen]);
        let scores = if dtype == DType::F32 {
            scores
        } else {
            scores.cast(DType::F32)
        };
        let scores = match bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let weights = softmax(scores, 3);
        let weights = if dtype == DType::F32 {
            weights
        } else {
            weights.cast(dtype)
        };
        let gathered = weights.reshape([batch, groups, rows, seen]).matmul(values);
        gathered.reshape([batch, heads, length, head_dim])
    }

    /// Cuts a projection into heads: `[B, T, heads * head_dim]` to `[B, heads, T, head_dim]`.
    fn split(&self, projected: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, length, _] = projected.dims();
        projected
            .reshape([batch, length, heads, self.head_dim])
            .swap_dims(1, 2)
    }
}
