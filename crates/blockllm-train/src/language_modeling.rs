//! Causal language modelling: a Llama on rows of tokens.
use crate::evaluation::of_sums;
use crate::memory::CountingAllocator;
use crate::objective::summed_losses;
use crate::{BatchSource, Evaluation, Objective, TrainError};
use blockllm_backward::Stack;
use blockllm_data::{
    Corpus, Cursor, LmBatch, Loader, LoaderConfig, Skipped, Tokenizer, at_start_of_data_threads,
};
use blockllm_model::llama::LlamaForCausalLM;
use blockllm_model::{CausalLmLoss, LossOptions};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Arc;

/// Mean cross entropy of the next token.
#[derive(Clone, Copy, Debug, Default)]
pub struct LanguageModeling {
    /// How the loss is computed.
    pub options: LossOptions,
    /// Adds [`GALORE_COMPAT`] to every evaluation.
    pub galore_compat: bool,
}

/// The perplexity as `GaLore`'s published harness reckons it, beside the right one: the mean over batches, whatever their
/// tokens, divided by one batch more than there are; so a little too low.
pub const GALORE_COMPAT: &str = "perplexity (galore-compat)";

impl LanguageModeling {
    fn forward(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> CausalLmLoss {
        let Uploaded {
            input_ids,
            labels,
            segment_ids,
        } = Uploaded::new(batch, device);
        model.loss(input_ids, labels, segment_ids, &self.options)
    }
}

/// A batch on the device, `[B, T]` each.
struct Uploaded {
    input_ids: Tensor<2, Int>,
    labels: Tensor<2, Int>,
    segment_ids: Option<Tensor<2, Int>>,
}

impl Uploaded {
    fn new(batch: &LmBatch, device: &Device) -> Self {
        let shape = [batch.batch_size, batch.seq_len];
        let upload = |ids: &Vec<i32>| Tensor::from_data(TensorData::new(ids.clone(), shape), device);
        Self {
            input_ids: upload(&batch.input_ids),
            labels: upload(&batch.labels),
            segment_ids: batch.segment_ids.as_ref().map(upload),
        }
    }
}

impl Objective for LanguageModeling {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.forward(model, batch, device).loss
    }

    fn stack<'a>(
        &'a self,
        model: &LlamaForCausalLM,
        batch: &'a LmBatch,
        device: &'a Device,
    ) -> Option<Stack<'a, LlamaForCausalLM, 3>> {
        let batch = Uploaded::new(batch, device);
        Some(model.stack(batch.input_ids, batch.labels, batch.segment_ids, self.options))
    }

    fn summed_loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.forward(model, batch, device).sum
    }

    fn evaluate(
        &self,
        model: &LlamaForCausalLM,
        batches: &[LmBatch],
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let sums = summed_losses(self, model, batches, device)?;
        let counts: Vec<u64> = batches.iter().map(|batch| self.labels(batch)).collect();
        let mut evaluation = of_sums(&sums, &counts);
        let perplexity = evaluation.perplexity();
        evaluation.metrics.insert("perplexity".into(), perplexity);
        if self.galore_compat {
            let means = sums
                .iter()
                .zip(batches)
                .map(|(sum, batch)| sum / self.labels(batch).max(1) as f64);
            let loss = means.sum::<f64>() / (batches.len() + 1) as f64;
            evaluation.metrics.insert(GALORE_COMPAT.into(), loss.exp());
        }
        Ok(evaluation)
    }

    fn labels(&self, batch: &LmBatch) -> u64 {
        batch.label_tokens() as u64
    }

    fn excerpt(&self, batch: &LmBatch) -> Option<LmBatch> {
        batch.excerpt(64)
    }

    fn describe(&self, batch: &LmBatch) -> serde_json::Value {
        let rows = batch.input_ids.chunks(batch.seq_len.max(1));
        serde_json::json!({ "input_ids": rows.collect::<Vec<_>>() })
    }

    fn tokens(&self, batch: &LmBatch) -> u64 {
        batch.input_tokens() as u64
    }
}

/// A corpus as rows of tokens, prepared on a thread beside training, from any place on.
#[derive(Debug)]
pub struct TextBatches {
    corpus: Corpus,
    tokenizer: Arc<Tokenizer>,
    config: LoaderConfig,
    loader: Loader,
}

impl TextBatches {
    /// From the beginning.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: LoaderConfig) -> Result<Self, TrainError> {
        at_start_of_data_threads(CountingAllocator::book_this_thread_apart);
        let loader = Loader::new(corpus.clone(), tokenizer.clone(), config.clone())?;
        Ok(Self {
            corpus,
            tokenizer,
            config,
            loader,
        })
    }
}

impl TextBatches {
    /// What prepares the batches: it knows how long it was waited for, and what was left out. Another one after a
    /// resumption.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }
}

impl BatchSource<LmBatch> for TextBatches {
    fn next_batch(&mut self) -> Result<LmBatch, TrainError> {
        // What the loader's thread has made is freed on its account, and the copy lives on the model's.
        CountingAllocator::apart(|| {
            let batch = self.loader.next_batch()?;
            Ok(CountingAllocator::beside(|| batch.clone()))
        })
    }

    fn cursor(&self) -> serde_json::Value {
        serde_json::to_value(self.loader.cursor()).expect("a cursor has only string keys")
    }

    fn left_out(&self) -> Skipped {
        self.loader.skipped()
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        let cursor: Cursor = serde_json::from_value(cursor.clone()).map_err(|error| TrainError::Setting {
            field: "cursor",
            value: cursor.to_string(),
            mend: format!("{error}; start the run afresh"),
        })?;
        self.loader = Loader::resume(
            self.corpus.clone(),
            self.tokenizer.clone(),
            self.config.clone(),
            cursor,
        )?;
        Ok(())
    }
}
