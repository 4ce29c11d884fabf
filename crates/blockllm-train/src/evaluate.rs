//! Evaluation, weighted by tokens: every counted label has the same say, whatever batch it fell into.
use crate::{Objective, TrainError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The loss over a whole set of batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss per counted label, in nats.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Labels counted.
    pub labels: u64,
}

/// Evaluates `model` without autodiff; the sums stay on the device and are read back once.
///
/// # Errors
/// When there is no label, or the device fails.
pub fn evaluate<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: &[O::Batch],
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let model = model.valid();
    let device = device.clone().without_autodiff();
    let labels: u64 = batches.iter().map(|batch| objective.labels(batch)).sum();
    if labels == 0 {
        return Err(TrainError::NoLabels {
            what: "the validation set",
        });
    }
    let sums = batches
        .iter()
        .map(|batch| objective.summed_loss(&model, batch, &device))
        .collect();
    let data = Tensor::cat(sums, 0)
        .try_into_data()
        .map_err(|error| TrainError::Device {
            what: "the validation loss",
            message: error.to_string(),
        })?;
    let loss = data.iter::<f64>().sum::<f64>() / labels as f64;
    Ok(Evaluation {
        loss,
        perplexity: loss.exp(),
        labels,
    })
}
