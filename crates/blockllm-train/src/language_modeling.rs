//! Causal language modelling: a Llama on rows of tokens.
use crate::Objective;
use blockllm_data::LmBatch;
use blockllm_model::llama::LlamaForCausalLM;
use blockllm_model::{CausalLmLoss, LossOptions};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Mean cross entropy of the next token.
#[derive(Clone, Copy, Debug, Default)]
pub struct LanguageModeling {
    /// How the loss is computed.
    pub options: LossOptions,
}

impl LanguageModeling {
    fn forward(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> CausalLmLoss {
        let shape = [batch.batch_size, batch.seq_len];
        let upload =
            |ids: &Vec<i32>| Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), shape), device);
        let segments = batch.segment_ids.as_ref().map(upload);
        model.loss(
            upload(&batch.input_ids),
            upload(&batch.labels),
            segments,
            &self.options,
        )
    }
}

impl Objective for LanguageModeling {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.forward(model, batch, device).loss
    }

    fn summed_loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.forward(model, batch, device).sum
    }

    fn labels(&self, batch: &LmBatch) -> u64 {
        batch.label_tokens() as u64
    }

    fn tokens(&self, batch: &LmBatch) -> u64 {
        batch.input_tokens() as u64
    }
}
