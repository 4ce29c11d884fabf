//! What the C4 experiment will run: corpus, tokenizer, model and training settings, by scale.
use crate::{Cli, Scale};
use anyhow::{Context, Result};
use blockllm_data::{Corpus, DataManifest, Layout, LoaderConfig, Tokenizer};
use blockllm_model::llama::LlamaConfig;
use blockllm_train::{Algorithm, Method, Schedule, TrainConfig};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Text that a tokenizer is trained on, at most.
const TOKENIZER_BYTES: u64 = 64 << 20;

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

    fn overridden(mut self, cli: &Cli) -> Self {
        self.model = cli.model.clone().unwrap_or(self.model);
        self.steps = cli.steps.unwrap_or(self.steps);
        self.patience = cli.patience.map_or(self.patience, |patience| patience as usize);
        self.batch_size /= (cli.grad_accum_steps as usize).min(self.batch_size);
        self
    }
}

impl Plan {
    /// Opens the corpus, finds or trains the tokenizer, and fits the model to it.
    ///
    /// # Errors
    /// When there is no data where it should be, or tokenizer and model do not fit.
    pub fn new(cli: &Cli) -> Result<Self> {
        let settings = Settings::of(cli.scale).overridden(cli);
        // An unknown model is told before the corpus is read.
        let preset = LlamaConfig::preset(&settings.model)?;
        let corpus = Corpus::open(cli.data.as_deref(), workspace_dir())?;
        super::data::remember(&corpus, &cli.out)?;
        let tokenizer = match &cli.tokenizer {
            Some(path) => {
                let tokenizer = Tokenizer::from_file(path)?;
                // A model of a published size keeps its vocabulary; the small one takes the tokenizer's.
                if settings.model == "tiny" {
                    tokenizer
                } else {
                    tokenizer.fitted(preset.vocab_size)?
                }
            }
            None => corpus.train_tokenizer(settings.vocab_size, TOKENIZER_BYTES)?,
        };
        let vocab_size = if settings.model == "tiny" {
            tokenizer.vocab_size()
        } else {
            preset.vocab_size
        };
        let positions = preset.max_position_embeddings.max(settings.seq_len);
        let model = preset
            .with_vocab_size(vocab_size)
            .with_max_position_embeddings(positions);
        model.validate()?;
        let tokenizer = tokenizer.fitted(model.vocab_size)?;
        let manifest = DataManifest::of(&corpus, &tokenizer).context("looking at the training data")?;
        let methods = methods(cli, settings.patience)?;
        Ok(Self {
            settings,
            corpus,
            tokenizer: Arc::new(tokenizer),
            model,
            manifest,
            methods,
        })
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
    pub fn train_config(&self, cli: &Cli, method: &Method, seed: u64) -> TrainConfig {
        TrainConfig {
            steps: self.settings.steps,
            grad_accum_steps: cli.grad_accum_steps as usize,
            learning_rate: method
                .learning_rate
                .unwrap_or_else(|| default_learning_rate(method)),
            schedule: Schedule::default(),
            evaluate_every: self.settings.evaluate_every,
            weights: cli.weights,
            backward: cli.backward,
            seed,
            ..TrainConfig::default()
        }
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
            "c4: {}; Llama `{model}` with {:.2} M parameters, vocabulary {}; {steps} steps of {batch_size} x {seq_len} tokens; {} methods",
            self.corpus.describe(),
            self.model.num_parameters() as f64 / 1e6,
            self.model.vocab_size,
            self.methods.len(),
        )
    }
}

/// The peak learning rate of a method that names none, from the grids in `docs/experiment-log.md`.
fn default_learning_rate(method: &Method) -> f64 {
    match &method.algorithm {
        Algorithm::Blocks(blocks) if blocks.sparsity >= 0.8 => 3e-3,
        Algorithm::Blocks(_) | Algorithm::Lora(_) => 1e-3,
        Algorithm::GaLore(_) => 1e-2,
    }
}

fn methods(cli: &Cli, patience: usize) -> Result<Vec<Method>> {
    let parse = |text: &str| Method::parse(text).expect("the default methods are well formed");
    let methods = if cli.methods.is_empty() {
        ["adamw", "blockllm:0.5", "blockllm:0.9"].map(parse).to_vec()
    } else {
        cli.methods.clone()
    };
    crate::cli::check_names(&methods)?;
    let set = |method: Method| {
        let mut method = method.with_patience(patience);
        if let Algorithm::Blocks(blocks) = &mut method.algorithm {
            crate::cli::set_blocks(cli, blocks);
        }
        Ok(method.with_own_settings()?)
    };
    methods.into_iter().map(set).collect()
}

/// The workspace that this runner was built from, or else the folder that it was started in: the embedded default reads its
/// locked dependencies.
fn workspace_dir() -> &'static Path {
    let built_from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if built_from.join("Cargo.lock").is_file() {
        built_from
    } else {
        Path::new(".")
    }
}
