//! What the GLUE experiment will run: tasks, checkpoint, tokenizer, methods and settings, by scale.
use super::checkpoint::{Checkpoint, pair_encoder};
use super::methods::{default_learning_rate, methods};
use crate::cli::RowOrder;
use crate::{Cli, Scale};
use anyhow::{Context, Result, bail};
use blockllm_data::Tokenizer;
use blockllm_data::glue::{
    ClassificationBatch, EncodedExample, EpochConfig, GlueData, GlueTask, PairEncoder, evaluation_batches,
};
use blockllm_train::{Method, Schedule, ScheduleKind, TrainConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Vocabulary of the tokenizer that is trained where no checkpoint brings one.
const VOCAB_SIZE: usize = 2048;
/// Rows of a batch in evaluations: they keep no activations.
const EVALUATION_BATCH: usize = 32;
/// How many times longer a model from random weights is trained: it has more to learn, and is small.
const FROM_SCRATCH: u64 = 4;
/// Of the generated stand-in: the same data for every seed of the runs.
const GENERATED_SEED: u64 = 0;

/// What a scale decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The scale.
    pub scale: Scale,
    /// Passes over the training rows.
    pub epochs: u64,
    /// Rows of a batch; `CoLA` has twice as many at the paper's scale.
    pub batch_size: usize,
    /// Tokens of a row, at most.
    pub max_length: usize,
    /// Training rows of a task, at most; 0 takes all.
    pub max_train_rows: usize,
    /// Validation rows of a task, at most; 0 takes all.
    pub max_validation_rows: usize,
    /// `m`: patience, in steps.
    pub patience: usize,
    /// Share of the steps over which the rate rises.
    pub warmup: f64,
    /// Epochs without a better score after which a run stops; 0 never stops it.
    pub stop_after: u64,
    /// The order of the training rows.
    pub order: RowOrder,
}

/// Where the rows are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Files of GLUE below this folder.
    Files(PathBuf),
    /// The generated stand-in.
    Generated,
}

/// Everything that the runs of a task share.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    /// Its rows.
    pub data: GlueData,
    /// The training rows as token ids.
    pub train: Arc<Vec<EncodedExample>>,
    /// The validation rows in batches.
    pub validation: Vec<ClassificationBatch>,
    /// MNLI's mismatched ones.
    pub validation_mismatched: Vec<ClassificationBatch>,
}

/// Everything that all runs share.
#[derive(Debug)]
pub struct Plan {
    /// The scale's settings, after the command line.
    pub settings: Settings,
    /// Where the rows are from.
    pub source: Source,
    /// What is fine-tuned.
    pub checkpoint: Checkpoint,
    /// Text to token ids.
    pub encoder: PairEncoder,
    /// The tasks, in GLUE's order.
    pub tasks: Vec<TaskPlan>,
    /// The methods.
    pub methods: Vec<Method>,
}

impl Settings {
    /// The settings of a scale.
    pub fn of(scale: Scale) -> Self {
        let cpu = Self {
            scale,
            epochs: 3,
            batch_size: 16,
            max_length: 128,
            max_train_rows: 10_000,
            max_validation_rows: 0,
            patience: 50,
            warmup: 0.0,
            stop_after: 0,
            order: RowOrder::Shuffled,
        };
        match scale {
            Scale::Quick => Self {
                epochs: 2,
                max_length: 64,
                max_train_rows: 768,
                max_validation_rows: 192,
                patience: 15,
                ..cpu
            },
            Scale::Cpu => cpu,
            // GaLore, table 4, and BlockLLM's own runs.
            Scale::Paper => Self {
                epochs: 30,
                max_length: 512,
                max_train_rows: 0,
                patience: 100,
                ..cpu
            },
        }
    }

    fn overridden(mut self, cli: &Cli) -> Self {
        self.epochs = cli.epochs.unwrap_or(self.epochs);
        self.patience = cli.patience.map_or(self.patience, |patience| patience as usize);
        self.max_length = cli.max_length.unwrap_or(self.max_length);
        self.stop_after = cli.stop_after;
        self.warmup = cli.warmup;
        self.order = cli.order;
        self.batch_size /= (cli.grad_accum_steps as usize).min(self.batch_size);
        self
    }

    /// Rows of a batch of `task`.
    pub fn batch_size_of(&self, task: GlueTask) -> usize {
        let doubled = self.scale == Scale::Paper && task == GlueTask::Cola;
        self.batch_size * if doubled { 2 } else { 1 }
    }
}

impl Plan {
    /// Finds data, checkpoint and tokenizer, and encodes all rows.
    ///
    /// # Errors
    /// When there is no data where it should be, or checkpoint and tokenizer do not fit.
    pub fn new(cli: &Cli) -> Result<Self> {
        let mut settings = Settings::of(cli.scale).overridden(cli);
        let source = source(cli)?;
        if cli.scale == Scale::Paper && cli.model_dir.is_none() && source != Source::Generated {
            bail!(
                "the paper's scale fine-tunes RoBERTa-base: give its folder, with config.json, model.safetensors and \
                 tokenizer.json, by --model-dir, or choose another --scale for a small model from random weights"
            );
        }
        let data = tasks(cli, &source)?
            .into_iter()
            .map(|task| open(&source, task, &settings))
            .collect::<Result<Vec<_>>>()?;
        let trained_here = match &cli.model_dir {
            Some(_) => None,
            None => Some(train_tokenizer(cli, &data)?),
        };
        if cli.model_dir.is_none() && cli.epochs.is_none() {
            settings.epochs *= FROM_SCRATCH;
        }
        let vocab_size = trained_here.as_ref().map_or(0, Tokenizer::vocab_size);
        let checkpoint = Checkpoint::find(cli.model_dir.as_deref(), vocab_size)?;
        if let Some(longest) = checkpoint.max_length() {
            settings.max_length = settings.max_length.min(longest);
        }
        let encoder = match (trained_here, &cli.model_dir) {
            (None, Some(dir)) => pair_encoder(dir, cli.tokenizer.as_deref(), settings.max_length)?,
            (tokenizer, _) => {
                PairEncoder::new(tokenizer.context("a tokenizer was trained")?, settings.max_length)?
            }
        };
        checkpoint.check_fits(encoder.tokenizer())?;
        let tasks = data
            .into_iter()
            .map(|data| TaskPlan::new(data, &encoder))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            methods: methods(cli, &settings)?,
            settings,
            source,
            checkpoint,
            encoder,
            tasks,
        })
    }

    /// How batches are made for a seed.
    pub fn epochs(&self, task: GlueTask, seed: u64) -> EpochConfig {
        EpochConfig {
            batch_size: self.settings.batch_size_of(task),
            shuffle: self.settings.order == RowOrder::Shuffled,
            bucketing: self.settings.order == RowOrder::Shuffled,
            seed,
            pad_id: self.encoder.pad_id(),
        }
    }

    /// How a method is trained on a task for a seed, with `batches` a training epoch.
    pub fn train_config(
        &self,
        cli: &Cli,
        task: GlueTask,
        method: &Method,
        batches: u64,
        seed: u64,
    ) -> TrainConfig {
        let per_epoch = batches.div_ceil(cli.grad_accum_steps).max(1);
        let pretrained = !matches!(self.checkpoint, Checkpoint::Scratch(_));
        let all = self.settings.epochs * per_epoch;
        TrainConfig {
            steps: cli.steps.map_or(all, |steps| steps.min(all)),
            grad_accum_steps: cli.grad_accum_steps as usize,
            learning_rate: method
                .learning_rate
                .unwrap_or_else(|| default_learning_rate(method, cli.scale, pretrained, task)),
            schedule: Schedule {
                kind: ScheduleKind::Linear,
                warmup: self.settings.warmup,
                final_share: 0.0,
            },
            max_grad_norm: None,
            evaluate_every: per_epoch,
            stop_after: self.settings.stop_after,
            weights: cli.weights,
            seed,
            ..TrainConfig::default()
        }
    }

    /// One line for the terminal and the report.
    pub fn describe(&self) -> String {
        let tasks: Vec<&str> = self.tasks.iter().map(|task| task.data.task.name()).collect();
        let source = match self.source {
            Source::Files(_) => "GLUE's own rows",
            Source::Generated => "a GENERATED stand-in for GLUE, whose figures say nothing about GLUE",
        };
        format!(
            "glue: {}; {source}; tasks {}; {} epochs, batches of {}, at most {} tokens; {} methods",
            self.checkpoint.describe(),
            tasks.join(", "),
            self.settings.epochs,
            self.settings.batch_size,
            self.settings.max_length,
            self.methods.len(),
        )
    }
}

impl TaskPlan {
    fn new(data: GlueData, encoder: &PairEncoder) -> Result<Self> {
        let batches = |rows| -> Result<_> {
            Ok(evaluation_batches(
                &encoder.encode_all(rows)?,
                EVALUATION_BATCH,
                encoder.pad_id(),
            ))
        };
        Ok(Self {
            train: Arc::new(encoder.encode_all(&data.train)?),
            validation: batches(&data.validation)?,
            validation_mismatched: batches(&data.validation_mismatched)?,
            data,
        })
    }

    /// Unlabelled rows in batches, for predictions.
    ///
    /// # Errors
    /// When the tokenizer refuses a text.
    pub fn test_batches(&self, encoder: &PairEncoder, mismatched: bool) -> Result<Vec<ClassificationBatch>> {
        let rows = if mismatched {
            &self.data.test_mismatched
        } else {
            &self.data.test
        };
        Ok(evaluation_batches(
            &encoder.encode_all(rows)?,
            EVALUATION_BATCH,
            encoder.pad_id(),
        ))
    }
}

/// The given folder, or the `glue` folder in it.
fn source(cli: &Cli) -> Result<Source> {
    let Some(dir) = &cli.data else {
        return Ok(Source::Generated);
    };
    let found = [dir.clone(), dir.join("glue"), dir.join("GLUE")]
        .into_iter()
        .find(|dir| !GlueData::available(dir).is_empty());
    found.map(Source::Files).with_context(|| {
        format!(
            "no task of GLUE in {}: expected folders such as MRPC with train.tsv and dev.tsv, or mrpc with the hub's \
             parquet files",
            dir.display()
        )
    })
}

fn tasks(cli: &Cli, source: &Source) -> Result<Vec<GlueTask>> {
    let available = match source {
        Source::Files(dir) => GlueData::available(dir),
        Source::Generated => vec![GlueTask::Mrpc, GlueTask::StsB],
    };
    if !cli.tasks.is_empty() {
        return cli
            .tasks
            .iter()
            .map(|name| Ok(GlueTask::from_name(name)?))
            .inspect(|task| {
                if let Ok(GlueTask::Ax) = task {
                    eprintln!(
                        "note: AX has no training data; it is predicted by a model of MNLI (--predict-test)"
                    );
                }
            })
            .filter(|task| !matches!(task, Ok(GlueTask::Ax)))
            .collect();
    }
    let quick = [GlueTask::Mrpc, GlueTask::StsB];
    let wanted: Vec<_> = available
        .iter()
        .copied()
        .filter(|task| cli.scale != Scale::Quick || quick.contains(task))
        .collect();
    if wanted.is_empty() {
        bail!("none of the quick tasks MRPC and STS-B is there: name others with --tasks");
    }
    Ok(wanted)
}

fn open(source: &Source, task: GlueTask, settings: &Settings) -> Result<GlueData> {
    let mut data = match source {
        Source::Files(dir) => GlueData::open(dir, task)?,
        Source::Generated => GlueData::generated(task, GENERATED_SEED),
    };
    let cut = |rows: &mut Vec<_>, most: usize| {
        if most > 0 {
            rows.truncate(most);
        }
    };
    cut(&mut data.train, settings.max_train_rows);
    cut(&mut data.validation, settings.max_validation_rows);
    cut(&mut data.validation_mismatched, settings.max_validation_rows);
    Ok(data)
}

/// A byte-level BPE of the training rows, with separators around sentences.
fn train_tokenizer(cli: &Cli, data: &[GlueData]) -> Result<Tokenizer> {
    if let Some(path) = &cli.tokenizer {
        return Ok(Tokenizer::from_file(path)?);
    }
    let texts = data.iter().flat_map(|data| &data.train).flat_map(|example| {
        let pair = example.pair.iter().cloned();
        std::iter::once(example.sentence.clone()).chain(pair)
    });
    let tokenizer = Tokenizer::train_byte_level_bpe(texts, VOCAB_SIZE)?;
    Ok(tokenizer.with_separators()?)
}
