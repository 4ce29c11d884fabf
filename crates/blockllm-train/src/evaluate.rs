//! Evaluation, weighted by labels: every counted label has the same say, whatever batch it fell into.
pub use crate::evaluation::Evaluation;

use crate::{Objective, TrainError};
use burn::module::Module;
use burn::tensor::Device;

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
