//! The loop: prepare, forward, backward, step, observe, with everything told to an observer.
mod course;
mod run;

use crate::{
    BatchSource, Checkpoints, EvaluationRecord, MemoryMeter, MemoryReport, Method, Objective, Record,
    RunObserver, SelfCheck, TrainConfig, TrainError, device_log, self_check,
};
use burn::tensor::Device;
pub(crate) use course::Course;
use run::Run;

/// A trained model and what it cost.
#[derive(Debug)]
pub struct Trained<M> {
    /// The model, still on its autodiff device.
    pub model: M,
    /// The last evaluation.
    pub last: EvaluationRecord,
    /// The best evaluation after training began, as the objective ranks them.
    pub best: EvaluationRecord,
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
    /// What the device and flex said of one small batch, where they were compared.
    pub self_check: Option<SelfCheck>,
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

/// Trains `model` from the beginning to the end.
///
/// `batches` gives the micro-batches in order. `meter` must have been started before the model was made.
///
/// # Errors
/// When a setting is wrong, the data or the device fails, or the loss is no longer a number.
pub fn train<O: Objective>(
    setup: &Setup<'_, O>,
    model: O::Model,
    mut batches: impl BatchSource<O::Batch>,
    meter: MemoryMeter,
    observer: &mut dyn RunObserver,
) -> Result<Trained<O::Model>, TrainError> {
    run(setup, model, &mut batches, meter, observer, None)
}

/// [`train`] with checkpoints: goes on from the newest one if there is any, and then gives the same bits as a run
/// that was never stopped.
///
/// # Errors
/// As [`train`]; and when a checkpoint cannot be written, or is of another run.
pub fn train_resumable<O: Objective>(
    setup: &Setup<'_, O>,
    model: O::Model,
    batches: &mut dyn BatchSource<O::Batch>,
    meter: MemoryMeter,
    observer: &mut dyn RunObserver,
    checkpoints: &Checkpoints,
) -> Result<Trained<O::Model>, TrainError> {
    run(setup, model, batches, meter, observer, Some(checkpoints))
}

fn run<O: Objective>(
    setup: &Setup<'_, O>,
    model: O::Model,
    batches: &mut dyn BatchSource<O::Batch>,
    meter: MemoryMeter,
    observer: &mut dyn RunObserver,
    checkpoints: Option<&Checkpoints>,
) -> Result<Trained<O::Model>, TrainError> {
    let config = setup.config;
    config.validate()?;
    let model = config.weights.cast(setup.method.adapt(model, config)?)?;
    let self_check = self_check::before_training(setup, &model)?;
    let mut run = Run::new(setup, &model, meter)?;
    let newest = checkpoints.and_then(|checkpoints| Some((checkpoints, checkpoints.newest()?)));
    let (mut model, mut course, done) = if let Some((checkpoints, step)) = newest {
        let (model, course) = run.resume(checkpoints, step, model, batches)?;
        (model, course, step)
    } else {
        let untrained = run.evaluation(&model, setup.validation, 0)?;
        observer.record(&Record::Evaluation(untrained.clone()))?;
        (model, Course::new(untrained), 0)
    };
    for step in done + 1..=config.steps {
        let micro_batches = (0..config.grad_accum_steps)
            .map(|_| batches.next_batch())
            .collect::<Result<Vec<_>, _>>()?;
        model = run.step(model, &micro_batches, step, observer)?;
        let due = config.evaluate_every > 0 && step % config.evaluate_every == 0;
        if due || step == config.steps {
            let evaluation = run.evaluation(&model, setup.validation, step)?;
            observer.record(&Record::Evaluation(evaluation.clone()))?;
            course.add(setup.objective, evaluation);
            if config.stop_after > 0 && course.since_best >= config.stop_after {
                break;
            }
        }
        if let Some(checkpoints) = checkpoints.filter(|c| c.is_due(step) && step < config.steps) {
            run.save(checkpoints, step, &model, &course, batches.cursor())?;
        }
    }
    device_log::check()?;
    Ok(Trained {
        self_check,
        ..run.finish(model, course)
    })
}
