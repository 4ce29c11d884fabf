//! The runner's command line.
use crate::byte_size::ByteSize;
use blockllm_data::BadDocuments;
use blockllm_optim::NormKind;
use blockllm_train::{Backward, BadSteps, DeviceChoice, Interrupt, Method, Methods, WeightType};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  blockllm-experiments c4
      AdamW beside BlockLLM on the embedded default text, in minutes; out/index.html lists the reports
  blockllm-experiments c4 --data ../shared/data --methods adamw@1e-3,blockllm:0.9@3e-3 --seeds 3
      your own C4 shards, your own learning rates, mean and spread over three seeds
  blockllm-experiments c4 --methods blockllm:0.95,random:0.95,suboptimal:0.95
      three policies at the same budget; the same line again goes on with what was stopped and shows what is complete
  blockllm-experiments c4 --methods blockllm:0.9,blockllm:0.9+norm=grad,blockllm:0.9+moments=carried-over
      choices that the paper leaves open, beside each other in one table
  blockllm-experiments glue --data ../shared/data --model-dir MiniLM --scale cpu --seeds 3
      a pretrained encoder on every task of GLUE that is there, all methods
  blockllm-experiments ablations --on fine-tuning --data ../shared/data --model-dir MiniLM --ablations sparsity,norm
      what each choice does when a pretrained encoder is fine-tuned; without --on in pretraining, without --data on made-up rows
  blockllm-experiments instruct --model-dir ../shared/data/stories260K
      a Llama that is there, here a folder of llama2.c, tuned by several methods on the embedded instructions, in minutes
  blockllm-experiments plan --model 7b --weights bf16 --memory 16GB
      what a step would need, part by part, without making a model; `plan --help` tells more";

/// What `--help` shows below the options of a program that knows `methods`.
pub(crate) fn after_help(methods: &Methods) -> String {
    format!("{}\n\n{EXAMPLES}", methods.settings_help())
}

/// What `--methods` of an experiment is for.
pub(crate) const COMPARED: &str = "What to compare, with settings that are listed below";

/// What `--help` says of an option that names methods and is for `what`, in a program that knows `methods`.
pub(crate) fn methods_help(what: &str, methods: &Methods) -> String {
    format!(
        "{what}, as `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`: blockllm:0.95 has a sparsity, lora:8@3e-4 a rank and a \
         learning rate, badam:1 a number of layers, adamw@1e-3 no number; the names are {}",
        methods.names().join(", ")
    )
}

/// What stands above it of a program that has `commands` too, by name and what each does.
pub(crate) fn commands_help(commands: &[(&str, &str)]) -> String {
    let rows = commands
        .iter()
        .map(|(name, about)| format!("  {name:<9} {about}"));
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "Commands, in place of an experiment, with options that `NAME --help` tells:\n{}\n\n",
        rows.join("\n")
    )
}

fn norm(text: &str) -> std::result::Result<NormKind, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Runs an experiment of the paper and writes its report.
#[derive(Parser, Clone, Debug)]
#[command(version, after_help = after_help(&Methods::built_in()))]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a switch of the command line is a bool"
)]
pub struct Cli {
    /// The experiment
    pub experiment: String,
    /// How long the runs are
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    pub scale: Scale,
    /// Where to train: flex, wgpu or cuda, as far as they are built in, or auto for the best that is here
    #[arg(long, default_value = "flex")]
    pub device: DeviceChoice,
    /// What to compare, as [`Methods::parse`] reads it; `--help` lists the names
    #[arg(
        long,
        help = methods_help(COMPARED, &Methods::built_in()),
        value_delimiter = ',',
        value_parser = Method::parse,
        value_name = "LIST"
    )]
    pub methods: Vec<Method>,
    /// How many seeds each method is run with [default: 1, at the paper's scale 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: Option<u64>,
    /// A folder with C4 shards (c4-train.*.json.gz) or JSON lines, with files of instructions, one file of which may be named
    /// itself, or with the folders of GLUE's tasks; without it the documentation of the locked dependencies, as text or
    /// as instructions, or a generated stand-in for GLUE
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// The folder for run records and the report
    #[arg(long, default_value = "out", value_name = "DIR")]
    pub out: PathBuf,
    /// Optimizer steps, instead of the scale's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// A preset (tiny, 60m, 130m, 350m, 1b, 7b), instead of the scale's
    #[arg(long)]
    pub model: Option<String>,
    /// A tokenizer.json; a byte-level BPE is trained on the corpus without it
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// The questions to ask (ablations), such as sparsity,inactive; all without it: at the quick scale 85 pretrainings in an
    /// estimated ten minutes on two cores, or 70 fine-tunings; --dry-run tells how many runs a choice of them is, and roughly how
    /// long they take
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub ablations: Vec<String>,
    /// What is trained to answer them (ablations): a language model as in c4, a classifier as in glue, or both
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "pretraining",
        value_name = "LIST"
    )]
    pub on: Vec<Stage>,
    /// What to fine-tune: a Hugging Face folder of BERT, RoBERTa or Llama with its tokenizer.json (glue), one of a Llama, or
    /// a GGUF file (instruct; a tokenizer file of llama2.c will do: ../shared/data/stories260K is tuned in minutes); a small
    /// model from random weights without it
    #[arg(long, value_name = "DIR")]
    pub model_dir: Option<PathBuf>,
    /// The tasks of GLUE, such as MRPC,STS-B; without it all whose data is there (ablations: MRPC)
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub tasks: Vec<String>,
    /// Passes over the training rows (glue), instead of the scale's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Tokens of a text (glue), special tokens included, instead of the scale's
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// Share of the steps over which the learning rate rises [default: c4 0.1, glue 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub warmup: Option<f64>,
    /// Evaluations (with glue epochs) without a better one after which a run stops; 0 never stops it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub stop_after: u64,
    /// In which order rows are trained on (glue)
    #[arg(long, value_enum, default_value_t = RowOrder::Shuffled)]
    pub order: RowOrder,
    /// Write GLUE's submission files for the unlabelled test rows
    #[arg(long)]
    pub predict_test: bool,
    /// Steps without a falling loss before blocks are selected again, or steps between selections, instead of the
    /// scale's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub patience: Option<u64>,
    /// Rank blocks by this norm of their gradients
    #[arg(long, value_parser = norm, default_value = "rms", value_name = "rms|grad|processed")]
    pub norm: NormKind,
    /// How parameters are grouped into blocks
    #[arg(long, value_parser = ["tensor", "module", "decoder-layer"], default_value = "tensor")]
    pub partition: String,
    /// Parameters that are always trained, by parts of their path, such as `lm_head,embed_tokens`
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub always: Vec<String>,
    /// Parameters that are never trained
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub never: Vec<String>,
    /// Blocks outside the selection whose gradient norm each step measures
    #[arg(long, default_value_t = 2)]
    pub probes: usize,
    /// In what the weights are kept: f32 or bf16, with f32 master copies of what is being trained; c4 at the paper's scale
    /// has bf16 if this is left out
    #[arg(long, default_value = "f32", value_name = "f32|bf16")]
    pub weights: WeightType,
    /// How the backward pass goes: whole, the fastest; layer-wise, which holds one layer's activations and gradients at a
    /// time and computes each layer once more; auto takes the second where the first would not fit
    #[arg(long, default_value = "auto", value_name = "auto|whole|layer-wise")]
    pub backward: Backward,
    /// The memory that `--backward auto` may count on, such as 16GB or 24GiB, instead of the device's
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<ByteSize>,
    /// What becomes of a step whose loss or gradient norm is not a number: stop, with its batches written down; or skip,
    /// which leaves them out, counts them, and looks at every step's norm before its update (layer by layer all gradients
    /// of a step exist until then)
    #[arg(long, default_value = "stop", value_name = "stop|skip")]
    pub bad_steps: BadSteps,
    /// What becomes of a document that cannot be read (c4): stop, naming file and line; or skip, which leaves it out, or
    /// the rest of its shard where that is damaged, and counts it in the records and the report
    #[arg(long, default_value = "stop", value_name = "stop|skip")]
    pub bad_documents: BadDocuments,
    /// Micro-batches per optimizer step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub grad_accum_steps: u64,
    /// Save each trained model as a Hugging Face folder beside its records
    #[arg(long)]
    pub save_model: bool,
    /// Steps between checkpoints; 0 makes none by steps
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub checkpoint_every: u64,
    /// Minutes between checkpoints, whatever the steps; 0 makes none by time
    #[arg(
        long,
        default_value_t = 15.0,
        value_name = "MINUTES",
        value_parser = minutes,
        allow_negative_numbers = true
    )]
    pub checkpoint_minutes: f64,
    /// How many checkpoints an unfinished run keeps, the best one of a run that may stop early aside
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = keep_checkpoints)]
    pub keep_checkpoints: usize,
    /// What a complete run keeps: the checkpoint of its last step (and of its best, where it may stop early), for
    /// --save-model and --extend later; or none
    #[arg(long, value_enum, default_value_t = Keep::Last)]
    pub keep_weights: Keep,
    /// Train anew, in folders of their own beside those of the same configuration
    #[arg(long)]
    pub fresh: bool,
    /// Go on from the end of a complete run that differs in --steps only, at the rates of the longer schedule
    #[arg(long, conflicts_with = "fresh")]
    pub extend: bool,
    /// Go on with what was stopped: so it is without this word too, which older scripts may have
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,
    /// Show what would be run and where, and what is there already; trains nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make the run of this folder and no report: how an experiment starts itself, once for every run on a GPU
    #[arg(long, hide = true, value_name = "DIR")]
    pub alone: Option<PathBuf>,
    /// The options that stand on the command line; no option
    #[arg(skip)]
    pub given: BTreeSet<String>,
    /// The methods that `--methods` may name; no option
    #[arg(skip)]
    pub known_methods: Methods,
    /// What a signal asks for; no option
    #[arg(skip)]
    pub interrupt: Interrupt,
}

impl Cli {
    /// The seeds of the runs, from 0.
    pub fn seeds(&self) -> std::ops::Range<u64> {
        0..self
            .seeds
            .unwrap_or(if self.scale == Scale::Paper { 3 } else { 1 })
    }
}

/// What is kept of a complete run beside its records.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last checkpoint, and the best one where that is the model
    Last,
    /// Nothing
    None,
}

fn minutes(text: &str) -> std::result::Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1e6).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("use a number of minutes such as 15, or 0 for none by time".into())
    }
}

fn keep_checkpoints(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("keep at least 1: a run could not be gone on with".into()),
        Ok(count) => Ok(count),
    }
}

/// The order of training rows.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowOrder {
    /// Another order every epoch, rows of similar length in a batch
    Shuffled,
    /// As the file has them, every epoch: for comparisons with another trainer, batch by batch
    File,
}

/// A stage of a model's training.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A language model from random weights
    Pretraining,
    /// A classifier on the tasks of GLUE
    FineTuning,
}

impl Stage {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretraining => "pretraining",
            Self::FineTuning => "fine-tuning",
        }
    }
}

/// How much of the paper a run repeats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Minutes on two CPU cores
    Quick,
    /// Hours on a desktop
    Cpu,
    /// The paper's models, steps and batch sizes, for a GPU
    Paper,
}
