//! One encoder layer: attention and feed-forward, each normalized after its residual sum (post-norm).

use blockllm_kernels::{Visibility, gelu, linear_layer};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::attention::EncoderAttention;
use super::residual_output::ResidualOutput;

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
