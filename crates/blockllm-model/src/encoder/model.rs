//! The encoder below its head: embeddings, layers and, where there is one, the pooler.

use blockllm_kernels::Visibility;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::embeddings::EncoderEmbeddings;
use super::layer::EncoderLayer;

/// Tokens in, hidden states out.
#[derive(Module, Debug)]
pub struct EncoderModel {
    /// Embeddings of words, positions and token types.
    pub embeddings: EncoderEmbeddings,
    /// The layers.
    pub encoder: EncoderStack,
    /// Sums up a text from its first token; `None` where the checkpoint has none.
    pub pooler: Option<Pooler>,
}

impl EncoderModel {
    /// Hidden states of every token.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `token_type_ids`: `[B, T]`; `None` when all are of type 0
    /// - `attention_mask`: `[B, T]`, 1 for tokens, 0 for padding; `None` when there is no padding, which saves a
    ///   pass over the scores of every layer
    /// - output: `[B, T, D]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds the positions there are
    /// ([`EncoderConfig::max_length`](super::EncoderConfig::max_length)).
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Option<Tensor<2, Int>>,
        attention_mask: Option<Tensor<2, Int>>,
    ) -> Tensor<3> {
        let visibility = attention_mask.map_or(Visibility::All, Visibility::Keys);
        let mut hidden = self.embeddings.forward(input_ids, token_type_ids);
        for layer in &self.encoder.layer {
            hidden = layer.forward(hidden, &visibility);
        }
        hidden
    }
}

/// The layers, under the name that checkpoints give them.
#[derive(Module, Debug)]
pub struct EncoderStack {
    /// Lowest first.
    pub layer: Vec<EncoderLayer>,
}

/// `tanh(dense(x))` of the first token.
#[derive(Module, Debug)]
pub struct Pooler {
    /// `[D, D]`.
    pub dense: Linear,
}

impl Pooler {
    /// One vector per text.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, D]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        self.dense.forward(first_token(hidden)).tanh()
    }
}

/// The hidden state of the first token, which stands for the text: `[B, T, D]` to `[B, D]`.
pub(super) fn first_token(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = hidden.dims();
    hidden.narrow(1, 0, 1).reshape([batch, width])
}
