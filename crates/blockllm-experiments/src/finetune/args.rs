//! The command line of `finetune`.
use crate::byte_size::ByteSize;
use crate::cli::{Keep, Scale, methods_help};
use crate::instruct::{Request, Save, Settings};
use crate::{Cli, chat_template, model_path};
use anyhow::Result;
use blockllm_data::instruct::{DataFile, EncodingConfig, LossOn, TooLong};
use blockllm_data::{BadDocuments, Layout};
use blockllm_train::{Backward, BadSteps, DeviceChoice, Method, Methods, Schedule, ScheduleKind, WeightType};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// The word that asks for it.
pub const NAME: &str = "finetune";

/// Tokens of a row where nobody says.
const MAX_LENGTH: usize = 512;

const EXAMPLES: &str = "\
Data, told apart by what is in them: Alpaca (instruction, input, output), `messages`, ShareGPT (`conversations`),
prompt / completion, and plain `text`; .json or .jsonl, also with .gz. A file with `valid` or `dev` in its name is evaluated on,
one with `test` is left aside; without one a part of the rows is held out.

Examples:
  finetune --model ~/models/SmolLM2-135M-Instruct --data alpaca.json
      blockllm-sgd at sparsity 0.95, one epoch; the model is in out/instruct/RUN/model at the end
  finetune --model SmolLM2-135M-Instruct.Q8_0.gguf --data chats.jsonl=3 books.jsonl=1 --max-length 1024 --epochs 2
      from a GGUF file, three quarters of the examples from one file and one quarter from the other
  finetune --model ~/models/Llama-2-7b-hf --data alpaca.json --method blockllm:0.95 --weights bf16 --batch 1 --backward layer-wise
      a 7B model in little memory, and with small deltas; `--dry-run` tells first what it will need
  finetune --model DIR --data mine.jsonl --method lora:8@2e-4 --stop-after 3 --evaluate-every 50
      another method at a learning rate of its own, stopped when three evaluations bring nothing
The same line again goes on with what was stopped, and shows what is complete.";

/// Tunes a language model on your own text or instructions, in little memory
#[derive(Parser, Clone, Debug)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct Args {
    /// The model: a Hugging Face folder of Llama's family, a .gguf file, or a repository of the hub as owner/name,
    /// which is downloaded where the cache lacks it; a small model from random weights without it
    #[arg(long, value_name = "DIR|FILE|REPO")]
    pub model: Option<String>,
    /// The data, each file with a weight if you like: PATH or PATH=WEIGHT; a small embedded set without it
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub data: Vec<DataFile>,
    /// What trains, as [`Method::parse`] reads it; `--help` lists the names
    #[arg(
        long,
        help = methods_help("What trains", &Methods::built_in()),
        default_value = "blockllm-sgd:0.95",
        value_parser = Method::parse
    )]
    pub method: Method,
    /// The folder for the model, its records and the report
    #[arg(long, default_value = "out", value_name = "DIR")]
    pub out: PathBuf,
    /// Where to train: flex, wgpu or cuda, as far as they are built in, or auto for the best that is here
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Passes over the training examples
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// Optimizer steps, instead of epochs
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Rows of an optimizer step
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Micro-batches that a step's rows are split into
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub grad_accum_steps: u64,
    /// Tokens of a row: 512, or as many as the model has positions, without it
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// What becomes of a longer example
    #[arg(long, value_enum, default_value_t = Long::Cut)]
    pub too_long: Long,
    /// Which tokens are learned
    #[arg(long, value_enum, default_value_t = Loss::Answers)]
    pub loss_on: Loss,
    /// How examples become rows
    #[arg(long, value_enum, default_value_t = Rows::Packed)]
    pub rows: Rows,
    /// A Jinja file, or `alpaca`, instead of the tokenizer's chat template
    #[arg(long, value_name = "FILE|alpaca")]
    pub chat_template: Option<String>,
    /// A tokenizer.json, or a tokenizer file of llama2.c (.bin), instead of the model's
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// How the learning rate goes on after the warmup
    #[arg(long, value_enum, default_value_t = Course::Cosine)]
    pub schedule: Course,
    /// Share of the steps over which it rises
    #[arg(
        long,
        default_value_t = 0.1,
        value_name = "SHARE",
        allow_negative_numbers = true
    )]
    pub warmup: f64,
    /// Steps between evaluations, a tenth of the run without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub evaluate_every: Option<u64>,
    /// Validation rows that are evaluated, evenly spaced over all; all of them without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub validation_rows: Option<u64>,
    /// Evaluations without a better one after which it stops; 0 never stops it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub stop_after: u64,
    /// Steps without a falling loss before blocks are selected again
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub patience: u64,
    /// In what the weights are kept and saved: f32, or bf16 with f32 copies of what is being trained
    #[arg(long, default_value = "f32", value_name = "f32|bf16")]
    pub weights: WeightType,
    /// How the backward pass goes: whole; layer-wise, in less memory; auto takes the second where the first would not fit
    #[arg(long, default_value = "auto", value_name = "auto|whole|layer-wise")]
    pub backward: Backward,
    /// The memory that `--backward auto` may count on, such as 16GB, instead of the device's
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<ByteSize>,
    /// What becomes of an example that cannot be read: stop, naming file and place; or skip, which leaves it out and counts it
    #[arg(long, default_value = "stop", value_name = "stop|skip")]
    pub bad_documents: BadDocuments,
    /// What becomes of a step whose loss is not a number
    #[arg(long, default_value = "stop", value_name = "stop|skip")]
    pub bad_steps: BadSteps,
    /// Seed of the order of examples and of what a method draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What is kept of the model beside its records
    #[arg(long, value_enum, default_value_t = Save::Model)]
    pub save: Save,
    /// Steps between checkpoints; 0 makes none by steps
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub checkpoint_every: u64,
    /// Train anew, in a folder of its own beside the other
    #[arg(long)]
    pub fresh: bool,
    /// Go on from the end of a complete run that differs in --steps or --epochs only
    #[arg(long, conflicts_with = "fresh")]
    pub extend: bool,
    /// Show what would be run, with the memory that it will need; trains nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make the run of this folder: how it starts itself on a GPU
    #[arg(long, hide = true, value_name = "DIR")]
    pub alone: Option<PathBuf>,
}

/// What becomes of an example that is longer than a row.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Long {
    /// Its beginning is kept
    Cut,
    /// It is left out
    Drop,
}

/// Which tokens the loss counts.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What the assistant says, in all its turns
    Answers,
    /// Every token
    All,
}

/// How examples become rows.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Several in a row, none of which sees another
    Packed,
    /// One in a row
    Padded,
}

/// The course of the learning rate.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Half a cosine down to 0
    Cosine,
    /// A line down to 0
    Linear,
    /// The peak to the end
    Constant,
}

impl Args {
    /// What is asked for, to be tuned.
    ///
    /// # Errors
    /// When settings do not fit together, or the model or the template is not there.
    pub fn request(&self) -> Result<Request> {
        let settings = self.settings();
        settings.check()?;
        Ok(Request {
            files: self.data.clone(),
            model: self.model.as_deref().map(model_path::find).transpose()?,
            template: self
                .chat_template
                .as_deref()
                .map(chat_template::named)
                .transpose()?,
            settings,
            is_given_length: self.max_length.is_some(),
            save: self.save,
        })
    }

    fn settings(&self) -> Settings {
        Settings {
            scale: Scale::Cpu,
            batch_size: self.batch as usize,
            grad_accum_steps: self.grad_accum_steps as usize,
            encoding: EncodingConfig {
                max_tokens: self.max_length.unwrap_or(MAX_LENGTH),
                too_long: match self.too_long {
                    Long::Cut => TooLong::Cut,
                    Long::Drop => TooLong::Drop,
                },
                loss_on: match self.loss_on {
                    Loss::Answers => LossOn::Answers,
                    Loss::All => LossOn::All,
                },
            },
            layout: match self.rows {
                Rows::Packed => Layout::Packed,
                Rows::Padded => Layout::TruncateAndPad,
            },
            epochs: self.epochs,
            steps: self.steps,
            evaluate_every: self.evaluate_every,
            validation_rows: self.validation_rows.map(|rows| rows as usize),
            patience: self.patience as usize,
            schedule: Schedule {
                kind: match self.schedule {
                    Course::Cosine => ScheduleKind::Cosine,
                    Course::Linear => ScheduleKind::Linear,
                    Course::Constant => ScheduleKind::Constant,
                },
                warmup: self.warmup,
                final_share: 0.0,
            },
            stop_after: self.stop_after,
            seed: self.seed,
        }
    }

    /// What every experiment's command line has, for one method and one seed.
    pub fn cli(&self) -> Cli {
        let plain = Cli::try_read([NAME, "instruct"], vec!["instruct"], &Methods::built_in());
        Cli {
            scale: Scale::Cpu,
            device: self.device,
            methods: vec![self.method.clone()],
            seeds: Some(1),
            out: self.out.clone(),
            tokenizer: self.tokenizer.clone(),
            patience: Some(self.patience),
            weights: self.weights,
            backward: self.backward,
            memory: self.memory,
            bad_steps: self.bad_steps,
            bad_documents: self.bad_documents,
            save_model: self.save == Save::Model,
            checkpoint_every: self.checkpoint_every,
            keep_weights: Keep::Last,
            fresh: self.fresh,
            extend: self.extend,
            dry_run: self.dry_run,
            alone: self.alone.clone(),
            ..plain.expect("all options of an experiment have defaults")
        }
    }
}
