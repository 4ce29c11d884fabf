//! How many runs a stage of the ablations has, and roughly how long they take on two CPU cores.
use crate::{Cli, c4, glue};
use blockllm_train::DeviceChoice;

/// Multiplications and additions that two cores make in a second of training: a step of 1,024 tokens of the tiny Llama takes 140 to
/// 170 ms on them.
const PER_SECOND: f64 = 1.5e11;
/// For every parameter and token: forward and backward pass, and the former alone.
const PER_TRAINED: f64 = 6.0;
const PER_EVALUATED: f64 = 2.0;
/// Seconds of a step whatever its tokens.
const OF_A_STEP: f64 = 0.015;

/// The runs of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    runs: u64,
    /// Of all of them; unknown but on the CPU.
    seconds: Option<f64>,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub parameters: f64,
    pub steps: f64,
    /// Tokens that it trains on, and those of all its evaluations.
    pub trained: f64,
    pub evaluated: f64,
}

impl Cost {
    /// Of C4's runs.
    pub fn of_pretraining(cli: &Cli, plan: &c4::Plan) -> Self {
        let parameters = plan.model.num_parameters();
        let mut settings = plan.settings.clone();
        settings.batch_size *= cli.grad_accum_steps as usize;
        Self::new(
            cli,
            plan.methods.len(),
            &[Length::of_pretraining(&settings, parameters)],
        )
    }

    /// Of GLUE's.
    pub fn of_fine_tuning(cli: &Cli, plan: &glue::Plan) -> Self {
        let tasks = plan.tasks.iter();
        let lengths: Vec<_> = tasks.map(|task| Length::of_fine_tuning(plan, task)).collect();
        Self::new(cli, plan.methods.len(), &lengths)
    }

    /// Of `methods` in runs of each of these lengths for every seed.
    fn new(cli: &Cli, methods: usize, lengths: &[Length]) -> Self {
        let each = methods as u64 * cli.seeds().end;
        let seconds: f64 = lengths.iter().map(Length::seconds).sum();
        Self {
            runs: each * lengths.len() as u64,
            seconds: (cli.device == DeviceChoice::Flex).then_some(seconds * each as f64),
        }
    }

    /// In words.
    pub fn told(&self) -> String {
        let runs = match self.runs {
            1 => "1 run".to_owned(),
            runs => format!("{runs} runs"),
        };
        match self.seconds {
            Some(seconds) => format!("{runs}, {} on two CPU cores", about(seconds)),
            None => runs,
        }
    }
}

impl Length {
    /// Of a run of C4 with these settings, the micro-batches of a step taken as one.
    pub fn of_pretraining(settings: &c4::Settings, parameters: u64) -> Self {
        let steps = settings.steps as f64;
        let evaluations = (steps / settings.evaluate_every as f64).ceil() + 1.0;
        Self {
            parameters: parameters as f64,
            steps,
            trained: steps * (settings.batch_size * settings.seq_len) as f64,
            evaluated: evaluations * settings.validation_labels as f64,
        }
    }

    fn of_fine_tuning(plan: &glue::Plan, task: &glue::TaskPlan) -> Self {
        let settings = &plan.settings;
        let tokens: usize = task.train.iter().map(|row| row.input_ids.len()).sum();
        let validation = task.validation.iter().chain(&task.validation_mismatched);
        let validation: usize = validation.map(|batch| batch.input_ids.len()).sum();
        let per_epoch = task.train.len().div_ceil(settings.batch_size).max(1) as f64;
        let all = settings.epochs as f64 * per_epoch;
        let steps = settings.steps.map_or(all, |steps| all.min(steps as f64));
        let epochs = steps / per_epoch;
        Self {
            parameters: plan.checkpoint.shape().num_parameters() as f64,
            steps,
            trained: epochs * tokens as f64,
            evaluated: (epochs.ceil() + 1.0) * validation as f64,
        }
    }

    /// What it takes.
    pub fn seconds(&self) -> f64 {
        let operations = PER_TRAINED * self.trained + PER_EVALUATED * self.evaluated;
        OF_A_STEP * self.steps + operations * self.parameters / PER_SECOND
    }
}

/// A time that nobody should set a clock by.
fn about(seconds: f64) -> String {
    match (seconds / 60.0).ceil() as u64 {
        0 | 1 => "about a minute".into(),
        minutes if minutes < 120 => format!("about {minutes} minutes"),
        minutes => format!("about {} hours", minutes.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn told(words: &str) -> String {
        let cli = Cli::parse_from(
            ["runner", "ablations"]
                .into_iter()
                .chain(words.split_whitespace()),
        );
        let length = Length {
            parameters: 1e6,
            steps: 1000.0,
            trained: 1e6,
            evaluated: 1.5e6,
        };
        Cost::new(&cli, 3, &[length, length]).told()
    }

    #[test]
    fn runs_and_time_grow_with_methods_seeds_and_tasks_and_no_time_is_told_of_a_gpu() {
        // 15 seconds of steps and 60 of products, six times and thirty times.
        assert_eq!(told(""), "6 runs, about 8 minutes on two CPU cores");
        assert_eq!(told("--seeds 5"), "30 runs, about 38 minutes on two CPU cores");
        assert_eq!(told("--device cuda"), "6 runs");
        assert_eq!(about(10.0), "about a minute");
        assert_eq!(about(7300.0), "about 3 hours");
    }
}
