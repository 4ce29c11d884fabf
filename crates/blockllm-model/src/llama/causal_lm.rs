//! The language model: decoder stack and output head, logits and training loss.

use blockllm_backward::Stack;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::model::LlamaModel;
use crate::loss::{CausalLmLoss, HeadWeight, LossOptions, chunked_cross_entropy};

/// A Llama that predicts the next token.
///
/// Parameter paths, as a burn `ModuleVisitor` spells them, are the Hugging Face keys:
/// `model.embed_tokens.weight`, `model.layers.0.self_attn.q_proj.weight`, ..., `model.norm.weight`,
/// `lm_head.weight`.
#[derive(Module, Debug)]
pub struct LlamaForCausalLM {
    /// Everything below the head.
    pub model: LlamaModel,
    /// The head, `[D, V]`; `None` when the embedding serves as head.
    pub lm_head: Option<Linear>,
}

impl LlamaForCausalLM {
    /// Logits of the next token after every token.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - output: `[B, T, V]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        self.logits(self.hidden_states(input_ids, None))
    }

    /// Hidden states below the head; tokens attend only within their segment.
    ///
    /// # Shapes
    ///
    /// - `input_ids`, `segment_ids`: `[B, T]`
    /// - output: `[B, T, D]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn hidden_states(&self, input_ids: Tensor<2, Int>, segment_ids: Option<Tensor<2, Int>>) -> Tensor<3> {
        self.model.forward(input_ids, segment_ids)
    }

    /// The head.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - output: `[B, T, V]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => hidden.matmul(self.model.embed_tokens.weight.val().transpose().unsqueeze()),
        }
    }

    /// The mean cross entropy of `labels`, computed without ever holding all logits.
    ///
    /// Labels are already shifted: `labels[b, t]` is the token that follows `input_ids[b, t]`, or
    /// [`IGNORE_INDEX`](crate::IGNORE_INDEX) where it does not count. Gradients reach exactly the parameters that
    /// require them.
    ///
    /// # Shapes
    ///
    /// - `input_ids`, `labels`, `segment_ids`: `[B, T]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn loss(
        &self,
        input_ids: Tensor<2, Int>,
        labels: Tensor<2, Int>,
        segment_ids: Option<Tensor<2, Int>>,
        options: &LossOptions,
    ) -> CausalLmLoss {
        let hidden = self.hidden_states(input_ids, segment_ids);
        self.head_loss(hidden, labels, options)
    }

    /// [`loss`](Self::loss) as a stack, for a backward pass that goes layer by layer. A tied embedding is shared.
    ///
    /// # Shapes
    ///
    /// - `input_ids`, `labels`, `segment_ids`: `[B, T]`
    ///
    /// # Panics
    ///
    /// When `T` exceeds `max_position_embeddings`.
    pub fn stack(
        &self,
        input_ids: Tensor<2, Int>,
        labels: Tensor<2, Int>,
        segment_ids: Option<Tensor<2, Int>>,
        options: LossOptions,
    ) -> Stack<'static, Self, 3> {
        let [_, length] = input_ids.dims();
        let through_layer = self.model.through_layer(length, segment_ids);
        let tied = self
            .lm_head
            .is_none()
            .then_some(self.model.embed_tokens.weight.id);
        Stack::new(
            move |llama: &Self| llama.model.embed(input_ids.clone()),
            |llama| &llama.model.layers,
            through_layer,
            move |llama, hidden| {
                let hidden = llama.model.norm.forward(hidden);
                llama.head_loss(hidden, labels.clone(), &options).loss
            },
        )
        .with_shared(tied)
    }

    /// The loss of hidden states below the head, `[B, T, D]`.
    fn head_loss(&self, hidden: Tensor<3>, labels: Tensor<2, Int>, options: &LossOptions) -> CausalLmLoss {
        let [batch, length, width] = hidden.dims();
        let hidden = hidden.reshape([batch * length, width]);
        chunked_cross_entropy(hidden, self.head(), labels.reshape([batch * length]), options)
    }

    /// The matrix of the head.
    pub(super) fn head(&self) -> HeadWeight {
        match &self.lm_head {
            Some(head) => HeadWeight::Columns(head.weight.val()),
            None => HeadWeight::Rows(self.model.embed_tokens.weight.val()),
        }
    }
}
