//! A run with its folder: shown when complete, taken up where it was stopped, made longer, or begun.
use crate::build_info::environment;
use crate::cli::Keep;
use crate::outcome::{CompleteRun, Outcome};
use crate::run_place::RunPlace;
use crate::{Cli, alone, causes};
use anyhow::{Context, Result, bail};
use blockllm_data::atomic_file::sync_folder;
use blockllm_train::tell_line;
use blockllm_train::{
    Checkpoints, Divergence, Progress, Record, RunFolder, RunObserver, RunResult, TrainError,
};
use std::path::Path;
use std::time::Duration;

/// How a run is trained, and what it leaves beside its records, such as the trained model.
pub trait Job {
    /// Trains, or goes on from the newest checkpoint, and writes the outputs.
    ///
    /// # Errors
    /// What training or an output fails with.
    fn train(&self, folder: &mut RunFolder, checkpoints: &Checkpoints) -> Result<RunResult>;

    /// The folders below the run's that were asked for.
    fn outputs(&self) -> Vec<&'static str>;

    /// Writes the outputs of a complete run, whose weights are those of a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint or an output fails.
    fn write_outputs(&self, folder: &Path, checkpoints: &Checkpoints, result: &RunResult) -> Result<()>;
}

/// The run at `place`: read from disk where it is complete, else trained from where it was left.
///
/// # Errors
/// When another process trains it, the folder cannot be written, or training fails otherwise than by diverging.
pub fn make(cli: &Cli, place: &RunPlace, job: &dyn Job) -> Result<Outcome> {
    let mut outcome = read_or_train(cli, place, job)?;
    if let Outcome::Complete(run) = &mut outcome {
        // A record by itself is of the library's methods only.
        run.result.method_config = cli.known_methods.recognize(&run.result.method_config)?;
    }
    Ok(outcome)
}

fn read_or_train(cli: &Cli, place: &RunPlace, job: &dyn Job) -> Result<Outcome> {
    let mut folder = RunFolder::new(&place.path);
    let mut tell = |text: &str| tell_line!("{}: {text}", place.path.display());
    let lacks = || -> Option<&'static str> {
        job.outputs()
            .into_iter()
            .find(|output| !place.path.join(output).is_dir())
    };
    let finished = folder.finished(&place.config, &place.manifest, &mut tell)?;
    if let (Some(result), None) = (&finished, lacks()) {
        tell("complete, not run again (`--fresh` trains it anew, beside this one)");
        tell_left_out(result, &mut tell);
        let result = result.clone();
        return Ok(Outcome::Complete(Box::new(CompleteRun { result, folder })));
    }
    if let Some(signal) = cli.interrupt.requested() {
        return Err(stopped_before(signal));
    }
    if !alone::trains_here(cli) && folder.divergence().is_none() {
        return alone::make(cli, place, folder);
    }
    folder.lock()?;
    let checkpoints = checkpoints(cli, &folder);
    // Another process may have completed it in the meantime.
    let finished = folder.finished(&place.config, &place.manifest, &mut |_| {})?;
    if let Some(result) = finished {
        if let Some(output) = lacks() {
            require_weights(&place.path, &checkpoints, &result, output)?;
            tell(&format!(
                "complete; its {output} is made from the weights of step {}",
                result.weights_step
            ));
            job.write_outputs(&place.path, &checkpoints, &result)?;
        }
        return Ok(Outcome::Complete(Box::new(CompleteRun { result, folder })));
    }
    if let Some(Divergence { message, .. }) = folder.divergence() {
        tell(&format!(
            "diverged before, not run again (`--fresh` trains it anew): {message}"
        ));
        let is_new = false;
        return Ok(Outcome::Diverged { message, is_new });
    }
    let done = begin(place, &mut folder, &checkpoints, &mut tell)?;
    for difference in folder.begin_session(done, &environment(cli))? {
        tell(&format!(
            "warning: not made by what made it so far ({difference}), so its last digits may differ from an undisturbed run's"
        ));
    }
    match job.train(&mut folder, &checkpoints) {
        Ok(result) => {
            folder.finish(&result)?;
            if result.skipped > 0 {
                tell(&format!(
                    "warning: batches were skipped {} times, their numbers not being finite: its metrics.jsonl says which",
                    result.skipped
                ));
            }
            tell_left_out(&result, &mut tell);
            match cli.keep_weights {
                Keep::Last => checkpoints.clear_but(result.weights_step)?,
                Keep::None => checkpoints.clear()?,
            }
            Ok(Outcome::Complete(Box::new(CompleteRun { result, folder })))
        }
        Err(error) if is_divergence(&error) => Ok(Outcome::Diverged {
            message: causes::told(&error),
            is_new: true,
        }),
        Err(error) => Err(error),
    }
}

/// Tells how many documents a complete run has not seen, since they are broken.
fn tell_left_out(result: &RunResult, tell: &mut dyn FnMut(&str)) {
    if !result.left_out.is_nothing() {
        tell(&format!(
            "warning: {} left out, being broken (`--bad-documents skip`): the report says so",
            result.left_out
        ));
    }
}

/// Begins the run or takes it up: from its own newest whole checkpoint, or from the end of a shorter run. Gives the steps
/// that are done.
fn begin(
    place: &RunPlace,
    folder: &mut RunFolder,
    checkpoints: &Checkpoints,
    tell: &mut dyn FnMut(&str),
) -> Result<u64> {
    let (config, manifest) = (&place.config, &place.manifest);
    if let Some(step) = checkpoints.newest_whole(tell)? {
        tell(&format!("going on after step {step}"));
        folder.resume(config, manifest, step, tell)?;
        return Ok(step);
    }
    folder.start(config, manifest)?;
    let Some((shorter, steps)) = &place.extends else {
        return Ok(0);
    };
    let metrics = "metrics.jsonl";
    std::fs::copy(shorter.join(metrics), place.path.join(metrics))?;
    checkpoints.adopt(shorter, *steps)?;
    tell(&format!(
        "going on after step {steps}, the end of {}{}",
        shorter.display(),
        if place.is_extended() {
            "; from here on at the learning rates of the longer schedule, so not as a run of this length from the start"
        } else {
            ", whose learning rates are the same"
        }
    ));
    folder.resume(config, manifest, *steps, tell)?;
    Ok(*steps)
}

/// The checkpoints of a run as the command line wants them.
fn checkpoints(cli: &Cli, folder: &RunFolder) -> Checkpoints {
    let minutes = cli.checkpoint_minutes;
    Checkpoints::new(folder.path(), cli.checkpoint_every)
        .and_every((minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes)))
        .keeping(cli.keep_checkpoints)
        .with_the_last(true)
        .stopping_on(cli.interrupt.clone())
}

/// Makes the folder `path` whole or not at all: `write` fills one beside it, which then takes its name.
///
/// # Errors
/// What `write` fails with, or when a folder cannot be made or renamed.
pub fn write_whole(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".unfinished-{name}"));
    let remove = |folder: &Path| match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let making = || format!("making {}", path.display());
    remove(&unfinished)
        .and_then(|()| std::fs::create_dir_all(&unfinished))
        .with_context(making)?;
    if let Err(error) = write(&unfinished) {
        // Half of it is of no use, and may be what fills the disk; the first error is the one to tell.
        let _ = remove(&unfinished);
        let kept = match Checkpoints::new(folder, 0).newest() {
            Some(_) => " (the newest checkpoint is kept, and the same line goes on from it)",
            None => "",
        };
        return Err(error.context(making() + kept));
    }
    remove(path)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .and_then(|()| sync_folder(folder))
        .with_context(making)
}

/// Refuses to make what needs weights that are gone.
fn require_weights(path: &Path, checkpoints: &Checkpoints, result: &RunResult, output: &str) -> Result<()> {
    if checkpoints.has(result.weights_step) {
        return Ok(checkpoints.verify(result.weights_step)?);
    }
    bail!(
        "{} is missing, and the weights of this complete run were not kept (`--keep-weights none`, or the disk was full): \
         `--fresh` trains it anew, beside this one",
        path.join(output).display()
    )
}

/// The error of a command that was asked to stop before its next run.
fn stopped_before(signal: i32) -> anyhow::Error {
    TrainError::Interrupted {
        signal,
        step: 0,
        saved: Some(0),
    }
    .into()
}

fn is_divergence(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<TrainError>()
        .is_some_and(TrainError::is_divergence)
}

/// Tells the run's folder and the terminal.
#[derive(Debug)]
pub struct FolderAndTerminal<'a> {
    /// Keeps every record.
    pub folder: &'a mut RunFolder,
    /// Shows some.
    pub progress: Progress,
}

impl RunObserver for FolderAndTerminal<'_> {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.folder.record(record)?;
        self.progress.record(record)
    }

    fn diverged(&mut self, divergence: &Divergence) -> Result<(), TrainError> {
        self.folder.diverged(divergence)
    }

    fn warn(&mut self, message: &str) {
        self.progress.warn(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_told_as_kept_where_there_is_one() {
        let run = tempfile::tempdir().unwrap();
        let model = run.path().join("model");
        let told = || write_whole(&model, |_| bail!("no room")).unwrap_err().to_string();
        assert_eq!(told(), format!("making {}", model.display()));
        std::fs::create_dir_all(run.path().join("checkpoints/step-4")).unwrap();
        assert!(
            told().contains("model (the newest checkpoint is kept"),
            "{}",
            told()
        );
        assert!(!model.exists() && !run.path().join(".unfinished-model").exists());
    }
}
