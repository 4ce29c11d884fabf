//! The loop: prepare, forward, backward, step, observe, with everything told to an observer.
use crate::memory::StateBytes;
use crate::{
    EvaluationRecord, MemoryMeter, MemoryReport, Method, Objective, Record, RunObserver, StepRecord,
    TrainConfig, TrainError, evaluate,
};
use blockllm_optim::{BlockOptimizer, GradientsParams, OptimError};
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};
use std::time::Instant;

/// A trained model and what it cost.
#[derive(Debug)]
pub struct Trained<M> {
    /// The model, still on its autodiff device.
    pub model: M,
    /// The last evaluation.
    pub last: EvaluationRecord,
    /// The evaluation before training.
    pub untrained: EvaluationRecord,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// Median wall time of a step, in milliseconds.
    pub step_ms: f64,
    /// Input tokens per second, without evaluations.
    pub tokens_per_second: f64,
    /// Parameters of the model.
    pub parameters: u64,
    /// The most entries that were trained at once.
    pub trained_entries: u64,
    /// Selections made.
    pub selections: u64,
    /// Names of all blocks of the partition, in order.
    pub blocks: Vec<String>,
    /// Memory, measured and estimated.
    pub memory: MemoryReport,
}

/// What a run is a function of, beside its batches and its initial weights.
#[derive(Debug)]
pub struct Setup<'a, O: Objective> {
    /// What a loss is.
    pub objective: &'a O,
    /// What is trained.
    pub method: &'a Method,
    /// How it is trained.
    pub config: &'a TrainConfig,
    /// Evaluated before, after and, if the configuration says so, in between.
    pub validation: &'a [O::Batch],
    /// The device of the model, with autodiff.
    pub device: &'a Device,
}

/// Trains `model`.
///
/// `next_batch` gives the micro-batches in order. `meter` must have been started before the model was made.
///
/// # Errors
/// When a setting is wrong, the data or the device fails, or the loss is no longer a number.
pub fn train<O: Objective>(
    setup: &Setup<'_, O>,
    model: O::Model,
    mut next_batch: impl FnMut() -> Result<O::Batch, TrainError>,
    meter: MemoryMeter,
    observer: &mut dyn RunObserver,
) -> Result<Trained<O::Model>, TrainError> {
    let &Setup {
        objective,
        method,
        config,
        validation,
        device,
    } = setup;
    config.validate()?;
    let optimizer = method.optimizer(&model, config)?;
    let mut run = Run {
        objective,
        config,
        learning_rate: method.learning_rate.unwrap_or(config.learning_rate),
        device,
        optimizer,
        meter,
        tally: Tally::default(),
    };
    let untrained = run.evaluation(&model, validation, 0)?;
    observer.record(&Record::Evaluation(untrained))?;
    let mut last = untrained;
    let mut model = model;
    for step in 1..=config.steps {
        let batches = (0..config.grad_accum_steps)
            .map(|_| next_batch())
            .collect::<Result<Vec<_>, _>>()?;
        model = run.step(model, &batches, step, observer)?;
        let due = config.evaluate_every > 0 && step % config.evaluate_every == 0;
        if due || step == config.steps {
            last = run.evaluation(&model, validation, step)?;
            observer.record(&Record::Evaluation(last))?;
        }
    }
    Ok(run.finish(model, untrained, last))
}

/// What a run adds up.
#[derive(Debug, Default)]
struct Tally {
    tokens_seen: u64,
    step_ms: Vec<f64>,
    gradient_entries: u64,
    trained_entries: u64,
    state: StateBytes,
}

struct Run<'a, O> {
    objective: &'a O,
    config: &'a TrainConfig,
    learning_rate: f64,
    device: &'a Device,
    optimizer: BlockOptimizer,
    meter: MemoryMeter,
    tally: Tally,
}

impl<O: Objective> Run<'_, O> {
    fn step(
        &mut self,
        model: O::Model,
        batches: &[O::Batch],
        step: u64,
        observer: &mut dyn RunObserver,
    ) -> Result<O::Model, TrainError> {
        let started = Instant::now();
        let learning_rate = self.learning_rate * self.config.schedule.factor(step, self.config.steps);
        let first = &batches[0];
        let model = self
            .optimizer
            .prepare(model, |model| self.objective.loss(model, first, self.device))?;
        if let Some(event) = self.optimizer.take_selection_event() {
            observer.record(&Record::Selection(event))?;
        }
        let (loss, gradients) = self.backward(&model, batches)?;
        let stepped = self.optimizer.step(model, gradients, learning_rate)?;
        let (loss, grad_norm) = read_back(loss, stepped.grad_norm)?;
        self.meter.sample();
        self.optimizer.observe(loss)?;
        if !grad_norm.is_finite() {
            return Err(OptimError::BadLoss {
                step,
                loss: grad_norm,
            }
            .into());
        }
        self.count(batches, started);
        observer.record(&Record::Step(StepRecord {
            step,
            loss,
            grad_norm,
            learning_rate,
            tokens_seen: self.tally.tokens_seen,
            step_ms: *self.tally.step_ms.last().expect("the step was counted"),
            trained_entries: self.optimizer.trained_entries(),
            memory_bytes: self.meter.current_bytes(),
        }))?;
        Ok(stepped.model)
    }

    /// Loss and gradients, averaged over the micro-batches by their counted labels.
    fn backward(
        &mut self,
        model: &O::Model,
        batches: &[O::Batch],
    ) -> Result<(Tensor<1>, GradientsParams), TrainError> {
        let labels = |batch: &O::Batch| self.objective.labels(batch) as f64;
        let total: f64 = batches.iter().map(labels).sum();
        if total == 0.0 {
            return Err(TrainError::NoLabels { what: "a batch" });
        }
        let mut accumulator = GradientsAccumulator::new();
        let mut mean: Option<Tensor<1>> = None;
        for batch in batches {
            let share = labels(batch) / total;
            let loss = self.objective.loss(model, batch, self.device).mul_scalar(share);
            self.meter.sample();
            let gradients = GradientsParams::from_grads(loss.backward(), model);
            let loss = loss.inner();
            mean = Some(mean.map_or_else(|| loss.clone(), |mean| mean + loss.clone()));
            if batches.len() == 1 {
                return Ok((loss, gradients));
            }
            accumulator.accumulate(model, gradients);
        }
        self.meter.sample();
        Ok((
            mean.expect("there is at least one micro-batch"),
            accumulator.grads(),
        ))
    }

    fn count(&mut self, batches: &[O::Batch], started: Instant) {
        let tally = &mut self.tally;
        tally.tokens_seen += batches
            .iter()
            .map(|batch| self.objective.tokens(batch))
            .sum::<u64>();
        tally.step_ms.push(started.elapsed().as_secs_f64() * 1e3);
        tally.gradient_entries = tally.gradient_entries.max(self.optimizer.gradient_entries());
        tally.trained_entries = tally.trained_entries.max(self.optimizer.trained_entries());
        let measured = self.optimizer.state_bytes();
        if measured > tally.state.measured {
            tally.state = StateBytes {
                measured,
                estimated: self.optimizer.estimated_state_bytes(),
            };
        }
    }

    fn evaluation(
        &self,
        model: &O::Model,
        validation: &[O::Batch],
        step: u64,
    ) -> Result<EvaluationRecord, TrainError> {
        let evaluation = evaluate(self.objective, model, validation, self.device)?;
        Ok(EvaluationRecord {
            step,
            tokens_seen: self.tally.tokens_seen,
            evaluation,
        })
    }

    fn finish(
        self,
        model: O::Model,
        untrained: EvaluationRecord,
        last: EvaluationRecord,
    ) -> Trained<O::Model> {
        let parameters = self
            .optimizer
            .parameters()
            .iter()
            .map(|parameter| parameter.info.numel)
            .sum::<u64>();
        let tally = self.tally;
        let seconds = tally.step_ms.iter().sum::<f64>() / 1e3;
        Trained {
            model,
            last,
            untrained,
            tokens_seen: tally.tokens_seen,
            step_ms: median(tally.step_ms),
            tokens_per_second: tally.tokens_seen as f64 / seconds.max(1e-9),
            parameters,
            trained_entries: tally.trained_entries,
            selections: self.optimizer.visits().selections(),
            blocks: self
                .optimizer
                .selector()
                .blocks()
                .iter()
                .map(|block| block.name.clone())
                .collect(),
            memory: self
                .meter
                .report(parameters * 4, tally.gradient_entries * 4, tally.state),
        }
    }
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
