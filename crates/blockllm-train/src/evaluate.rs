//! Evaluation, weighted by labels: every counted label has the same say, whatever batch it fell into.
use crate::{Objective, TrainError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The figures of a whole set of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss per counted label: in nats for classes and tokens, squared for scores.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Labels counted.
    pub labels: u64,
    /// Further figures by name: `perplexity` of a language model, the metrics of a task.
    #[serde(deserialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
}

impl Evaluation {
    /// `exp(loss)`, which means something where the loss is a cross entropy.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// JSON has no NaN: it is written as null, and read back as what it was.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// [`number`] for values of names.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let found = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    let numbers = found
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or(f64::NAN)));
    Ok(numbers.collect())
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

/// The mean loss; the sums stay on the device and are read back once.
pub(crate) fn mean_loss<O: Objective>(
    objective: &O,
    model: &O::Model,
    batches: &[O::Batch],
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let labels: u64 = batches.iter().map(|batch| objective.labels(batch)).sum();
    let sums = summed_losses(objective, model, batches, device)?;
    Ok(Evaluation {
        loss: sums.iter().sum::<f64>() / labels as f64,
        labels,
        metrics: BTreeMap::new(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_is_no_number_is_read_back_as_none() {
        let evaluation = Evaluation {
            loss: 1.5,
            labels: 3,
            metrics: BTreeMap::from([("Pearson".to_owned(), f64::NAN)]),
        };
        let text = serde_json::to_string(&evaluation).unwrap();
        let read: Evaluation = serde_json::from_str(&text).unwrap();
        assert!(
            read.metrics["Pearson"].is_nan() && read.loss.to_bits() == 1.5_f64.to_bits(),
            "{text}"
        );
    }
}
