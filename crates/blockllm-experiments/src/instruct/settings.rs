//! What a scale of instruction tuning decides: lengths, batches, steps, the course of the rate.
use crate::{Cli, Scale, options};
use anyhow::{Result, bail};
use blockllm_data::Layout;
use blockllm_data::instruct::{EncodingConfig, InstructBatchConfig};
use blockllm_train::{Method, Schedule, ScheduleKind};
use serde::{Deserialize, Serialize};

/// How often a run is evaluated where nothing else is said.
const EVALUATIONS: u64 = 10;

/// What a scale decides, after the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The scale.
    pub scale: Scale,
    /// Rows of an optimizer step.
    pub batch_size: usize,
    /// Micro-batches of a step.
    pub grad_accum_steps: usize,
    /// How examples become tokens: the longest row, what becomes of longer ones, which tokens are learned.
    pub encoding: EncodingConfig,
    /// Several examples a row, or one.
    pub layout: Layout,
    /// Passes over the training examples, where `steps` is not given.
    pub epochs: u64,
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Optimizer steps between evaluations; a tenth of the run without.
    pub evaluate_every: Option<u64>,
    /// Validation rows that are evaluated, evenly spaced over all; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_rows: Option<usize>,
    /// `m`: patience, in steps.
    pub patience: usize,
    /// The course of the learning rate.
    pub schedule: Schedule,
    /// Evaluations without a better one after which a run stops; 0 never stops it.
    pub stop_after: u64,
    /// The first seed.
    pub seed: u64,
}

impl Settings {
    /// The settings of a scale. The paper's are those of the authors' Alpaca runs: one row a step, cosine to 0, warmup 0.1. They
    /// choose blocks again "every 100" steps; here it is as the paper's algorithm has it, once the loss has not fallen over 100.
    pub fn of(scale: Scale) -> Self {
        let paper = Self {
            scale,
            batch_size: 1,
            grad_accum_steps: 1,
            encoding: EncodingConfig::default(),
            layout: Layout::TruncateAndPad,
            epochs: 1,
            steps: None,
            evaluate_every: None,
            validation_rows: None,
            patience: 100,
            schedule: Schedule {
                kind: ScheduleKind::Cosine,
                warmup: 0.1,
                final_share: 0.0,
            },
            stop_after: 0,
            seed: 0,
        };
        let with_length = |max_tokens| EncodingConfig {
            max_tokens,
            ..EncodingConfig::default()
        };
        match scale {
            Scale::Quick => Self {
                batch_size: 8,
                encoding: with_length(128),
                layout: Layout::Packed,
                steps: Some(150),
                patience: 15,
                ..paper
            },
            // For SmolLM2-135M, of which a core does some hundred tokens a second: all validation rows of the embedded set at
            // each tenth of a run would take longer than its training.
            Scale::Cpu => Self {
                encoding: with_length(256),
                layout: Layout::Packed,
                steps: Some(200),
                evaluate_every: Some(50),
                validation_rows: Some(32),
                patience: 20,
                ..paper
            },
            Scale::Paper => paper,
        }
    }

    /// With what the command line says instead.
    ///
    /// # Errors
    /// When a step's rows cannot be split into so many micro-batches.
    pub fn overridden(mut self, cli: &Cli) -> Result<Self> {
        if let Some(epochs) = cli.epochs {
            self.epochs = epochs;
            self.steps = None;
        }
        self.steps = cli.steps.or(self.steps);
        self.patience = cli.patience.map_or(self.patience, |patience| patience as usize);
        self.encoding.max_tokens = cli.max_length.unwrap_or(self.encoding.max_tokens);
        self.schedule.warmup = cli.warmup.unwrap_or(self.schedule.warmup);
        self.stop_after = cli.stop_after;
        self.grad_accum_steps = cli.grad_accum_steps as usize;
        self.check()?;
        Ok(self)
    }

    /// # Errors
    /// When a step's rows cannot be split into so many micro-batches, or a row is too short to learn from.
    pub fn check(&self) -> Result<()> {
        options::check_micro_batches(self.batch_size, self.grad_accum_steps)?;
        if !(0.0..=1.0).contains(&self.schedule.warmup) {
            bail!(
                "--warmup {} is no share of the steps: use one from 0 to 1",
                self.schedule.warmup
            );
        }
        if self.encoding.max_tokens < 2 {
            bail!(
                "--max-length {} leaves nothing to predict: use 2 or more",
                self.encoding.max_tokens
            );
        }
        Ok(())
    }

    /// The learning rate of `method` where its name has none: at the paper's scale that of the authors' runs, if they had one.
    pub fn rate(&self, method: &Method, is_pretrained: bool) -> f64 {
        let rates = method.algorithm.learning_rates();
        match (self.scale, is_pretrained) {
            (Scale::Paper, _) => rates.published_instructions.unwrap_or(rates.language_models),
            (_, true) => rates.language_models,
            (_, false) => rates.pretraining,
        }
    }

    /// The course of the rate in words; at the paper's scale also of which of `methods` the peak is published.
    pub fn describe_rate(&self, methods: &[Method]) -> String {
        let Schedule {
            kind,
            warmup,
            final_share,
        } = self.schedule;
        let (warmup, last) = (100.0 * warmup, 100.0 * final_share);
        let course = format!("{warmup:.0} % warmup, then {kind:?} to {last:.0} % of the peak").to_lowercase();
        if self.scale != Scale::Paper {
            return course;
        }
        let is_published = |method: &&Method| {
            let rates = method.algorithm.learning_rates();
            method.learning_rate.is_none() && rates.published_instructions.is_some()
        };
        let published: Vec<&str> = methods
            .iter()
            .filter(is_published)
            .map(|method| method.label.as_str())
            .collect();
        if published.is_empty() {
            return format!("{course}; none of the peaks is published");
        }
        let published = published.join(", ");
        format!("{course}; the peak of {published} is published, those of other methods are ours")
    }

    /// Rows of a micro-batch, and tokens of a row.
    pub fn micro_batch(&self) -> [usize; 2] {
        [self.batch_size / self.grad_accum_steps, self.encoding.max_tokens]
    }

    /// How batches are made for a seed.
    pub fn batches(&self, seed: u64) -> InstructBatchConfig {
        InstructBatchConfig {
            batch_size: self.micro_batch()[0],
            layout: self.layout,
            seed,
        }
    }

    /// The optimizer steps of a run over data that fill `rows` rows.
    pub fn steps_over(&self, rows: usize) -> u64 {
        let epoch = rows.div_ceil(self.batch_size) as u64;
        self.steps
            .unwrap_or_else(|| self.epochs.saturating_mul(epoch))
            .max(1)
    }

    /// Optimizer steps between the evaluations of a run of so many steps.
    pub fn evaluate_every(&self, steps: u64) -> u64 {
        self.evaluate_every.unwrap_or_else(|| steps.div_ceil(EVALUATIONS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(words: &str) -> Result<Settings> {
        let words = ["runner", "instruct"].into_iter().chain(words.split_whitespace());
        Settings::of(Scale::Quick).overridden(&Cli::parse_from(words))
    }

    #[test]
    fn epochs_are_steps_over_the_rows_and_steps_come_first() {
        let steps = |words| settings(words).unwrap().steps_over(100);
        assert_eq!([steps(""), steps("--epochs 2"), steps("--steps 7")], [150, 26, 7]);
        assert_eq!(settings("--epochs 2").unwrap().evaluate_every(26), 3);
    }

    #[test]
    fn the_paper_s_scale_is_the_authors_alpaca_run() {
        let paper = Settings::of(Scale::Paper);
        let rate = |name: &str| paper.rate(&Method::parse(name).unwrap(), true).to_bits();
        assert_eq!(rate("blockllm:0.95"), 1e-5_f64.to_bits());
        // Not published: our own defaults of language models.
        assert_eq!(rate("adamw"), 5e-5_f64.to_bits());
        assert_eq!(rate("lora:8"), 3e-4_f64.to_bits());
        assert_eq!(paper.schedule.kind, ScheduleKind::Cosine);
        assert_eq!(paper.schedule.warmup.to_bits(), 0.1_f64.to_bits());
        assert_eq!((paper.patience, paper.batch_size, paper.epochs), (100, 1, 1));
    }

    #[test]
    fn whose_peak_is_published_is_told_at_the_paper_s_scale() {
        let methods = ["adamw", "blockllm:0.95"].map(|name| Method::parse(name).unwrap());
        let course = "10 % warmup, then cosine to 0 % of the peak";
        assert_eq!(Settings::of(Scale::Quick).describe_rate(&methods), course);
        let paper = Settings::of(Scale::Paper);
        let told = paper.describe_rate(&methods);
        assert!(told.starts_with(course), "{told}");
        assert!(told.contains("the peak of blockllm:0.95 is published"), "{told}");
        assert!(told.contains("those of other methods are ours"), "{told}");
        let given = [Method::parse("blockllm:0.95@1e-4").unwrap()];
        let told = paper.describe_rate(&given);
        assert!(told.ends_with("none of the peaks is published"), "{told}");
    }

    #[test]
    fn what_does_not_divide_or_leaves_nothing_is_refused_with_what_to_do() {
        let message = settings("--grad-accum-steps 3").unwrap_err().to_string();
        assert!(message.contains("use one of 1, 2, 4, 8"), "{message}");
        let message = settings("--warmup 2").unwrap_err().to_string();
        assert!(message.contains("--warmup 2 is no share"), "{message}");
        let message = settings("--max-length 1").unwrap_err().to_string();
        assert!(message.contains("use 2 or more"), "{message}");
    }
}
