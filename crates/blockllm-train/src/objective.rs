//! What a loss is, and where batches come from: all that differs between pretraining and fine-tuning.
use crate::TrainError;
use crate::evaluation::{Evaluation, of_sums};
use blockllm_backward::Stack;
use blockllm_data::Skipped;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// A loss over batches of one kind, for modules of one kind.
pub trait Objective: Sized {
    /// The module that is trained.
    type Model: Module + 'static;
    /// A batch on the host.
    type Batch;

    /// Mean loss over the counted labels of `batch`, tracked when the module is: `[1]`.
    fn loss(&self, model: &Self::Model, batch: &Self::Batch, device: &Device) -> Tensor<1>;

    /// The same loss as a stack of layers, for a backward pass that goes layer by layer; it does not borrow the model.
    /// `None` where the model is no stack, and then there is only the whole backward pass.
    fn stack<'a>(
        &'a self,
        model: &Self::Model,
        batch: &'a Self::Batch,
        device: &'a Device,
    ) -> Option<Stack<'a, Self::Model, 3>> {
        let _ = (model, batch, device);
        None
    }

    /// Summed loss over the counted labels, outside autodiff: `[1]`.
    fn summed_loss(&self, model: &Self::Model, batch: &Self::Batch, device: &Device) -> Tensor<1>;

    /// How many labels count: the weight of this batch in any mean.
    fn labels(&self, batch: &Self::Batch) -> u64;

    /// The figures of `batches`, for a model and a device outside autodiff: the mean loss, and what an objective adds
    /// to it. At least one label counts.
    ///
    /// # Errors
    /// When the device fails.
    fn evaluate(
        &self,
        model: &Self::Model,
        batches: &[Self::Batch],
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let sums = summed_losses(self, model, batches, device)?;
        let counts: Vec<u64> = batches.iter().map(|batch| self.labels(batch)).collect();
        Ok(of_sums(&sums, &counts))
    }

    /// How good an evaluation is, higher is better: what the best one is told by.
    fn score(&self, evaluation: &Evaluation) -> f64 {
        -evaluation.loss
    }

    /// A few labels of `batch` as a batch of its own, small enough to be computed on the CPU beside a GPU; `None` where
    /// there is no such thing, and then the device is not checked before a run.
    fn excerpt(&self, _batch: &Self::Batch) -> Option<Self::Batch> {
        None
    }

    /// What is written down of a batch whose loss is no number: enough to find it again, such as its token ids.
    fn describe(&self, batch: &Self::Batch) -> serde_json::Value {
        let _ = batch;
        serde_json::Value::Null
    }

    /// How many input tokens it holds, padding aside: what throughput is measured in.
    fn tokens(&self, batch: &Self::Batch) -> u64;
}

/// The summed loss of every batch, read back once.
pub(crate) fn summed_losses<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: &[O::Batch],
    device: &Device,
) -> Result<Vec<f64>, TrainError> {
    let sums = batches
        .iter()
        .map(|batch| objective.summed_loss(model, batch, device))
        .collect();
    let data = Tensor::cat(sums, 0)
        .try_into_data()
        .map_err(|error| TrainError::Device {
            what: "the validation loss",
            message: error.to_string(),
        })?;
    Ok(data.iter::<f64>().collect())
}

/// Gives the micro-batches of a run, in order; a closure will do where nothing is resumed.
pub trait BatchSource<B> {
    /// The next micro-batch.
    ///
    /// # Errors
    /// When the data cannot be read.
    fn next_batch(&mut self) -> Result<B, TrainError>;

    /// The place after the last batch given, for a checkpoint; null where it cannot be told.
    fn cursor(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// What was left out of the batches given so far because it was broken, over all resumptions.
    fn left_out(&self) -> Skipped {
        Skipped::default()
    }

    /// Goes on from a place.
    ///
    /// # Errors
    /// When the place is of other data, or nothing can be resumed.
    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        Err(TrainError::Setting {
            field: "cursor",
            value: cursor.to_string(),
            mend: "this source of batches cannot go on from a checkpoint; start the run afresh".into(),
        })
    }
}

impl<B, F: FnMut() -> Result<B, TrainError>> BatchSource<B> for F {
    fn next_batch(&mut self) -> Result<B, TrainError> {
        self()
    }
}
