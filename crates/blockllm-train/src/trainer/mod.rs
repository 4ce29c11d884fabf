//! The loop: prepare, forward, backward, step, observe, with everything told to an observer.
mod course;
mod place;
mod run;
mod saving;
mod setup;
mod step_times;
mod trained;

pub(crate) use course::Course;
pub use setup::Setup;
pub use trained::Trained;

use crate::{
    BatchSource, Checkpoints, Divergence, LeftOutRecord, MemoryMeter, Objective, Record, RunObserver,
    SkippedRecord, TrainError, device_log, self_check,
};
use blockllm_data::Skipped;
use place::Place;
use run::{Made, Run};
use saving::Saving;
use std::time::Instant;

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
/// As [`train`]; when a checkpoint is of another run; and [`TrainError::Interrupted`] when a stop was asked for. A
/// checkpoint that cannot be written is told, and training goes on.
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
    let newest = match checkpoints {
        Some(checkpoints) => checkpoints.newest_whole(&mut |text| observer.warn(text))?,
        None => None,
    };
    let (mut model, mut course, done) = if let (Some(checkpoints), Some(step)) = (checkpoints, newest) {
        let (model, course) = run.resume(checkpoints, step, model, batches)?;
        (model, course, step)
    } else {
        let untrained = match run.evaluation(&model, setup.validation, 0) {
            Ok(untrained) => untrained,
            Err(error) => {
                return Err(marked(
                    setup.objective,
                    error,
                    0,
                    batches.cursor(),
                    &[],
                    observer,
                )?);
            }
        };
        observer.record(&Record::Evaluation(untrained.clone()))?;
        (model, Course::new(untrained), 0)
    };
    let mut saving = checkpoints.map(|all| Saving::new(all, config.stop_after > 0, newest));
    let listening = checkpoints.map(|all| all.interrupt().listen());
    let mut left_out = batches.left_out();
    for step in done + 1..=config.steps {
        if course.stops_early(config.stop_after) {
            break;
        }
        model = one_step(setup, &mut run, model, &mut course, step, batches, observer)?;
        if batches.left_out() != left_out {
            left_out = batches.left_out();
            let Skipped { documents, shards } = left_out;
            observer.record(&Record::LeftOut(LeftOutRecord {
                step,
                documents,
                shards,
            }))?;
        }
        if let Some(saving) = &mut saving {
            let place = Place {
                step,
                course: &course,
                cursor: batches.cursor(),
                is_last: step == config.steps || course.stops_early(config.stop_after),
            };
            saving.after_step(&run, &model, place, observer)?;
        }
    }
    drop(listening);
    device_log::check()?;
    let last = course.last.step;
    let (model, weights_step) = match &mut saving {
        Some(saving) => {
            saving.wait(observer)?;
            saving.trained(model, &course, observer)?
        }
        None => (model, last),
    };
    Ok(Trained {
        weights_step,
        left_out,
        self_check,
        ..run.finish(model, course)
    })
}

/// Bad steps one after the other that end a run.
const MOST_SKIPPED: u64 = 10;

/// One optimizer step and the evaluation behind it, if there is one. Where its numbers are no longer finite, the observer
/// is told all that is known of it.
fn one_step<O: Objective>(
    setup: &Setup<'_, O>,
    run: &mut Run<'_, O>,
    model: O::Model,
    course: &mut Course,
    step: u64,
    batches: &mut dyn BatchSource<O::Batch>,
    observer: &mut dyn RunObserver,
) -> Result<O::Model, TrainError> {
    let config = setup.config;
    let mut model = model;
    let mut skipped = 0;
    let (mut made, micro_batches, cursor) = loop {
        let cursor = batches.cursor();
        let asked = Instant::now();
        let micro_batches = (0..config.grad_accum_steps)
            .map(|_| batches.next_batch())
            .collect::<Result<Vec<_>, _>>()?;
        let waited = asked.elapsed();
        match run.step(model, &micro_batches, step, waited, observer) {
            Ok(Made::Step(model)) => break (Ok(model), micro_batches, cursor),
            Err(error) => break (Err(error), micro_batches, cursor),
            Ok(Made::Nothing {
                unchanged,
                loss,
                grad_norm,
            }) => {
                skipped += 1;
                if skipped == MOST_SKIPPED {
                    break (
                        Err(TrainError::OnlyBadSteps { step, skipped }),
                        micro_batches,
                        cursor,
                    );
                }
                observer.record(&Record::Skipped(SkippedRecord {
                    step,
                    loss,
                    grad_norm,
                    cursor,
                }))?;
                model = unchanged;
            }
        }
    };
    let is_due = config.evaluate_every > 0 && step.is_multiple_of(config.evaluate_every);
    if is_due || step == config.steps {
        made = made.and_then(|model| {
            let evaluation = run.evaluation(&model, setup.validation, step)?;
            observer.record(&Record::Evaluation(evaluation.clone()))?;
            course.add(setup.objective, evaluation);
            Ok(model)
        });
    }
    match made {
        Ok(model) => Ok(model),
        Err(error) => Err(marked(
            setup.objective,
            error,
            step,
            cursor,
            &micro_batches,
            observer,
        )?),
    }
}

/// Gives the error of a step back; where its numbers are no longer finite, the observer was told all that is known of it.
fn marked<O: Objective>(
    objective: &O,
    error: TrainError,
    step: u64,
    cursor: serde_json::Value,
    batches: &[O::Batch],
    observer: &mut dyn RunObserver,
) -> Result<TrainError, TrainError> {
    if error.is_divergence() {
        let batches = batches.iter().map(|batch| objective.describe(batch)).collect();
        observer.diverged(&Divergence {
            step,
            message: error.to_string(),
            cursor,
            batches,
        })?;
    }
    Ok(error)
}
