//! Grouped-query self-attention (Ainslie et al. 2023) with rotary positions.

use blockllm_kernels::{AttentionOptions, Visibility, attention, linear_layer};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::kv_cache::LayerCache;
use super::rope::RotarySlice;
use super::sliding_window::Window;

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
    /// How many tokens a token sees, itself among them: `W`. All before it where there is none.
    pub sliding_window: Option<usize>,
}

impl LlamaAttention {
    /// Lets every token gather from those before it that `visibility` and the window let it see.
    ///
    /// Without a cache a token's place in the window is its place in the row, so that documents of a row are each in one piece.
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
        let (keys, values, past, window) = match cache {
            Some(cache) => {
                let (keys, values, past) = cache.append(keys, values);
                (keys, values, past, cache.window())
            }
            None => (keys, values, 0, Window::of_rows(self.sliding_window, length)),
        };
        let options = AttentionOptions {
            scale: (self.head_dim as f32).powf(-0.5),
            causal: true,
            // Of a cache, what is not written yet comes later.
            past,
            dropout: None,
        };
        // [B, T, H, head_dim]
        let gathered = match window {
            Some(window) => window.attention(queries, keys, values, visibility, options),
            None => attention(queries, keys, values, visibility, options),
        };
        let gathered = gathered.reshape([batch, length, self.num_heads * self.head_dim]);
        linear_layer(&self.o_proj, gathered)
    }

    /// Cuts a projection into heads: `[B, T, heads * head_dim]` to `[B, T, heads, head_dim]`.
    fn split(&self, projected: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, length, _] = projected.dims();
        projected.reshape([batch, length, heads, self.head_dim])
    }
}
