//! Layer normalization (Ba et al. 2016), its parameters named as in PyTorch.

use burn::module::{Module, Param};
use burn::tensor::module::layer_norm;
use burn::tensor::{DType, Tensor};

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
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let dtype = hidden.dtype();
        if dtype == DType::F32 {
            return layer_norm(hidden, weight, Some(bias), self.epsilon);
        }
        let wide = hidden.cast(DType::F32);
        let (weight, bias) = (weight.cast(DType::F32), bias.cast(DType::F32));
        layer_norm(wide, weight, Some(bias), self.epsilon).cast(dtype)
    }
}
