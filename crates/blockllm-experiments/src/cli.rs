//! The runner's command line.
use crate::registry;
use anyhow::{Result, bail};
use blockllm_optim::NormKind;
use blockllm_train::method::SETTINGS_HELP;
use blockllm_train::{Backward, BlockMethod, DeviceChoice, Method, WeightType};
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  blockllm-experiments c4
      AdamW beside BlockLLM on the embedded default text, in minutes; the report is out/report.md
  blockllm-experiments c4 --data ../shared/data --methods adamw@1e-3,blockllm:0.9@3e-3 --seeds 3
      your own C4 shards, your own learning rates, mean and spread over three seeds
  blockllm-experiments c4 --methods blockllm:0.95,random:0.95,suboptimal:0.95 --resume
      three policies at the same budget; runs that are complete are not run again
  blockllm-experiments c4 --methods blockllm:0.9,blockllm:0.9+norm=grad,blockllm:0.9+moments=carried-over
      choices that the paper leaves open, beside each other in one table
  blockllm-experiments glue --data ../shared/data --model-dir MiniLM --scale cpu --seeds 3
      a pretrained encoder on every task of GLUE that is there, all methods";

/// What `--help` shows below the options.
fn after_help() -> String {
    format!("{SETTINGS_HELP}\n\n{EXAMPLES}")
}

fn norm(text: &str) -> std::result::Result<NormKind, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Runs an experiment of the paper and writes its report.
#[derive(Parser, Clone, Debug)]
#[command(version, after_help = after_help())]
pub struct Cli {
    /// The experiment
    #[arg(value_parser = PossibleValuesParser::new(registry::names()))]
    pub experiment: String,
    /// How long the runs are
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    pub scale: Scale,
    /// Where to train: flex, wgpu or cuda, as far as they are built in, or auto for the best that is here
    #[arg(long, default_value = "flex")]
    pub device: DeviceChoice,
    /// What to compare, as `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`: adamw; blockllm:0.95 or another policy with its sparsity;
    /// lora:8 or galore:64 with its rank; badam:1 or lisa:2 with its number of layers; the settings are listed below
    #[arg(long, value_delimiter = ',', value_parser = Method::parse, value_name = "LIST")]
    pub methods: Vec<Method>,
    /// How many seeds each method is run with [default: 1, at the paper's scale 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: Option<u64>,
    /// A folder with C4 shards (c4-train.*.json.gz) or JSON lines, or with the folders of GLUE's tasks; without it the
    /// documentation of the locked dependencies, or a generated stand-in for GLUE
    #[arg(long, value_name = "DIR")]
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
    /// A Hugging Face folder to fine-tune (glue): BERT, RoBERTa or Llama, with its tokenizer.json; a small encoder from
    /// random weights without it
    #[arg(long, value_name = "DIR")]
    pub model_dir: Option<PathBuf>,
    /// The tasks of GLUE, such as MRPC,STS-B; all whose data is there without it
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub tasks: Vec<String>,
    /// Passes over the training rows (glue), instead of the scale's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Tokens of a text (glue), special tokens included, instead of the scale's
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// Share of the steps over which the learning rate rises (glue)
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub warmup: f64,
    /// Epochs without a better score after which a run stops (glue); 0 never stops it
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
    /// In what the weights are kept: f32 or bf16, with f32 master copies of what is being trained
    #[arg(long, default_value = "f32", value_name = "f32|bf16")]
    pub weights: WeightType,
    /// How the backward pass goes: whole, the fastest; layer-wise, which holds one layer's activations and gradients at a
    /// time and computes each layer once more; auto takes the second where the first would not fit
    #[arg(long, default_value = "auto", value_name = "auto|whole|layer-wise")]
    pub backward: Backward,
    /// Micro-batches per optimizer step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub grad_accum_steps: u64,
    /// Save each trained model as a Hugging Face folder beside its records
    #[arg(long)]
    pub save_model: bool,
    /// Steps between checkpoints; 0 makes none
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub checkpoint_every: u64,
    /// Go on from the newest checkpoints under --out, and do not run again what is complete there
    #[arg(long)]
    pub resume: bool,
}

impl Cli {
    /// The seeds of the runs, from 0.
    pub fn seeds(&self) -> std::ops::Range<u64> {
        0..self
            .seeds
            .unwrap_or(if self.scale == Scale::Paper { 3 } else { 1 })
    }
}

/// Refuses a method that is named twice: its runs would lie in one folder, and count as two seeds.
pub(crate) fn check_names(methods: &[Method]) -> Result<()> {
    for (place, method) in methods.iter().enumerate() {
        if methods[..place].iter().any(|other| other.label == method.label) {
            bail!(
                "--methods names `{}` twice: its runs would count as seeds",
                method.label
            );
        }
    }
    Ok(())
}

/// The command line's settings, for the methods that choose among blocks; `badam` and `lisa` bring their own.
pub(crate) fn set_blocks(cli: &Cli, blocks: &mut BlockMethod) {
    if blocks.sparsity > 0.0 {
        blocks.partition.clone_from(&cli.partition);
        blocks.always.clone_from(&cli.always);
        blocks.never.clone_from(&cli.never);
        blocks.norm = cli.norm;
        blocks.probes = cli.probes;
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
