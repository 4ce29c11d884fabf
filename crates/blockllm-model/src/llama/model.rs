//! The decoder stack: embedding, layers, last norm; everything below the output head.

use blockllm_kernels::{Visibility, embedding};
use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};

use super::decoder_layer::LlamaDecoderLayer;
use super::kv_cache::KvCache;
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
    /// Cosines and sines of positions.
    pub rotary_emb: RotaryEmbedding,
}

impl LlamaModel {
    /// Hidden states of every token, behind those that `cache` holds.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `segment_ids`: `[B, T]`: tokens attend only within their own segment, so that documents packed into one row do
    ///   not see each other; as rotary embeddings are relative, positions need not start anew
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
        let mut hidden = self.embed(input_ids);
        let rotary = self.rotary_emb.slice(past, length, &hidden.device());
        let visibility = visibility_of(segment_ids);
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| cache.layer(index));
            hidden = layer.forward(hidden, &rotary, &visibility, cache);
        }
        self.norm.forward(hidden)
    }

    /// How hidden states go through one layer, for rows of `length` tokens in these segments: the same for every layer.
    pub(super) fn through_layer(
        &self,
        length: usize,
        segment_ids: Option<Tensor<2, Int>>,
    ) -> impl Fn(&LlamaDecoderLayer, Tensor<3>) -> Tensor<3> + use<> {
        let rotary = self
            .rotary_emb
            .slice(0, length, &self.embed_tokens.weight.base().device());
        let visibility = visibility_of(segment_ids);
        move |layer, hidden| layer.forward(hidden, &rotary, &visibility, None)
    }

    /// The embeddings of tokens, which go into the lowest layer.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - output: `[B, T, D]`
    pub fn embed(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.embed_tokens.weight.val(), input_ids)
    }
}

/// What tokens see of each other beside what comes later: `[B, T]`, tokens of one segment see each other.
fn visibility_of(segment_ids: Option<Tensor<2, Int>>) -> Visibility {
    segment_ids.map_or(Visibility::All, Visibility::Segments)
}
