//! One run: its optimizer step, its evaluation, its checkpoints, and what it adds up.
use super::course::Course;
use super::place::Place;
use super::setup::Setup;
use super::step_times::StepTimes;
use super::trained::Trained;
use crate::checkpoint::{CheckpointState, Snapshot};
use crate::memory::StateBytes;
use crate::micro_batches::MicroBatches;
use crate::{
    Backward, BadSteps, BatchSource, Checkpoints, EvaluationRecord, MemoryMeter, Objective, Record,
    RunObserver, StepRecord, TrainConfig, TrainError, TrainingOptimizer, device_log, evaluate,
};
use blockllm_backward::gradient_bytes;
use blockllm_data::Skipped;
use blockllm_optim::{GradientsParams, OptimError, Parameter, Step, gradient_norm};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// At most one part in so many of the weights is held twice while a checkpoint is written beside training.
const SHARE_HELD_TWICE: u64 = 2;

/// What a run adds up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    tokens_seen: u64,
    /// Absent in checkpoints of earlier versions, whose steps then count for nothing here.
    #[serde(default)]
    step_times: StepTimes,
    wait_ms: f64,
    #[serde(default)]
    skipped: u64,
    gradient_bytes: u64,
    trained_entries: u64,
    state: StateBytes,
}

/// What became of the batches of a step.
pub(super) enum Made<M> {
    /// The model after the step.
    Step(M),
    /// Nothing: their numbers are not finite, and they are to be skipped.
    Nothing { unchanged: M, loss: f64, grad_norm: f64 },
}

/// The loss with what the optimizer made, or that nothing was to be made.
type Attempt<M> = Result<(Tensor<1>, Step<M>), Made<M>>;

pub(super) struct Run<'a, O: Objective> {
    objective: &'a O,
    config: &'a TrainConfig,
    learning_rate: f64,
    device: &'a Device,
    optimizer: Box<dyn TrainingOptimizer<O::Model>>,
    /// Whether the backward pass goes layer by layer.
    by_layers: bool,
    meter: MemoryMeter,
    tally: Tally,
}

impl<'a, O: Objective> Run<'a, O> {
    pub(super) fn new(
        setup: &Setup<'a, O>,
        model: &O::Model,
        mut meter: MemoryMeter,
    ) -> Result<Self, TrainError> {
        let &Setup {
            objective,
            method,
            config,
            device,
            ..
        } = setup;
        meter.sample_every(config.memory_sample_every);
        Ok(Self {
            objective,
            config,
            learning_rate: method.learning_rate.unwrap_or(config.learning_rate),
            device,
            optimizer: method.optimizer(model, config)?,
            by_layers: config.backward == Backward::LayerWise,
            meter,
            tally: Tally::default(),
        })
    }

    /// What a checkpoint of this moment is made of; with `all`, whatever can be trained.
    pub(super) fn snapshot(
        &self,
        model: &O::Model,
        place: Place<'_>,
        all: bool,
    ) -> Result<Snapshot, TrainError> {
        let step = place.step;
        Snapshot::of(model, &*self.optimizer, step, all, |optimizer| CheckpointState {
            step,
            cursor: place.cursor,
            course: place.course.clone(),
            tally: self.tally.clone(),
            peak_bytes: self.meter.peak_bytes(),
            optimizer,
        })
    }

    /// Whether a checkpoint can be written while training goes on: what training changes meanwhile is held twice, which is
    /// to be little beside the weights. Methods that change all of them at every step wait.
    pub(super) fn can_save_beside(&self) -> bool {
        let weights = self.weights_bytes();
        let parameters = self.optimizer.parameters();
        let widest = parameters.iter().map(|parameter| parameter.dtype.size()).max();
        let changing = self.optimizer.gradient_entries() * widest.unwrap_or(4) as u64;
        changing + self.optimizer.state_bytes() <= weights / SHARE_HELD_TWICE
    }

    pub(super) fn resume(
        &mut self,
        checkpoints: &Checkpoints,
        step: u64,
        model: O::Model,
        batches: &mut dyn BatchSource<O::Batch>,
    ) -> Result<(O::Model, Course), TrainError> {
        let (model, state) = checkpoints.load(step, model, &mut *self.optimizer, self.device)?;
        batches.resume(&state.cursor)?;
        self.tally = state.tally;
        self.meter.resume(state.peak_bytes);
        Ok((model, state.course))
    }

    pub(super) fn step(
        &mut self,
        model: O::Model,
        batches: &[O::Batch],
        step: u64,
        waited: Duration,
        observer: &mut dyn RunObserver,
    ) -> Result<Made<O::Model>, TrainError> {
        let started = Instant::now();
        // Dropout's masks follow from the step, and so does what else is drawn on the device: a resumed run draws the same.
        let seed = step_seed(self.config.seed, step);
        self.device.seed(seed);
        let learning_rate = self.learning_rate * self.config.schedule.factor(step, self.config.steps);
        let micro_batches = MicroBatches::new(self.objective, self.device, batches, seed)?;
        self.meter.begin_step(step);
        self.meter.count(0, self.optimizer.state_bytes());
        let model = self.prepare(model, &micro_batches)?;
        if let Some(event) = self.optimizer.take_selection_event() {
            // Norms were just read back, so nothing is waited for, and a sweep may well have been the peak.
            self.meter.sample_now();
            self.meter.count(0, self.optimizer.state_bytes());
            observer.record(&Record::Selection(event))?;
        }
        let (loss, stepped) = match self.backward_and_step(model, &micro_batches, learning_rate)? {
            Ok(stepped) => stepped,
            Err(nothing) => {
                self.tally.skipped += 1;
                return Ok(nothing);
            }
        };
        self.tally.gradient_bytes = self.tally.gradient_bytes.max(micro_batches.gradient_bytes());
        let (loss, grad_norm) = read_back(loss, stepped.grad_norm)?;
        device_log::check()?;
        // The state may be new, and the gradients were there with it.
        self.meter
            .count(micro_batches.gradient_bytes(), self.optimizer.state_bytes());
        self.meter.sample();
        self.optimizer.observe(loss)?;
        if let Some(loss) = [loss, grad_norm].into_iter().find(|number| !number.is_finite()) {
            return Err(OptimError::BadLoss { step, loss }.into());
        }
        let wait_ms = waited.as_secs_f64() * 1e3;
        self.tally.wait_ms += wait_ms;
        let step_ms = started.elapsed().as_secs_f64() * 1e3;
        self.count(batches, step_ms);
        observer.record(&Record::Step(StepRecord {
            step,
            loss,
            grad_norm,
            learning_rate,
            tokens_seen: self.tally.tokens_seen,
            step_ms,
            wait_ms,
            trained_entries: self.optimizer.trained_entries(),
            without_gradient: stepped.without_gradient.len() as u64,
            memory_bytes: self.meter.current_bytes(),
        }))?;
        Ok(Made::Step(stepped.model))
    }

    /// Selects if it is time, and unfreezes what the step needs.
    fn prepare(
        &mut self,
        model: O::Model,
        micro_batches: &MicroBatches<'_, O>,
    ) -> Result<O::Model, TrainError> {
        let meter = &mut self.meter;
        if !self.by_layers {
            return self
                .optimizer
                .prepare_with(model, &mut |model| micro_batches.backward(model, meter).1);
        }
        self.optimizer.prepare_in_parts(model, &mut |model, take| {
            let take = |model, part| Ok::<_, TrainError>(take(model, part)?);
            let (model, _) = micro_batches.backward_by_layers(model, meter, true, take)?;
            Ok(model)
        })
    }

    /// The loss, and the model after the step; or that none was made.
    fn backward_and_step(
        &mut self,
        model: O::Model,
        micro_batches: &MicroBatches<'_, O>,
        learning_rate: f64,
    ) -> Result<Attempt<O::Model>, TrainError> {
        let (meter, optimizer) = (&mut self.meter, &mut self.optimizer);
        if !self.by_layers {
            let (loss, gradients) = micro_batches.backward(&model, meter);
            if self.config.bad_steps == BadSteps::Skip
                && let Some((loss, grad_norm)) = bad_numbers(&loss, gradient_norm(&model, &gradients))?
            {
                return Ok(Err(Made::Nothing {
                    unchanged: model,
                    loss,
                    grad_norm,
                }));
            }
            return Ok(Ok((loss, optimizer.step(model, gradients, learning_rate)?)));
        }
        if self.config.bad_steps == BadSteps::Skip {
            return self.looked_at_by_layers(model, micro_batches, learning_rate);
        }
        let at_once = optimizer.uses_parts_at_once();
        let take = |model, part| {
            let model = optimizer.take(model, part, learning_rate)?;
            micro_batches.note_held(optimizer.waiting_gradient_bytes());
            Ok::<_, TrainError>(model)
        };
        let (model, loss) = micro_batches.backward_by_layers(model, meter, at_once, take)?;
        let stepped = optimizer.step(model, GradientsParams::new(), learning_rate)?;
        Ok(Ok((loss, stepped)))
    }

    /// Layer by layer where bad batches are skipped: the optimizer gets nothing before the loss and the norm of all
    /// gradients are known, so that all of them exist at once.
    fn looked_at_by_layers(
        &mut self,
        model: O::Model,
        micro_batches: &MicroBatches<'_, O>,
        learning_rate: f64,
    ) -> Result<Attempt<O::Model>, TrainError> {
        let (mut parts, mut norms, mut held) = (Vec::new(), Vec::new(), 0);
        let keep = |model: O::Model, part: GradientsParams| {
            norms.extend(gradient_norm(&model, &part));
            held += gradient_bytes(&model, &part);
            micro_batches.note_held(held);
            parts.push(part);
            Ok::<_, TrainError>(model)
        };
        let (mut model, loss) = micro_batches.backward_by_layers(model, &mut self.meter, false, keep)?;
        let norm = (!norms.is_empty()).then(|| Tensor::cat(norms, 0).square().sum().sqrt());
        if let Some((loss, grad_norm)) = bad_numbers(&loss, norm)? {
            return Ok(Err(Made::Nothing {
                unchanged: model,
                loss,
                grad_norm,
            }));
        }
        for part in parts {
            model = self.optimizer.take(model, part, learning_rate)?;
        }
        let stepped = self
            .optimizer
            .step(model, GradientsParams::new(), learning_rate)?;
        Ok(Ok((loss, stepped)))
    }

    fn count(&mut self, batches: &[O::Batch], step_ms: f64) {
        let tally = &mut self.tally;
        tally.tokens_seen += batches
            .iter()
            .map(|batch| self.objective.tokens(batch))
            .sum::<u64>();
        tally.step_times.add(step_ms);
        tally.trained_entries = tally.trained_entries.max(self.optimizer.trained_entries());
        let measured = self.optimizer.state_bytes();
        if measured > tally.state.measured {
            tally.state = StateBytes {
                measured,
                estimated: self.optimizer.estimated_state_bytes(),
            };
        }
    }

    pub(super) fn evaluation(
        &self,
        model: &O::Model,
        validation: &[O::Batch],
        step: u64,
    ) -> Result<EvaluationRecord, TrainError> {
        let evaluation = evaluate(self.objective, model, validation, self.device)?;
        if !evaluation.loss.is_finite() {
            let loss = evaluation.loss;
            return Err(TrainError::BadEvaluation { step, loss });
        }
        Ok(EvaluationRecord {
            step,
            tokens_seen: self.tally.tokens_seen,
            evaluation,
        })
    }

    /// Bytes of all parameters.
    fn weights_bytes(&self) -> u64 {
        let bytes = |parameter: &Parameter| parameter.info.numel * parameter.dtype.size() as u64;
        self.optimizer.parameters().iter().map(bytes).sum()
    }

    pub(super) fn finish(self, model: O::Model, course: Course) -> Trained<O::Model> {
        let parameters = self.optimizer.parameters().iter();
        let parameters = parameters.map(|parameter| parameter.info.numel).sum();
        let weights_bytes = self.weights_bytes();
        let tally = self.tally;
        let wait = tally.wait_ms / 1e3;
        let seconds = tally.step_times.sum() / 1e3 + wait;
        Trained {
            model,
            weights_step: course.last.step,
            best: course.best.unwrap_or_else(|| course.last.clone()),
            last: course.last,
            untrained: course.untrained,
            tokens_seen: tally.tokens_seen,
            step_ms: tally.step_times.median(),
            tokens_per_second: tally.tokens_seen as f64 / seconds.max(1e-9),
            wait_share: wait / seconds.max(1e-9),
            skipped: tally.skipped,
            left_out: Skipped::default(),
            parameters,
            trained_entries: tally.trained_entries,
            selections: self.optimizer.selections(),
            blocks: self.optimizer.block_names(),
            memory: self
                .meter
                .report(weights_bytes, tally.gradient_bytes, tally.state),
            self_check: None,
        }
    }
}

/// Another one for every step of every seed (an odd multiplier loses no bit).
fn step_seed(seed: u64, step: u64) -> u64 {
    seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The loss and the norm of a step's gradients, where they are no numbers; of a step without gradients nothing is asked.
fn bad_numbers(loss: &Tensor<1>, norm: Option<Tensor<1>>) -> Result<Option<(f64, f64)>, TrainError> {
    let Some(norm) = norm else { return Ok(None) };
    let (loss, grad_norm) = read_back(loss.clone(), norm)?;
    let are_numbers = loss.is_finite() && grad_norm.is_finite();
    Ok((!are_numbers).then_some((loss, grad_norm)))
}

/// Loss and gradient norm with one transfer.
fn read_back(loss: Tensor<1>, grad_norm: Tensor<1>) -> Result<(f64, f64), TrainError> {
    let data = Tensor::cat(vec![loss, grad_norm], 0)
        .try_into_data()
        .map_err(|error| TrainError::Device {
            what: "the loss",
            message: error.to_string(),
        })?;
    let mut values = data.iter::<f64>();
    let mut next = || values.next().expect("two scalars were joined");
    Ok((next(), next()))
}
