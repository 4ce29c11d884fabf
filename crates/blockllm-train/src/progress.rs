//! The progress of a run on the terminal: a bar where there is one, else a line now and then.
use crate::{Record, RunObserver, TrainError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// Shows loss, tokens per second, memory and trained entries.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    label: String,
    steps: u64,
    lines: bool,
    started: Instant,
    mean_loss: Option<f64>,
}

/// Weight of the newest loss in the shown mean.
const SMOOTHING: f64 = 0.1;

impl Progress {
    /// Progress over `steps` optimizer steps of the run called `label`, on stderr.
    pub fn new(label: &str, steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {msg} ({eta} left)")
            .expect("the template names only indicatif's own fields");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(label.to_owned());
        Self {
            bar,
            label: label.to_owned(),
            steps,
            lines: !terminal,
            started: Instant::now(),
            mean_loss: None,
        }
    }

    fn say(&self, line: &str) {
        if self.lines {
            eprintln!("{}: {line}", self.label);
        } else {
            self.bar.println(format!("{}: {line}", self.label));
        }
    }
}

impl RunObserver for Progress {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        match record {
            Record::Step(step) => {
                let mean = self
                    .mean_loss
                    .map_or(step.loss, |mean| mean + SMOOTHING * (step.loss - mean));
                self.mean_loss = Some(mean);
                let message = format!(
                    "loss {mean:.3}, {:.0} tokens/s, {:.1} MiB, {} trained entries",
                    step.tokens_seen as f64 / self.started.elapsed().as_secs_f64().max(1e-9),
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
            Record::Evaluation(evaluation) => self.say(&format!(
                "step {}: validation perplexity {:.2}",
                evaluation.step, evaluation.evaluation.perplexity
            )),
        }
        Ok(())
    }
}
