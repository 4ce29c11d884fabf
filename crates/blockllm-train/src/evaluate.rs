//! Evaluation, weighted by labels: every counted label has the same say, whatever batch it fell into.
use crate::{Objective, TrainError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures of a whole set of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss per counted label: in nats for classes and tokens, squared for scores.
    pub loss: f64,
    /// Labels counted.
    pub labels: u64,
    /// Further figures by name: `perplexity` of a language model, the metrics of a task.
    pub metrics: BTreeMap<String, f64>,
}

impl Evaluation {
    /// `exp(loss)`, which means something where the loss is a cross entropy.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// Evaluates `model` without autodiff and without dropout.
///
/// # Errors
/// When there is no label, or the device fails.
pub fn evaluate<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: &[O::Batch],
    device: &Device,
) -> Result<Evaluation, TrainError> {
    if batches.iter().all(|batch| objective.labels(batch) == 0) {
        return Err(TrainError::NoLabels {
            what: "the validation set",
        });
    }
    objective.evaluate(&model.valid(), batches, &device.clone().without_autodiff())
}

/// The mean loss of language models and the like; the sums stay on the device and are read back once.
pub(crate) fn mean_loss<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: &[O::Batch],
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let labels: u64 = batches.iter().map(|batch| objective.labels(batch)).sum();
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
    Ok(Evaluation {
        loss: data.iter::<f64>().sum::<f64>() / labels as f64,
        labels,
        metrics: BTreeMap::new(),
    })
}
