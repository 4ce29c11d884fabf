//! The progress of a run on the terminal: a bar where there is one, else a line now and then.
use crate::stderr::stderr_bar;
use crate::tell_line;
use crate::{Evaluation, Record, RunObserver, TrainError};
use indicatif::ProgressBar;

/// Shows loss, tokens per second, memory and trained entries.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    label: String,
    steps: u64,
    lines: bool,
    tokens_seen: Option<u64>,
    tokens_per_second: Option<f64>,
    mean_loss: Option<f64>,
}

/// Weight of the newest value in a shown mean.
const SMOOTHING: f64 = 0.1;

impl Progress {
    /// Progress over `steps` optimizer steps of the run called `label`, on stderr.
    pub fn new(label: &str, steps: u64) -> Self {
        let bar = stderr_bar(label, steps, "{pos}/{len} {msg}");
        Self {
            lines: bar.is_hidden(),
            bar,
            label: label.to_owned(),
            steps,
            tokens_seen: None,
            tokens_per_second: None,
            mean_loss: None,
        }
    }

    fn say(&self, line: &str) {
        if self.lines {
            tell_line!("{}: {line}", self.label);
        } else {
            self.bar.println(format!("{}: {line}", self.label));
        }
    }
}

impl RunObserver for Progress {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        match record {
            Record::Step(step) => {
                let mean = smoothed(self.mean_loss, step.loss);
                self.mean_loss = Some(mean);
                if let Some(before) = self.tokens_seen {
                    let rate =
                        (step.tokens_seen - before) as f64 / ((step.step_ms + step.wait_ms) / 1e3).max(1e-9);
                    self.tokens_per_second = Some(smoothed(self.tokens_per_second, rate));
                }
                self.tokens_seen = Some(step.tokens_seen);
                let message = format!(
                    "loss {mean:.3}, {:.0} tokens/s, {:.1} MiB, {} trained entries",
                    self.tokens_per_second.unwrap_or(0.0),
                    step.memory_bytes as f64 / f64::from(1 << 20),
                    step.trained_entries,
                );
                let tenth = (self.steps / 10).max(1);
                if self.lines && (step.step == 1 || step.step % tenth == 0) {
                    self.say(&format!("step {}/{}: {message}", step.step, self.steps));
                }
                self.bar.set_message(message);
                self.bar.set_position(step.step);
                if step.step == self.steps {
                    self.bar.finish_and_clear();
                }
            }
            Record::Selection(event) => {
                if event.number > 1 {
                    self.bar
                        .set_prefix(format!("{} (selection {})", self.label, event.number));
                }
            }
            Record::Skipped(skipped) => self.say(&format!(
                "step {}: a batch is skipped, loss {}, gradient norm {}",
                skipped.step, skipped.loss, skipped.grad_norm
            )),
            Record::LeftOut(left_out) => self.say(&format!(
                "step {}: bad documents are left out, {} and {} shards so far",
                left_out.step, left_out.documents, left_out.shards
            )),
            Record::Evaluation(evaluation) => self.say(&format!(
                "step {}: validation {}",
                evaluation.step,
                described(&evaluation.evaluation)
            )),
        }
        Ok(())
    }

    fn warn(&mut self, message: &str) {
        self.say(&format!("warning: {message}"));
    }
}

fn described(evaluation: &Evaluation) -> String {
    let metrics = evaluation
        .metrics
        .iter()
        .map(|(name, value)| format!(", {name} {value:.3}"));
    format!("loss {:.4}{}", evaluation.loss, metrics.collect::<String>())
}

fn smoothed(mean: Option<f64>, value: f64) -> f64 {
    mean.map_or(value, |mean| mean + SMOOTHING * (value - mean))
}
