//! Classification and regression of texts: an encoder, or a Llama with a head, on batches of GLUE.
use crate::{BatchSource, Evaluation, Objective, TrainError};
use blockllm_backward::Stack;
use blockllm_data::glue::{
    ClassificationBatch, EncodedExamples, EpochBatches, EpochConfig, EpochCursor, GlueLabel, GlueTask,
};
use blockllm_model::encoder::EncoderForSequenceClassification;
use blockllm_model::llama::LlamaForSequenceClassification;
use blockllm_model::{classification_loss, regression_loss};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::marker::PhantomData;
use std::sync::Arc;

/// A module that gives a row of logits for every text.
pub trait SequenceClassifier: Module + 'static {
    /// Logits, `[B, C]`.
    ///
    /// # Shapes
    /// - `input_ids`, `token_type_ids`: `[B, T]`
    /// - `attention_mask`: `[B, T]`, 1 for tokens, 0 for padding
    fn logits(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
    ) -> Tensor<2>;

    /// A loss of the logits as a stack of layers, for a backward pass that goes layer by layer; `None` where the module is
    /// no stack.
    ///
    /// # Shapes
    /// As [`logits`](Self::logits).
    fn stack<'a>(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
        loss: impl Fn(Tensor<2>) -> Tensor<1> + 'a,
    ) -> Option<Stack<'a, Self, 3>> {
        let _ = (input_ids, token_type_ids, attention_mask, loss);
        None
    }
}

impl SequenceClassifier for EncoderForSequenceClassification {
    fn logits(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
    ) -> Tensor<2> {
        self.forward(input_ids, Some(token_type_ids), Some(attention_mask))
    }

    fn stack<'a>(
        &self,
        input_ids: Tensor<2, Int>,
        token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
        loss: impl Fn(Tensor<2>) -> Tensor<1> + 'a,
    ) -> Option<Stack<'a, Self, 3>> {
        Some(self.stack(input_ids, Some(token_type_ids), Some(attention_mask), loss))
    }
}

impl SequenceClassifier for LlamaForSequenceClassification {
    fn logits(
        &self,
        input_ids: Tensor<2, Int>,
        _token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
    ) -> Tensor<2> {
        self.forward(input_ids, Some(attention_mask))
    }

    fn stack<'a>(
        &self,
        input_ids: Tensor<2, Int>,
        _token_type_ids: Tensor<2, Int>,
        attention_mask: Tensor<2, Int>,
        loss: impl Fn(Tensor<2>) -> Tensor<1> + 'a,
    ) -> Option<Stack<'a, Self, 3>> {
        Some(self.stack(input_ids, Some(attention_mask), loss))
    }
}

/// A task of GLUE: mean cross entropy of classes, or mean squared error of scores, judged by the task's metrics.
#[derive(Debug)]
pub struct SequenceClassification<M> {
    task: GlueTask,
    model: PhantomData<fn(&M)>,
}

impl<M: SequenceClassifier> SequenceClassification<M> {
    /// The objective of `task`.
    pub fn new(task: GlueTask) -> Self {
        Self {
            task,
            model: PhantomData,
        }
    }

    /// What `model`, outside autodiff, says of every row: in the order of [`ClassificationBatch::rows`], that is, of
    /// the set that `batches` were made of. Read back once.
    ///
    /// # Errors
    /// When the device fails, or a logit is not finite.
    pub fn predict(
        &self,
        model: &M,
        batches: &[ClassificationBatch],
        device: &Device,
    ) -> Result<Vec<GlueLabel>, TrainError> {
        let mut predicted: Vec<(usize, GlueLabel)> = Vec::new();
        let rows = batches.iter().flat_map(|batch| &batch.rows);
        for (row, logits) in rows.zip(self.all_logits(model, batches, device)?) {
            predicted.push((*row, self.prediction(&logits)));
        }
        predicted.sort_by_key(|(row, _)| *row);
        Ok(predicted.into_iter().map(|(_, label)| label).collect())
    }

    fn forward(model: &M, batch: &ClassificationBatch, device: &Device) -> Tensor<2> {
        let [input_ids, token_type_ids, attention_mask] = uploaded(batch, device);
        model.logits(input_ids, token_type_ids, attention_mask)
    }

    /// The loss of logits (`[B, C]` to `[1]`) on the labels of `batch`.
    fn loss_of(
        &self,
        batch: &ClassificationBatch,
        device: &Device,
    ) -> impl Fn(Tensor<2>) -> Tensor<1> + use<M> {
        let labels = if self.task.is_regression() {
            let scores: Vec<f32> = batch.labels.iter().map(score).collect();
            Labels::Scores(Tensor::from_data(scores.as_slice(), device))
        } else {
            let classes: Vec<i32> = batch.labels.iter().map(class).collect();
            Labels::Classes(Tensor::from_data(classes.as_slice(), device))
        };
        move |logits| match &labels {
            Labels::Scores(scores) => regression_loss(logits, scores.clone()),
            Labels::Classes(classes) => classification_loss(logits, classes.clone()),
        }
    }

    /// The logits of every row, in the order of the batches.
    fn all_logits(
        &self,
        model: &M,
        batches: &[ClassificationBatch],
        device: &Device,
    ) -> Result<Vec<Vec<f64>>, TrainError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let logits = batches
            .iter()
            .map(|batch| Self::forward(model, batch, device))
            .collect();
        let data = Tensor::cat(logits, 0)
            .try_into_data()
            .map_err(|error| TrainError::Device {
                what: "the logits",
                message: error.to_string(),
            })?;
        let values: Vec<f64> = data.iter::<f64>().collect();
        if !values.iter().all(|logit| logit.is_finite()) {
            return Err(TrainError::Logits);
        }
        Ok(values
            .chunks(self.task.num_labels())
            .map(<[f64]>::to_vec)
            .collect())
    }

    fn prediction(&self, logits: &[f64]) -> GlueLabel {
        if self.task.is_regression() {
            #[allow(clippy::cast_possible_truncation, reason = "it was an f32 on the device")]
            return GlueLabel::Score(logits[0] as f32);
        }
        // Of equal logits the first, as argmax has it in NumPy and PyTorch.
        let best = (1..logits.len()).fold(
            0,
            |best, class| {
                if logits[class] > logits[best] { class } else { best }
            },
        );
        GlueLabel::Class(best)
    }
}

impl<M: SequenceClassifier> Objective for SequenceClassification<M> {
    type Model = M;
    type Batch = ClassificationBatch;

    fn loss(&self, model: &M, batch: &ClassificationBatch, device: &Device) -> Tensor<1> {
        self.loss_of(batch, device)(Self::forward(model, batch, device))
    }

    fn stack<'a>(
        &'a self,
        model: &M,
        batch: &'a ClassificationBatch,
        device: &'a Device,
    ) -> Option<Stack<'a, M, 3>> {
        let [input_ids, token_type_ids, attention_mask] = uploaded(batch, device);
        model.stack(
            input_ids,
            token_type_ids,
            attention_mask,
            self.loss_of(batch, device),
        )
    }

    fn summed_loss(&self, model: &M, batch: &ClassificationBatch, device: &Device) -> Tensor<1> {
        self.loss(model, batch, device)
            .mul_scalar(batch.batch_size as f64)
    }

    fn labels(&self, batch: &ClassificationBatch) -> u64 {
        batch.labels.len() as u64
    }

    fn excerpt(&self, batch: &ClassificationBatch) -> Option<ClassificationBatch> {
        batch.excerpt(2)
    }

    fn describe(&self, batch: &ClassificationBatch) -> serde_json::Value {
        let rows = batch.input_ids.chunks(batch.seq_len.max(1));
        serde_json::json!({ "rows": batch.rows, "input_ids": rows.collect::<Vec<_>>() })
    }

    fn tokens(&self, batch: &ClassificationBatch) -> u64 {
        batch.tokens()
    }

    fn evaluate(
        &self,
        model: &M,
        batches: &[ClassificationBatch],
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let labels: Vec<GlueLabel> = batches
            .iter()
            .flat_map(|batch| batch.labels.iter().copied())
            .collect();
        let logits = self.all_logits(model, batches, device)?;
        let loss: f64 = logits
            .iter()
            .zip(&labels)
            .map(|(logits, label)| row_loss(logits, *label))
            .sum();
        let predicted: Vec<GlueLabel> = logits.iter().map(|logits| self.prediction(logits)).collect();
        let scores = self.task.score(&predicted, &labels);
        Ok(Evaluation {
            loss: loss / labels.len() as f64,
            labels: labels.len() as u64,
            standard_error: None,
            metrics: scores
                .into_iter()
                .map(|score| (score.metric.name().to_owned(), score.value))
                .collect(),
        })
    }

    /// The first of the task's metrics; where it means nothing yet, the loss.
    fn score(&self, evaluation: &Evaluation) -> f64 {
        let main = self.task.metrics()[0].name();
        match evaluation.metrics.get(main) {
            Some(value) if value.is_finite() => *value,
            _ => -1.0 - evaluation.loss,
        }
    }
}

/// The labels of a batch on the device, `[B]`.
enum Labels {
    Scores(Tensor<1>),
    Classes(Tensor<1, Int>),
}

/// Ids, token types and mask on the device, `[B, T]` each.
fn uploaded(batch: &ClassificationBatch, device: &Device) -> [Tensor<2, Int>; 3] {
    let shape = [batch.batch_size, batch.seq_len];
    [&batch.input_ids, &batch.token_type_ids, &batch.attention_mask]
        .map(|ids| Tensor::from_data(TensorData::new(ids.clone(), shape), device))
}

fn row_loss(logits: &[f64], label: GlueLabel) -> f64 {
    match label {
        GlueLabel::Class(class) => {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
            sum.ln() + most - logits[class]
        }
        GlueLabel::Score(score) => (logits[0] - f64::from(score)).powi(2),
    }
}

fn score(label: &GlueLabel) -> f32 {
    match label {
        GlueLabel::Score(score) => *score,
        GlueLabel::Class(class) => *class as f32,
    }
}

fn class(label: &GlueLabel) -> i32 {
    match label {
        GlueLabel::Class(class) => i32::try_from(*class).expect("a task has few classes"),
        // A score is no class; the task's own files hold none.
        GlueLabel::Score(_) => 0,
    }
}

/// The training examples of a task, epoch after epoch, from any place on.
#[derive(Debug)]
pub struct ExampleBatches {
    examples: Arc<EncodedExamples>,
    config: EpochConfig,
    batches: EpochBatches,
}

impl ExampleBatches {
    /// From the beginning.
    ///
    /// # Errors
    /// When there is no example, or the batch size is 0.
    pub fn new(examples: Arc<EncodedExamples>, config: EpochConfig) -> Result<Self, TrainError> {
        let batches = EpochBatches::new(examples.clone(), config.clone())?;
        Ok(Self {
            examples,
            config,
            batches,
        })
    }

    /// Batches of an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches.batches_per_epoch()
    }
}

impl BatchSource<ClassificationBatch> for ExampleBatches {
    fn next_batch(&mut self) -> Result<ClassificationBatch, TrainError> {
        Ok(self.batches.next_batch())
    }

    fn cursor(&self) -> serde_json::Value {
        serde_json::to_value(self.batches.cursor()).expect("a cursor has only string keys")
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        let cursor: EpochCursor =
            serde_json::from_value(cursor.clone()).map_err(|error| TrainError::Setting {
                field: "cursor",
                value: cursor.to_string(),
                mend: format!("{error}; start the run afresh"),
            })?;
        self.batches = EpochBatches::resume(self.examples.clone(), self.config.clone(), cursor)?;
        Ok(())
    }
}
