//! Layer normalization (Ba et al. 2016), its parameters named as in PyTorch.

use blockllm_kernels::layer_norm;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `y = weight * (x - mean(x)) / sqrt(var(x) + epsilon) + bias`, the statistics in f32.
///
/// burn's own has `gamma` and `beta`, which would make other paths than the checkpoints' keys.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// The learned scale, `[D]`.
    pub weight: Param<Tensor<1>>,
    /// The learned shift, `[D]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// Normalizes every token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        layer_norm(hidden, self.weight.val(), self.bias.val(), self.epsilon)
    }
}
