//! One encoder layer: attention and feed-forward, each normalized after its residual sum (post-norm).

use blockllm_kernels::{Visibility, gelu, linear_layer};
use burn::module::Module;
use burn::nn::{Dropout, Linear};
use burn::tensor::Tensor;

use super::attention::EncoderAttention;
use super::layer_norm::LayerNorm;
use crate::dropout::dropped;

/// A post-norm transformer layer.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Self-attention, its residual sum and norm.
    pub attention: EncoderAttention,
    /// The wide half of the feed-forward layer.
    pub intermediate: Intermediate,
    /// The narrow half, its residual sum and norm.
    pub output: ResidualOutput,
}

impl EncoderLayer {
    /// Transforms every token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, visibility: &Visibility) -> Tensor<3> {
        let attended = self.attention.forward(hidden, visibility);
        let wide = self.intermediate.forward(attended.clone()); // [B, T, I]
        self.output.forward(wide, attended)
    }
}

/// `gelu(dense(x))`.
#[derive(Module, Debug)]
pub struct Intermediate {
    /// `[D, I]`.
    pub dense: Linear,
}

impl Intermediate {
    /// Widens every token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, I]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        gelu(linear_layer(&self.dense, hidden))
    }
}

/// `layer_norm(dropout(dense(x)) + residual)`.
#[derive(Module, Debug)]
pub struct ResidualOutput {
    /// `[D or I, D]`.
    pub dense: Linear,
    /// The norm behind the sum.
    pub layer_norm: LayerNorm,
    /// On what is added to the residual stream.
    pub dropout: Dropout,
}

impl ResidualOutput {
    /// Adds to the residual stream and normalizes it.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D or I]`
    /// - residual: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let added = dropped(&self.dropout, linear_layer(&self.dense, hidden));
        self.layer_norm.forward(added + residual)
    }
}
