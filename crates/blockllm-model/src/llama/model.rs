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
    /// Hidden states of every token.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `segment_ids`: `[B, T]`: tokens attend only within their own segment, so that documents packed into one row do
    ///   not see each other; as rotary embeddings are relative, positions need not start anew. The tokens of a segment are in one
    ///   piece, so that a sliding window counts them as in the document alone
    /// - output: `[B, T, D]`
    ///
    /// # Panics
    ///
    /// When the tokens need more positions than the model has.
    pub fn forward(&self, input_ids: Tensor<2, Int>, segment_ids: Option<Tensor<2, Int>>) -> Tensor<3> {
        let [_, length] = input_ids.dims();
        let through_layer = self.through_layer(length, segment_ids);
        let hidden = self.layers.iter().fold(self.embed(input_ids), |hidden, layer| {
            through_layer(layer, hidden)
        });
        self.norm.forward(hidden)
    }

    /// Hidden states of every token behind those that `cache` holds, to which these are added.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`, of which the first `padding[b]` of a row are no tokens of it
    /// - output: `[B, T, D]`, whatever where there is padding
    ///
    /// # Panics
    ///
    /// When the tokens need more positions than the model has, or the cache is of other rows.
    pub fn forward_cached(
        &self,
        input_ids: Tensor<2, Int>,
        padding: &[usize],
        cache: &mut KvCache,
    ) -> Tensor<3> {
        let [rows, length] = input_ids.dims();
        assert_eq!(
            [padding.len(), cache.num_rows()],
            [rows; 2],
            "padding and cache are of the batch's rows"
        );
        let positions = cache.extend(length, padding);
        let mut hidden = self.embed(input_ids);
        let device = hidden.device();
        let rotary = self.rotary_emb.at(&positions, &device);
        let visibility = cache.visibility(&device);
        let windows: Vec<Option<usize>> = self
            .layers
            .iter()
            .map(|layer| layer.self_attn.sliding_window)
            .collect();
        cache.look_back(&windows, length, &device);
        for (index, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden, &rotary, &visibility, Some(cache.layer(index)));
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
