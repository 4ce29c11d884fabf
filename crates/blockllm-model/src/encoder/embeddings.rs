//! The sum of word, position and token-type embeddings, normalized.

use blockllm_kernels::embedding;
use burn::module::Module;
use burn::nn::{Dropout, Embedding};
use burn::tensor::{Int, Tensor};

use super::layer_norm::LayerNorm;
use crate::dropout::dropped;

/// Tokens in, the first hidden states out.
#[derive(Module, Debug)]
pub struct EncoderEmbeddings {
    /// `[V, D]`.
    pub word_embeddings: Embedding,
    /// `[max_position_embeddings, D]`.
    pub position_embeddings: Embedding,
    /// `[type_vocab_size, D]`.
    pub token_type_embeddings: Embedding,
    /// The norm behind the sum.
    pub layer_norm: LayerNorm,
    /// Behind the norm.
    pub dropout: Dropout,
    /// The padding token, where positions count on from it (RoBERTa); `None` where they count from zero (BERT).
    pub position_padding: Option<usize>,
}

impl EncoderEmbeddings {
    /// Embeds every token.
    ///
    /// Without token types all are of type 0; a model that has one type only takes no notice of them.
    ///
    /// # Shapes
    ///
    /// - `input_ids`, `token_type_ids`: `[B, T]`
    /// - output: `[B, T, D]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds the positions there are.
    pub fn forward(&self, input_ids: Tensor<2, Int>, token_type_ids: Option<Tensor<2, Int>>) -> Tensor<3> {
        let [_, length] = input_ids.dims();
        let [positions, _] = self.position_embeddings.weight.shape().dims();
        let unused = self.position_padding.map_or(0, |padding| padding + 1);
        assert!(
            length + unused <= positions,
            "a sequence of {length} tokens exceeds the {} positions of the model",
            positions.saturating_sub(unused)
        );
        let words = embedding(self.word_embeddings.weight.val(), input_ids.clone());
        let places = match self.position_padding {
            None => first_rows(&self.position_embeddings, length),
            Some(padding) => embedding(
                self.position_embeddings.weight.val(),
                positions_after(input_ids, padding),
            ),
        };
        let [types, _] = self.token_type_embeddings.weight.shape().dims();
        let types = match token_type_ids {
            Some(ids) if types > 1 => embedding(self.token_type_embeddings.weight.val(), ids),
            _ => first_rows(&self.token_type_embeddings, 1),
        };
        dropped(&self.dropout, self.layer_norm.forward(words + types + places))
    }
}

/// The first `count` rows of a table, as `[1, count, D]`: cheaper than looking each up.
fn first_rows(table: &Embedding, count: usize) -> Tensor<3> {
    table.weight.val().narrow(0, 0, count).unsqueeze()
}

/// Position ids that count the tokens of each row from `padding + 1`; padding stays at `padding`.
///
/// # Shapes
///
/// - `input_ids`: `[B, T]`
/// - output: `[B, T]`
fn positions_after(input_ids: Tensor<2, Int>, padding: usize) -> Tensor<2, Int> {
    let padding = padding as i64;
    let tokens = input_ids.not_equal_elem(padding).int();
    tokens.clone().cumsum(1) * tokens + padding
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn positions_count_tokens_only_and_begin_behind_the_padding_id() {
        let ids = Tensor::<2, Int>::from_ints([[0, 9, 7, 2, 1, 1], [1, 0, 8, 1, 2, 1]], &Device::default());
        let found: Vec<i64> = positions_after(ids, 1)
            .into_data()
            .convert::<i64>()
            .try_into_vec()
            .unwrap();
        assert_eq!(found, [2, 3, 4, 5, 1, 1, 1, 2, 3, 1, 4, 1]);
    }
}
