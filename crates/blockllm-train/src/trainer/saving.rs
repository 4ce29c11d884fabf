//! When checkpoints are made, and what follows when one cannot be.
use super::course::Course;
use super::place::Place;
use super::run::Run;
use crate::checkpoint::Writing;
use crate::{Checkpoints, Objective, RunObserver, TrainError};
use blockllm_data::DataError;
use blockllm_tensors::TensorFileError;
use std::time::Instant;

/// Makes the checkpoints of one run.
pub(super) struct Saving<'a> {
    checkpoints: &'a Checkpoints,
    keeps_best: bool,
    last_save: Instant,
    saved: Option<u64>,
    writing: Option<Writing>,
}

impl<'a> Saving<'a> {
    /// For a run that goes on from the checkpoint of `resumed`, or begins. One that may stop early keeps its best.
    pub(super) fn new(checkpoints: &'a Checkpoints, may_stop_early: bool, resumed: Option<u64>) -> Self {
        Self {
            checkpoints,
            keeps_best: may_stop_early || checkpoints.keeps_best(),
            last_save: Instant::now(),
            saved: resumed,
            writing: None,
        }
    }

    /// Makes a checkpoint if one is due; a request to stop makes one in any case and ends the run.
    pub(super) fn after_step<O: Objective>(
        &mut self,
        run: &Run<'_, O>,
        model: &O::Model,
        place: Place<'_>,
        observer: &mut dyn RunObserver,
    ) -> Result<(), TrainError> {
        if self.writing.as_ref().is_some_and(Writing::is_over) {
            self.wait(observer)?;
        }
        let checkpoints = self.checkpoints;
        let (step, is_last) = (place.step, place.is_last);
        let stop = checkpoints.interrupt().requested().filter(|_| !is_last);
        let is_best = self.keeps_best && place.course.best_step() == Some(step);
        let is_due = checkpoints.is_due(step, self.last_save.elapsed()) && !is_last;
        let is_wanted = stop.is_some() || is_best || is_due || (is_last && checkpoints.saves_last());
        if is_wanted && self.saved != Some(step) {
            self.wait(observer)?;
            let best = place.course.best_step().filter(|_| self.keeps_best);
            let snapshot = run.snapshot(model, place, self.keeps_best)?;
            let beside = stop.is_none() && !is_last && run.can_save_beside();
            self.writing = Some(checkpoints.save(snapshot, best, beside));
            self.last_save = Instant::now();
            if !beside {
                self.wait(observer)?;
            }
        }
        match stop {
            Some(signal) => Err(TrainError::Interrupted {
                signal,
                step,
                saved: self.saved,
            }),
            None => Ok(()),
        }
    }

    /// Waits for the checkpoint that is being written, if there is one. That the disk refused it is told; training goes on.
    pub(super) fn wait(&mut self, observer: &mut dyn RunObserver) -> Result<(), TrainError> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let step = writing.step();
        match self.checkpoints.finish(writing) {
            Ok(()) => self.saved = Some(step),
            Err(error) if is_of_the_disk(&error) => {
                let kept = self.saved.map_or_else(
                    || "there is no older one yet".to_owned(),
                    |saved| format!("that of step {saved} is kept"),
                );
                observer.warn(&format!(
                    "no checkpoint of step {step}: {error}; {kept}, and training goes on"
                ));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The weights that a finished run is remembered by: its best where they were kept, else its last.
    pub(super) fn trained<M: burn::module::Module>(
        &self,
        model: M,
        course: &Course,
        observer: &mut dyn RunObserver,
    ) -> Result<(M, u64), TrainError> {
        let last = course.last.step;
        let best = course.best_step().filter(|best| self.keeps_best && *best != last);
        match best {
            None => Ok((model, last)),
            Some(best) if self.checkpoints.has(best) => {
                Ok((self.checkpoints.load_weights(best, model)?, best))
            }
            Some(best) => {
                observer.warn(&format!(
                    "the best weights, of step {best}, could not be kept: the model is that of the last step, {last}"
                ));
                Ok((model, last))
            }
        }
    }
}

/// Whether the disk refused, not the device or the optimizer.
fn is_of_the_disk(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::File { .. }
            | TrainError::Data(DataError::Io { .. })
            | TrainError::Tensors(TensorFileError::Io { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_disk_refused_is_told_and_passed_over() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = || std::path::PathBuf::from("checkpoints");
        for error in [
            TrainError::File {
                path: path(),
                source: full(),
            },
            TrainError::Data(DataError::Io {
                action: "write",
                path: path(),
                source: full(),
            }),
        ] {
            assert!(is_of_the_disk(&error), "{error}");
        }
        for error in [
            TrainError::Record {
                path: path(),
                message: "not what was written".to_owned(),
            },
            TrainError::Data(DataError::LoaderStopped { found: "a panic" }),
            TrainError::Data(DataError::ChangedShard { path: path() }),
            TrainError::Logits,
        ] {
            assert!(!is_of_the_disk(&error), "{error}");
        }
    }
}
