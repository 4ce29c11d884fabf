//! Bidirectional multi-head self-attention (Vaswani et al. 2017), with biases.

use blockllm_kernels::{AttentionOptions, Visibility, attention, linear_layer};
use burn::module::Module;
use burn::nn::{Dropout, Linear};
use burn::tensor::Tensor;

use super::residual_output::ResidualOutput;
use crate::dropout::of_attention;

/// Attention, its output projection and the norm behind them.
#[derive(Module, Debug)]
pub struct EncoderAttention {
    /// Attention proper; its key says `self`, which Rust keeps for itself.
    pub self_attention: EncoderSelfAttention,
    /// Output projection, residual sum and norm.
    pub output: ResidualOutput,
}

impl EncoderAttention {
    /// Lets every token gather from all tokens that `visibility` lets be seen.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, visibility: &Visibility) -> Tensor<3> {
        let gathered = self.self_attention.forward(hidden.clone(), visibility);
        self.output.forward(gathered, hidden)
    }
}

/// Queries, keys and values of `H` heads.
#[derive(Module, Debug)]
pub struct EncoderSelfAttention {
    /// `[D, D]`.
    pub query: Linear,
    /// `[D, D]`.
    pub key: Linear,
    /// `[D, D]`.
    pub value: Linear,
    /// On the attention weights.
    pub dropout: Dropout,
    /// `H`.
    pub num_heads: usize,
}

impl EncoderSelfAttention {
    /// `softmax(q k^T / sqrt(D / H)) v`, the softmax in f32.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, visibility: &Visibility) -> Tensor<3> {
        let [batch, length, width] = hidden.dims();
        let options = AttentionOptions {
            scale: ((width / self.num_heads) as f32).powf(-0.5),
            causal: false,
            past: 0,
            dropout: of_attention(&self.dropout, &hidden.device()),
        };
        let queries = self.split(linear_layer(&self.query, hidden.clone()));
        let keys = self.split(linear_layer(&self.key, hidden.clone()));
        let values = self.split(linear_layer(&self.value, hidden));
        let gathered = attention(queries, keys, values, visibility, options);
        gathered.reshape([batch, length, width])
    }

    /// Cuts a projection into heads: `[B, T, D]` to `[B, T, H, D / H]`.
    fn split(&self, projected: Tensor<3>) -> Tensor<4> {
        let [batch, length, width] = projected.dims();
        projected.reshape([batch, length, self.num_heads, width / self.num_heads])
    }
}
