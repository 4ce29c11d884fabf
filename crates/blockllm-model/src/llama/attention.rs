//! Grouped-query self-attention (Ainslie et al. 2023) with rotary positions.

use blockllm_kernels::{AttentionOptions, Visibility, attention, linear_layer};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::kv_cache::LayerCache;
use super::rope::RotarySlice;

/// Attention of `H` query heads over `K` key and value heads, its projections with biases where the configuration says so.
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
    /// Lets every token gather from those before it that `visibility` lets it see.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        rotary: &RotarySlice,
        visibility: &Visibility,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [batch, length, _] = hidden.dims();
        let queries = self.split(linear_layer(&self.q_proj, hidden.clone()), self.num_heads);
        let keys = self.split(
            linear_layer(&self.k_proj, hidden.clone()),
            self.num_key_value_heads,
        );
        let values = self.split(linear_layer(&self.v_proj, hidden), self.num_key_value_heads);
        let (queries, keys) = (rotary.rotate(queries), rotary.rotate(keys));
        let (keys, values, past) = match cache {
            Some(cache) => cache.append(keys, values),
            None => (keys, values, 0),
        };
        let options = AttentionOptions {
            scale: (self.head_dim as f32).powf(-0.5),
            causal: true,
            // Of a cache, what is not written yet comes later.
            past,
            dropout: None,
        };
        let gathered = attention(queries, keys, values, visibility, options); // [B, T, H, head_dim]
        let gathered = gathered.reshape([batch, length, self.num_heads * self.head_dim]);
        linear_layer(&self.o_proj, gathered)
    }

    /// Cuts a projection into heads: `[B, T, heads * head_dim]` to `[B, T, heads, head_dim]`.
    fn split(&self, projected: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, length, _] = projected.dims();
        projected.reshape([batch, length, heads, self.head_dim])
    }
}
