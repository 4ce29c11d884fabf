//! Llama with a classification head on the last token of every text.

use blockllm_backward::Stack;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::model::LlamaModel;

/// A Llama that sorts texts, or scores them.
///
/// Parameter paths are the Hugging Face keys: `model.embed_tokens.weight`, ..., `score.weight`.
#[derive(Module, Debug)]
pub struct LlamaForSequenceClassification {
    /// Everything below the head.
    pub model: LlamaModel,
    /// The head, `[D, C]`, without bias.
    pub score: Linear,
}

impl LlamaForSequenceClassification {
    /// Logits of every text, read from its last token that is no padding.
    ///
    /// transformers finds that token by `pad_token_id`; here the mask says it, so that a padding token which is
    /// also the end token is told apart. Padding may be on either side.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `attention_mask`: `[B, T]`, 1 for tokens, 0 for padding; `None` when there is no padding
    /// - output: `[B, C]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn forward(&self, input_ids: Tensor<2, Int>, attention_mask: Option<Tensor<2, Int>>) -> Tensor<2> {
        // As a segment of its own, padding is never seen by tokens.
        let hidden = self.model.forward(input_ids, attention_mask.clone());
        self.head_logits(hidden, attention_mask)
    }

    /// A loss of the logits (`[B, C]` to `[1]`) as a stack, for a backward pass that goes layer by layer.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Self::forward).
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn stack<'a>(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Int>>,
        loss: impl Fn(Tensor<2>) -> Tensor<1> + 'a,
    ) -> Stack<'a, Self, 3> {
        let [_, length] = input_ids.dims();
        let through_layer = self.model.through_layer(length, attention_mask.clone());
        Stack::new(
            move |llama: &Self| llama.model.embed(input_ids.clone()),
            |llama| &llama.model.layers,
            through_layer,
            move |llama, hidden| {
                let hidden = llama.model.norm.forward(hidden);
                loss(llama.head_logits(hidden, attention_mask.clone()))
            },
        )
    }

    /// Logits of hidden states below the head: `[B, T, D]` to `[B, C]`.
    fn head_logits(&self, hidden: Tensor<3>, attention_mask: Option<Tensor<2, Int>>) -> Tensor<2> {
        let [batch, length, width] = hidden.dims();
        let last = match attention_mask {
            None => hidden.narrow(1, length - 1, 1).reshape([batch, width]),
            Some(mask) => {
                let device = mask.device();
                let place = Tensor::<1, Int>::arange(0..length as i64, &device).unsqueeze::<2>();
                let last = (mask * place).max_dim(1).reshape([batch]);
                let row = Tensor::<1, Int>::arange_step(0..(batch * length) as i64, length, &device);
                hidden.reshape([batch * length, width]).select(0, row + last)
            }
        };
        self.score.forward(last) // [B, C]
    }
}
