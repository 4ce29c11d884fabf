//! The micro-batches of one optimizer step, averaged by their counted labels.
use crate::{MemoryMeter, Objective, TrainError};
use blockllm_optim::GradientsParams;
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};

/// What one optimizer step sees.
pub(crate) struct MicroBatches<'a, O: Objective> {
    objective: &'a O,
    device: &'a Device,
    batches: &'a [O::Batch],
    /// Counted labels of all batches.
    labels: f64,
}

impl<'a, O: Objective> MicroBatches<'a, O> {
    /// # Errors
    /// When no label counts.
    pub fn new(objective: &'a O, device: &'a Device, batches: &'a [O::Batch]) -> Result<Self, TrainError> {
        let labels: u64 = batches.iter().map(|batch| objective.labels(batch)).sum();
        if labels == 0 {
            return Err(TrainError::NoLabels { what: "a batch" });
        }
        Ok(Self {
            objective,
            device,
            batches,
            labels: labels as f64,
        })
    }

    /// Mean loss (`[1]`, outside autodiff) and its gradients, as one batch of all rows would give them. No more than
    /// one micro-batch's graph exists at a time.
    pub fn backward(&self, model: &O::Model, meter: &mut MemoryMeter) -> (Tensor<1>, GradientsParams) {
        if let [batch] = self.batches {
            return self.backward_one(model, batch, meter);
        }
        let mut accumulator = GradientsAccumulator::new();
        let mut mean: Option<Tensor<1>> = None;
        for batch in self.batches {
            let (loss, gradients) = self.backward_one(model, batch, meter);
            accumulator.accumulate(model, gradients);
            mean = Some(match mean {
                Some(mean) => mean + loss,
                None => loss,
            });
        }
        meter.sample();
        let mean = mean.expect("labels were counted, so there is a batch");
        (mean, accumulator.grads())
    }

    /// The share of one micro-batch.
    fn backward_one(
        &self,
        model: &O::Model,
        batch: &O::Batch,
        meter: &mut MemoryMeter,
    ) -> (Tensor<1>, GradientsParams) {
        let share = self.objective.labels(batch) as f64 / self.labels;
        let loss = self.objective.loss(model, batch, self.device).mul_scalar(share);
        meter.sample();
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        (loss.inner(), gradients)
    }
}
