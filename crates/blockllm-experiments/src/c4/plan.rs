//! What the C4 experiment will run: corpus, tokenizer, model and training settings, by scale.
use super::published::{default_methods, departures, published};
use crate::{Cli, Scale, backward_choice, options, workspace_dir};
use anyhow::{Context, Result};
use blockllm_data::corpus::HOLD_OUT_ONE_IN;
use blockllm_data::manifest::ValidationSplit;
use blockllm_data::{
    Corpus, DataManifest, Layout, LoaderConfig, ReadingConfig, Tokenizer, ValidationSet, validation_set,
};
use blockllm_model::llama::LlamaConfig;
use blockllm_train::memory::ModelShape;
use blockllm_train::tell_line;
use blockllm_train::{LanguageModeling, Method, Schedule, TrainConfig, WeightType};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Text that a tokenizer is trained on, at most.
const TOKENIZER_BYTES: u64 = 64 << 20;

/// Ids of t5-base's tokenizer, its 100 sentinels included.
const T5_IDS: usize = 32_100;
/// Embeddings that a tokenizer may ask for: a stray id of billions is a broken file.
const MOST_EMBEDDINGS: usize = 1 << 20;

/// What a scale decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The scale.
    pub scale: Scale,
    /// Preset of the model.
    pub model: String,
    /// Vocabulary of the tokenizer that is trained when none is given.
    pub vocab_size: usize,
    /// Rows of a micro-batch.
    pub batch_size: usize,
    /// Tokens of a row.
    pub seq_len: usize,
    /// How documents become rows.
    pub layout: Layout,
    /// Optimizer steps.
    pub steps: u64,
    /// Labels that an evaluation counts, at most.
    pub validation_labels: usize,
    /// Optimizer steps between evaluations.
    pub evaluate_every: u64,
    /// `m`: patience, in steps.
    pub patience: usize,
}

/// Everything that all runs share.
#[derive(Debug)]
pub struct Plan {
    /// The scale's settings, after the command line.
    pub settings: Settings,
    /// The text.
    pub corpus: Corpus,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The model's shape.
    pub model: LlamaConfig,
    /// What pins the data.
    pub manifest: DataManifest,
    /// The methods, each with its own learning rate.
    pub methods: Vec<Method>,
    /// In what the weights are kept.
    pub weights: WeightType,
    /// What a user should know before it begins.
    pub notes: Vec<String>,
    /// What the runs are evaluated on; empty until it is read.
    pub validation: ValidationSet,
}

impl Settings {
    /// The settings of a scale.
    pub fn of(scale: Scale) -> Self {
        match scale {
            Scale::Quick => Self {
                scale,
                model: "tiny".into(),
                vocab_size: 2048,
                batch_size: 8,
                seq_len: 128,
                layout: Layout::Packed,
                steps: 400,
                validation_labels: 32_768,
                evaluate_every: 100,
                patience: 40,
            },
            Scale::Cpu => Self {
                scale,
                model: "tiny".into(),
                vocab_size: 4096,
                batch_size: 8,
                seq_len: 256,
                layout: Layout::Packed,
                steps: 3000,
                validation_labels: 65_536,
                evaluate_every: 500,
                patience: 50,
            },
            // GaLore, table 2: 512 rows of 256 tokens, truncated and padded; 10 % warmup, cosine to 10 %.
            Scale::Paper => Self {
                scale,
                model: "60m".into(),
                vocab_size: 32_000,
                batch_size: 512,
                seq_len: 256,
                layout: Layout::TruncateAndPad,
                steps: 10_000,
                validation_labels: 10_000_000,
                evaluate_every: 1000,
                patience: 100,
            },
        }
    }

    fn overridden(mut self, cli: &Cli) -> Result<Self> {
        self.model = cli.model.clone().unwrap_or(self.model);
        if let (Scale::Paper, Some(setup)) = (cli.scale, published(&self.model)) {
            self.steps = setup.steps;
        }
        self.steps = cli.steps.unwrap_or(self.steps);
        self.patience = cli.patience.map_or(self.patience, |patience| patience as usize);
        let micro_batches = cli.grad_accum_steps as usize;
        options::check_micro_batches(self.batch_size, micro_batches)?;
        self.batch_size /= micro_batches;
        Ok(self)
    }
}

impl Plan {
    /// Opens the corpus, finds or trains the tokenizer, and fits the model to it.
    ///
    /// # Errors
    /// When there is no data where it should be, or tokenizer and model do not fit.
    pub fn new(cli: &Cli) -> Result<Self> {
        Self::with_settings(cli, Settings::of(cli.scale))
    }

    /// [`new`](Self::new) with other settings than the scale's, which the command line overrides too.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_settings(cli: &Cli, settings: Settings) -> Result<Self> {
        let settings = settings.overridden(cli)?;
        // An unknown model is told before the corpus is read.
        let preset = LlamaConfig::preset(&settings.model)?;
        // No part of what a run is known by: documents in order give the same batches either way, and a run that has met a
        // bad one can go on with the other answer.
        let reading = ReadingConfig {
            bad_documents: cli.bad_documents,
            ..ReadingConfig::default()
        };
        let corpus = Corpus::open(cli.data.as_deref(), workspace_dir::find())?.with_reading(reading);
        super::data::remember(&corpus, &cli.out)?;
        let tokenizer = match &cli.tokenizer {
            Some(path) => Tokenizer::from_file(path)?.fitted(MOST_EMBEDDINGS)?,
            None => corpus.train_tokenizer(settings.vocab_size, TOKENIZER_BYTES)?,
        };
        // The small model takes the tokenizer's vocabulary, one of a published size at least that: t5-base's sentinels are
        // above the 32,000 rows of the published models, and nobody can promise that no text has one.
        let least = if settings.model == "tiny" {
            0
        } else {
            preset.vocab_size
        };
        let vocab_size = tokenizer.vocab_size().max(least);
        let positions = preset.max_position_embeddings.max(settings.seq_len);
        let model = preset
            .with_vocab_size(vocab_size)
            .with_max_position_embeddings(positions);
        // What a saved folder says of its special tokens is what the tokenizer says.
        let model = LlamaConfig {
            bos_token_id: None,
            eos_token_id: tokenizer.eos_id().into_iter().collect(),
            pad_token_id: tokenizer.pad_id(),
            ..model
        };
        model.validate()?;
        let tokenizer = tokenizer.fitted(model.vocab_size)?;
        let weights = match (cli.scale, cli.is_given("weights")) {
            (Scale::Paper, false) => WeightType::Bf16,
            _ => cli.weights,
        };
        let notes = notes(&settings, &tokenizer, weights);
        let manifest = DataManifest::of(&corpus, &tokenizer).context("looking at the training data")?;
        let methods = methods(cli, &settings.model, settings.patience)?;
        Ok(Self {
            settings,
            corpus,
            tokenizer: Arc::new(tokenizer),
            model,
            manifest,
            methods,
            weights,
            notes,
            validation: ValidationSet::default(),
        })
    }

    /// Reads what the runs are evaluated on.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read_validation(&mut self) -> Result<()> {
        let labels = self.settings.validation_labels;
        self.validation = validation_set(&self.corpus, &self.tokenizer, &self.loader(0), labels)?;
        let left_out = &self.validation.left_out;
        if !left_out.is_nothing() {
            tell_line!("warning: {left_out} left out of the validation documents, being broken");
        }
        Ok(())
    }

    /// How batches are made for a seed.
    pub fn loader(&self, seed: u64) -> LoaderConfig {
        LoaderConfig {
            batch_size: self.settings.batch_size,
            seq_len: self.settings.seq_len,
            layout: self.settings.layout,
            seed,
            ..LoaderConfig::default()
        }
    }

    /// How a method is trained for a seed.
    ///
    /// # Errors
    /// When the method does not fit the model.
    pub fn train_config(&self, cli: &Cli, method: &Method, seed: u64) -> Result<TrainConfig> {
        let config = TrainConfig {
            steps: self.settings.steps,
            grad_accum_steps: cli.grad_accum_steps as usize,
            learning_rate: method
                .learning_rate
                .unwrap_or_else(|| method.algorithm.learning_rates().pretraining),
            schedule: self.schedule(cli),
            evaluate_every: self.settings.evaluate_every,
            stop_after: cli.stop_after,
            weights: self.weights,
            bad_steps: cli.bad_steps,
            seed,
            ..TrainConfig::default()
        };
        let model = ModelShape::Llama(self.model.clone());
        let sizes = [self.settings.batch_size, self.settings.seq_len];
        let backward = backward_choice::of_run(cli, &model, method, &config, sizes)?;
        Ok(TrainConfig { backward, ..config })
    }

    /// The course of the learning rate.
    pub fn schedule(&self, cli: &Cli) -> Schedule {
        let default = Schedule::default();
        Schedule {
            warmup: cli.warmup.unwrap_or(default.warmup),
            ..default
        }
    }

    /// What a loss is. Rows as `GaLore`'s runs have them are judged as its code does too.
    pub fn objective(&self) -> LanguageModeling {
        LanguageModeling {
            galore_compat: self.settings.layout == Layout::TruncateAndPad,
            ..LanguageModeling::default()
        }
    }

    /// All that the runs share, by name.
    pub fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        let Settings {
            model,
            steps,
            batch_size,
            seq_len,
            patience,
            ..
        } = &self.settings;
        let rows = batch_size * cli.grad_accum_steps as usize;
        let schedule = self.schedule(cli);
        let held_out = match self.manifest.validation {
            ValidationSplit::Own => "shards of its own".to_owned(),
            ValidationSplit::HeldOutByHash => {
                format!("one document in {HOLD_OUT_ONE_IN}, by a hash of its text")
            }
        };
        let weights = match self.weights {
            WeightType::F32 => "f32",
            WeightType::Bf16 => "bf16, with f32 master copies of what block methods train",
        };
        let layout = match self.settings.layout {
            Layout::Packed => "documents one after the other",
            Layout::TruncateAndPad => "one document each, cut or padded",
        };
        vec![
            (
                "model",
                format!(
                    "Llama `{model}`, {:.2} M parameters, vocabulary {}",
                    self.model.num_parameters() as f64 / 1e6,
                    self.model.vocab_size
                ),
            ),
            ("text", self.corpus.describe().to_owned()),
            (
                "tokenizer",
                format!(
                    "{}, {} ids, SHA-256 {}",
                    self.tokenizer.label(),
                    self.tokenizer.vocab_size(),
                    &self.tokenizer.sha256()[..12]
                ),
            ),
            (
                "a step",
                format!(
                    "{} tokens: {rows} rows of {seq_len} ({layout}), in {} micro-batches",
                    rows * seq_len,
                    cli.grad_accum_steps
                ),
            ),
            ("steps", steps.to_string()),
            (
                "learning rate",
                format!(
                    "{:.0} % warmup, then {:?} to {:.0} % of the peak",
                    100.0 * schedule.warmup,
                    schedule.kind,
                    100.0 * schedule.final_share
                )
                .to_lowercase(),
            ),
            ("patience", patience.to_string()),
            ("weights", weights.to_owned()),
            ("device", cli.device.name().to_owned()),
            (
                "validation",
                format!("{held_out}; at most {} tokens", self.settings.validation_labels),
            ),
        ]
    }

    /// One line for the terminal.
    pub fn describe(&self) -> String {
        let Settings {
            steps,
            batch_size,
            seq_len,
            model,
            ..
        } = &self.settings;
        format!(
            "c4: {}; Llama `{model}` with {:.2} M parameters, vocabulary {}; {steps} steps, micro-batches of {batch_size} x {seq_len} tokens; {} methods",
            self.corpus.describe(),
            self.model.num_parameters() as f64 / 1e6,
            self.model.vocab_size,
            self.methods.len(),
        )
    }
}

/// What of the set-up a user may not expect.
fn notes(settings: &Settings, tokenizer: &Tokenizer, weights: WeightType) -> Vec<String> {
    if settings.scale != Scale::Paper {
        return Vec::new();
    }
    let departures = departures(
        tokenizer.vocab_size() == T5_IDS,
        tokenizer.vocab_size(),
        weights == WeightType::Bf16,
        settings.steps,
        &settings.model,
    );
    departures
        .into_iter()
        .map(|departure| format!("not the published set-up: {departure}"))
        .collect()
}

fn methods(cli: &Cli, model: &str, patience: usize) -> Result<Vec<Method>> {
    let defaults = default_methods(cli.scale, model);
    let defaults: Vec<&str> = defaults.iter().map(AsRef::as_ref).collect();
    options::methods(cli, &defaults, patience)
}
