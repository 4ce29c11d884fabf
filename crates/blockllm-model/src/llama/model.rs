//! The decoder stack: embedding, layers, last norm; everything below the output head.

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};

use super::decoder_layer::LlamaDecoderLayer;
use super::kv_cache::KvCache;
use super::mask::attention_bias;
use super::rms_norm::RmsNorm;
use super::rope::RotaryEmbedding;

/// Tokens in, hidden states out.
#[derive(Module, Debug)]
pub struct LlamaModel {
    /// The embedding, `[V, D]`.
    pub embed_tokens: Embedding,
    /// The decoder layers, lowest first.
    pub layers: Vec<LlamaDecoderLayer>,
    /// The norm below the head.
    pub norm: RmsNorm,
    /// Cosines and sines of all positions.
    pub rotary_emb: RotaryEmbedding,
}

impl LlamaModel {
    /// Hidden states of every token, behind those that `cache` holds.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `segment_ids`: `[B, T]`, see [`attention_bias`](super::attention_bias)
    /// - output: `[B, T, D]`
    ///
    /// # Panics
    ///
    /// When the tokens need more positions than the model has, or segments are combined with past tokens.
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        segment_ids: Option<Tensor<2, Int>>,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [_, length] = input_ids.dims();
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        assert!(
            past == 0 || segment_ids.is_none(),
            "segments cannot be combined with cached tokens"
        );
        let mut hidden = self.embed_tokens.forward(input_ids);
        let rotary = self.rotary_emb.slice(past, length, hidden.dtype());
        let bias = attention_bias(past, length, segment_ids, &hidden.device());
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| cache.layer(index));
            hidden = layer.forward(hidden, &rotary, bias.as_ref(), cache);
        }
        self.norm.forward(hidden)
    }
}
