//! The micro-batches of one optimizer step, averaged by their counted labels.
use crate::{MemoryMeter, Objective, TrainError};
use blockllm_backward::{GradientSum, Stack, backward_of_sum, gradient_bytes};
use blockllm_model::seed_dropout;
use blockllm_optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use std::cell::Cell;

/// What one optimizer step sees.
pub(crate) struct MicroBatches<'a, O: Objective> {
    objective: &'a O,
    device: &'a Device,
    batches: &'a [O::Batch],
    /// Where the step's sequence of dropout seeds begins.
    dropout: u64,
    /// Counted labels of all batches.
    labels: f64,
    /// Bytes of gradients that the optimizer holds.
    held: Cell<u64>,
    /// The most bytes of gradients that existed at once.
    gradients: Cell<u64>,
}

impl<'a, O: Objective> MicroBatches<'a, O> {
    /// Every pass over them, be it for a sweep or for the step, drops the same: `dropout` is where the seeds begin.
    ///
    /// # Errors
    /// When no label counts.
    pub fn new(
        objective: &'a O,
        device: &'a Device,
        batches: &'a [O::Batch],
        dropout: u64,
    ) -> Result<Self, TrainError> {
        let labels: u64 = batches.iter().map(|batch| objective.labels(batch)).sum();
        if labels == 0 {
            return Err(TrainError::NoLabels { what: "a batch" });
        }
        Ok(Self {
            objective,
            device,
            batches,
            dropout,
            labels: labels as f64,
            held: Cell::new(0),
            gradients: Cell::new(0),
        })
    }

    /// Mean loss (`[1]`, outside autodiff) and its gradients, as one batch of all rows would give them. No more than
    /// one micro-batch's graph exists at a time.
    pub fn backward(&self, model: &O::Model, meter: &mut MemoryMeter) -> (Tensor<1>, GradientsParams) {
        seed_dropout(self.dropout);
        let mut sum = GradientSum::default();
        let mut mean: Option<Tensor<1>> = None;
        for batch in self.batches {
            let loss = self.objective.loss(model, batch, self.device);
            let loss = loss.mul_scalar(self.share(batch));
            meter.sample();
            let gradients = GradientsParams::from_grads(loss.backward(), model);
            self.count(model, &gradients, &sum);
            sum.add(model, gradients);
            let loss = loss.inner();
            mean = Some(match mean {
                Some(mean) => mean + loss,
                None => loss,
            });
        }
        meter.sample();
        let mean = mean.expect("labels were counted, so there is a batch");
        (mean, sum.take())
    }

    /// The same layer by layer: `take` gets the gradients of one part of the model after the other, each once. With
    /// `at_once`, all micro-batches go through a layer before the next one, so that one part's gradients exist at a time
    /// beside every micro-batch's hidden states; else one micro-batch goes through all layers, and what `take` did not
    /// get yet is summed.
    ///
    /// # Errors
    /// When the objective's model is no stack, and the first error of `take`.
    pub fn backward_by_layers<E: From<TrainError>>(
        &self,
        model: O::Model,
        meter: &mut MemoryMeter,
        at_once: bool,
        mut take: impl FnMut(O::Model, GradientsParams) -> Result<O::Model, E>,
    ) -> Result<(O::Model, Tensor<1>), E> {
        seed_dropout(self.dropout);
        let stacks = self.stacks(&model)?;
        let mut sum = GradientSum::default();
        let mut take = |model: O::Model, gradients: GradientsParams, sum: &GradientSum| {
            self.count(&model, &gradients, sum);
            meter.sample();
            take(model, gradients)
        };
        if at_once {
            return backward_of_sum(&stacks, model, |model, part| take(model, part, &sum));
        }
        let (last, earlier) = stacks
            .split_last()
            .expect("labels were counted, so there is a batch");
        let (mut model, mut mean) = (model, None);
        for stack in earlier {
            let (same, loss) = stack.backward(model, |model, part| {
                self.count(&model, &part, &sum);
                sum.add(&model, part);
                Ok::<_, E>(model)
            })?;
            model = same;
            mean = Some(match mean {
                Some(mean) => mean + loss,
                None => loss,
            });
        }
        let (mut model, loss) = last.backward(model, |model, part| {
            let whole = sum.add_to(&model, part);
            take(model, whole, &sum)
        })?;
        // Of parameters that the last micro-batch has no use for.
        let rest = sum.take();
        if !rest.is_empty() {
            model = take(model, rest, &sum)?;
        }
        Ok((
            model,
            match mean {
                Some(mean) => mean + loss,
                None => loss,
            },
        ))
    }

    /// Tells how many bytes of gradients the optimizer holds from now on.
    pub fn note_held(&self, bytes: u64) {
        self.held.set(bytes);
    }

    /// The most bytes of gradients that existed at once so far.
    pub fn gradient_bytes(&self) -> u64 {
        self.gradients.get()
    }

    /// Every micro-batch as a stack, its loss multiplied with its share.
    fn stacks(&self, model: &O::Model) -> Result<Vec<Stack<'_, O::Model, 3>>, TrainError> {
        let stack = |batch| {
            let stack = self.objective.stack(model, batch, self.device)?;
            Some(stack.scaled(self.share(batch)))
        };
        let stacks: Option<Vec<_>> = self.batches.iter().map(stack).collect();
        stacks.ok_or_else(|| TrainError::Setting {
            field: "backward",
            value: "layer-wise".into(),
            mend: "this objective does not say how its model is a stack of layers: implement \
                   `Objective::stack`, or use `whole`"
                .into(),
        })
    }

    fn share(&self, batch: &O::Batch) -> f64 {
        self.objective.labels(batch) as f64 / self.labels
    }

    fn count(&self, model: &O::Model, part: &GradientsParams, sum: &GradientSum) {
        let bytes = gradient_bytes(model, part) + gradient_bytes(model, sum.gradients()) + self.held.get();
        self.gradients.set(self.gradients.get().max(bytes));
    }
}
