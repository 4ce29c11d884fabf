//! What the GLUE experiment will run: tasks, checkpoint, tokenizer, methods and settings, by scale.
use super::checkpoint::{Checkpoint, pair_encoder};
use super::methods::{default_learning_rate, methods};
use super::rows::{open, source, tasks};
use super::{Settings, Source, TaskPlan};
use crate::cli::RowOrder;
use crate::{Cli, Scale, backward_choice};
use anyhow::{Context, Result, bail};
use blockllm_data::Tokenizer;
use blockllm_data::glue::{EpochConfig, GlueData, GlueTask, PairEncoder};
use blockllm_train::{Method, Schedule, ScheduleKind, TrainConfig};

/// Vocabulary of the tokenizer that is trained where no checkpoint brings one.
const VOCAB_SIZE: usize = 2048;
/// How many times longer a model from random weights is trained: it has more to learn, and is small.
const FROM_SCRATCH: u64 = 4;

/// Everything that all runs share.
#[derive(Debug)]
pub struct Plan {
    /// The scale's settings, after the command line.
    pub settings: Settings,
    /// Where the rows are from.
    pub source: Source,
    /// What is fine-tuned.
    pub checkpoint: Checkpoint,
    /// Of the checkpoint's files, if there are any.
    pub checkpoint_sha256: Option<String>,
    /// Text to token ids.
    pub encoder: PairEncoder,
    /// The tasks, in GLUE's order.
    pub tasks: Vec<TaskPlan>,
    /// The methods.
    pub methods: Vec<Method>,
}

impl Plan {
    /// Finds data, checkpoint and tokenizer, and encodes all rows.
    ///
    /// # Errors
    /// When there is no data where it should be, or checkpoint and tokenizer do not fit.
    pub fn new(cli: &Cli) -> Result<Self> {
        let mut settings = Settings::of(cli.scale).overridden(cli)?;
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
        if cli.predict_test {
            check_test_files(&source, &data)?;
        }
        let trained_here = match &cli.model_dir {
            Some(_) => None,
            None => Some(train_tokenizer(cli, &data)?),
        };
        if cli.model_dir.is_none() && cli.epochs.is_none() {
            settings.epochs *= FROM_SCRATCH;
        }
        let vocab_size = trained_here.as_ref().map_or(0, Tokenizer::vocab_size);
        let checkpoint = Checkpoint::find(cli.model_dir.as_deref(), vocab_size)?;
        settings.max_length = settings.max_length.min(checkpoint.max_length());
        let encoder = match (trained_here, &cli.model_dir) {
            (None, Some(dir)) => pair_encoder(dir, cli.tokenizer.as_deref(), settings.max_length)?,
            (tokenizer, _) => {
                PairEncoder::new(tokenizer.context("a tokenizer was trained")?, settings.max_length)?
            }
        };
        let encoder = checkpoint.fit(encoder)?;
        let tasks = data
            .into_iter()
            .map(|(data, available)| TaskPlan::new(data, available, &encoder))
            .collect::<Result<Vec<_>>>()?;
        if cli.save_model && matches!(checkpoint, Checkpoint::Llama(..)) {
            check_padding_can_be_told(&encoder, &tasks)?;
        }
        Ok(Self {
            methods: methods(cli, &settings)?,
            settings,
            source,
            checkpoint_sha256: checkpoint.sha256()?,
            checkpoint,
            encoder,
            tasks,
        })
    }

    /// Rows of a task's micro-batch, and tokens of its longest row.
    pub fn largest_batch(&self, task: GlueTask) -> [usize; 2] {
        let of_task = self.tasks.iter().find(|plan| plan.data.task == task);
        let rows = of_task.into_iter().flat_map(|plan| plan.train.iter());
        let longest = rows.map(|row| row.input_ids.len()).max().unwrap_or(1);
        [self.settings.micro_batch_of(task), longest]
    }

    /// How batches are made for a seed.
    pub fn epochs(&self, task: GlueTask, seed: u64) -> EpochConfig {
        EpochConfig {
            batch_size: self.settings.micro_batch_of(task),
            shuffle: self.settings.order == RowOrder::Shuffled,
            bucketing: self.settings.order == RowOrder::Shuffled,
            seed,
            pad_id: self.encoder.pad_id(),
        }
    }

    /// How a method is trained on a task for a seed, with `batches` micro-batches a training epoch. A step that an epoch
    /// does not fill goes on with the next one's rows.
    ///
    /// # Errors
    /// When the method does not fit the model.
    pub fn train_config(
        &self,
        cli: &Cli,
        task: GlueTask,
        method: &Method,
        batches: u64,
        seed: u64,
    ) -> Result<TrainConfig> {
        let per_epoch = batches.div_ceil(cli.grad_accum_steps).max(1);
        let pretrained = !matches!(self.checkpoint, Checkpoint::Scratch(_));
        let all = (self.settings.epochs * batches)
            .div_ceil(cli.grad_accum_steps)
            .max(1);
        let config = TrainConfig {
            steps: self.settings.steps.map_or(all, |steps| steps.min(all)),
            grad_accum_steps: self.settings.grad_accum_steps,
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
            bad_steps: cli.bad_steps,
            seed,
            ..TrainConfig::default()
        };
        let model = self.checkpoint.shape();
        let sizes = [self.settings.batch_size, self.settings.max_length];
        let backward = backward_choice::of_run(cli, &model, method, &config, sizes)?;
        Ok(TrainConfig { backward, ..config })
    }

    /// Which rows scores are of, in words.
    pub fn judged(&self) -> &'static str {
        let is_cut = |task: &TaskPlan| task.data.validation.len() < task.available[1];
        if self.tasks.iter().any(is_cut) {
            "THE FIRST PART of the validation rows"
        } else {
            "the validation rows"
        }
    }

    /// What every caption says where the rows are not GLUE's.
    pub fn mark(&self) -> &'static str {
        match self.source {
            Source::Files(_) => "",
            Source::Generated => " (generated stand-in, not GLUE)",
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
            "glue: {}; {source}; tasks {}; {}, at most {} tokens; {} methods",
            self.checkpoint.describe(),
            tasks.join(", "),
            self.settings.describe(),
            self.settings.max_length,
            self.methods.len(),
        )
    }
}

/// Refuses to save a Llama whose padding is the token that its texts end with: transformers would take the token before it
/// for the last one, and so another answer than was trained.
fn check_padding_can_be_told(encoder: &PairEncoder, tasks: &[TaskPlan]) -> Result<()> {
    let pad_id = encoder.pad_id();
    let ends_with_it = |task: &TaskPlan| {
        let row = task.train.first();
        row.and_then(|row| row.input_ids.last()).copied() == Some(pad_id)
    };
    if tasks.iter().any(ends_with_it) {
        bail!(
            "the tokenizer {} has no padding token of its own and ends texts with the one that pads, {pad_id}: a saved Llama \
             would be read by transformers one token too early. Add a padding token such as <pad> to its tokenizer.json, or \
             leave out --save-model",
            encoder.tokenizer().label()
        );
    }
    Ok(())
}

/// Reads what is to be predicted, so that a broken test file is told before hours of training.
fn check_test_files(source: &Source, data: &[(GlueData, [usize; 2])]) -> Result<()> {
    for (data, _) in data {
        for mismatched in [false, true] {
            data.test(mismatched)?;
        }
        if data.task == GlueTask::Mnli
            && let Source::Files(folder) = source
            && let Ok(diagnostic) = GlueData::open(folder, GlueTask::Ax)
        {
            diagnostic.test(false)?;
        }
    }
    Ok(())
}

/// A byte-level BPE of the training rows, with separators around sentences.
fn train_tokenizer(cli: &Cli, data: &[(GlueData, [usize; 2])]) -> Result<Tokenizer> {
    if let Some(path) = &cli.tokenizer {
        return Ok(Tokenizer::from_file(path)?);
    }
    let texts = data.iter().flat_map(|(data, _)| &data.train).flat_map(|example| {
        let pair = example.pair.iter().cloned();
        std::iter::once(example.sentence.clone()).chain(pair)
    });
    let tokenizer = Tokenizer::train_byte_level_bpe(texts, VOCAB_SIZE)?;
    Ok(tokenizer.with_separators()?)
}
