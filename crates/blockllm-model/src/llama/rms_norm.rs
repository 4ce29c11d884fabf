//! Root-mean-square normalization (Zhang and Sennrich 2019), rounded where Hugging Face rounds.
//!
//! burn's own `RmsNorm` divides after rounding the root to the activations' format, so in bf16 it is another
//! function than transformers'; and its `gamma` is not the key's `weight`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `y = weight * x / sqrt(mean(x^2) + eps)`, the mean and the root in f32.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// The learned scale, `[D]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// Normalizes every token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        blockllm_kernels::rms_norm(hidden, self.weight.val(), self.epsilon)
    }
}
