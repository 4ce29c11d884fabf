//! What ends both halves of an encoder layer: a projection, the residual sum, and its norm.

use blockllm_kernels::linear_layer;
use burn::module::Module;
use burn::nn::{Dropout, Linear};
use burn::tensor::Tensor;

use super::layer_norm::LayerNorm;
use crate::dropout::dropped;

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
