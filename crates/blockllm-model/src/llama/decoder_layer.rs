//! One decoder layer: attention and feed-forward, each normalized before and added to the residual stream.

use blockllm_kernels::Visibility;
use burn::module::Module;
use burn::tensor::Tensor;

use super::attention::LlamaAttention;
use super::kv_cache::LayerCache;
use super::mlp::LlamaMlp;
use super::rms_norm::RmsNorm;
use super::rope::RotarySlice;

/// A pre-norm transformer layer.
#[derive(Module, Debug)]
pub struct LlamaDecoderLayer {
    /// Self-attention.
    pub self_attn: LlamaAttention,
    /// Feed-forward.
    pub mlp: LlamaMlp,
    /// Normalizes what attention reads.
    pub input_layernorm: RmsNorm,
    /// Normalizes what the feed-forward layer reads.
    pub post_attention_layernorm: RmsNorm,
}

impl LlamaDecoderLayer {
    /// Adds this layer's two contributions to the residual stream.
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
        let normed = self.input_layernorm.forward(hidden.clone());
        let hidden = hidden + self.self_attn.forward(normed, rotary, visibility, cache);
        let normed = self.post_attention_layernorm.forward(hidden.clone());
        hidden + self.mlp.forward(normed)
    }
}
