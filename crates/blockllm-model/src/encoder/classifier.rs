//! The encoder with a head that sorts texts or scores them.

use blockllm_backward::Stack;
use blockllm_kernels::Visibility;
use burn::module::Module;
use burn::nn::{Dropout, Linear};
use burn::tensor::{Int, Tensor};

use super::model::{EncoderModel, first_token};
use crate::dropout::dropped;

/// A BERT or RoBERTa that sorts texts, or scores them.
#[derive(Module, Debug)]
pub struct EncoderForSequenceClassification {
    /// Everything below the head: `bert` or `roberta` in checkpoints.
    pub base: EncoderModel,
    /// The head.
    pub classifier: ClassificationHead,
}

impl EncoderForSequenceClassification {
    /// Logits of every text; a single one is its score.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`
    /// - `token_type_ids`: `[B, T]`; `None` when all are of type 0
    /// - `attention_mask`: `[B, T]`, 1 for tokens, 0 for padding; `None` when there is no padding
    /// - output: `[B, C]`
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
    ) -> Tensor<2> {
        let hidden = self.base.forward(input_ids, token_type_ids, attention_mask);
        self.head_logits(hidden)
    }

    /// A loss of the logits (`[B, C]` to `[1]`) as a stack, for a backward pass that goes layer by layer.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Self::forward).
    pub fn stack<'a>(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Option<Tensor<2, Int>>,
        attention_mask: Option<Tensor<2, Int>>,
        loss: impl Fn(Tensor<2>) -> Tensor<1> + 'a,
    ) -> Stack<'a, Self, 3> {
        let visibility = attention_mask.map_or(Visibility::All, Visibility::Keys);
        Stack::new(
            move |model: &Self| {
                let embeddings = &model.base.embeddings;
                embeddings.forward(input_ids.clone(), token_type_ids.clone())
            },
            |model| &model.base.encoder.layer,
            move |layer, hidden| layer.forward(hidden, &visibility),
            move |model, hidden| loss(model.head_logits(hidden)),
        )
    }

    /// Logits of the last hidden states: `[B, T, D]` to `[B, C]`.
    fn head_logits(&self, hidden: Tensor<3>) -> Tensor<2> {
        let text = match &self.base.pooler {
            Some(pooler) => pooler.forward(hidden),
            None => first_token(hidden),
        };
        self.classifier.forward(text)
    }
}

/// BERT's head is a projection; RoBERTa's has a hidden layer in place of the pooler.
#[derive(Module, Debug)]
pub struct ClassificationHead {
    /// RoBERTa's hidden layer, `[D, D]`.
    pub dense: Option<Linear>,
    /// `[D, C]`; in BERT's checkpoints simply `classifier`.
    pub out_proj: Linear,
    /// Before every projection.
    pub dropout: Dropout,
}

impl ClassificationHead {
    /// Logits of every text.
    ///
    /// # Shapes
    ///
    /// - text: `[B, D]`
    /// - output: `[B, C]`
    pub fn forward(&self, text: Tensor<2>) -> Tensor<2> {
        let text = dropped(&self.dropout, text);
        let text = match &self.dense {
            Some(dense) => dropped(&self.dropout, dense.forward(text).tanh()),
            None => text,
        };
        self.out_proj.forward(text)
    }
}
