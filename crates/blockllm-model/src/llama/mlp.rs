//! The feed-forward layer: `SwiGLU` (Shazeer 2020).

use blockllm_kernels::{linear_layer, swiglu};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

/// `down_proj(silu(gate_proj(x)) * up_proj(x))`.
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// `[D, I]`, through the activation.
    pub gate_proj: Linear,
    /// `[D, I]`.
    pub up_proj: Linear,
    /// `[I, D]`.
    pub down_proj: Linear,
}

impl LlamaMlp {
    /// Transforms every token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let gate = linear_layer(&self.gate_proj, hidden.clone()); // [B, T, I]
        linear_layer(&self.down_proj, swiglu(gate, linear_layer(&self.up_proj, hidden)))
    }
}
