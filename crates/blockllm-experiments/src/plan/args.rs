//! The command line of `plan`.
use crate::byte_size::ByteSize;
use blockllm_train::{Method, WeightType};
use clap::{Parser, ValueEnum};

/// The word that asks for a plan.
pub const NAME: &str = "plan";

const EXAMPLES: &str = "\
Examples:
  plan --model 7b --method blockllm:0.95 --weights bf16 --memory 16GB
      what a step of Llama 7B needs on 512 tokens, part by part, and which settings make it fit into 16 GB
  plan --model ~/models/bert-base-uncased --method lora:8 --batch 16 --seq 128
      the model of a Hugging Face folder; only its config.json is read
  plan --model SmolLM2-135M-Instruct-Q8_0.gguf --method lora:8
      the model of a GGUF file; no weight is read
  plan --model 1b --method blockllm:0.9+state=int8 --device flex
      a method with settings of its own, on the CPU
  plan --all --weights bf16 --batch 1 --seq 512
      a table over methods and sizes";

/// Tells what a training step needs, part by part, without making a model: what fits, and what would make it fit
#[derive(Parser, Clone, Debug)]
#[command(name = "plan", version, after_help = EXAMPLES)]
pub struct Args {
    /// A preset (tiny, 60m, 130m, 350m, 1b, 7b); a Hugging Face folder or config.json: Llama, Mistral, Qwen2, BERT or RoBERTa;
    /// a .gguf file; or a repository in the hub's cache as owner/name
    #[arg(long, default_value = "7b", value_name = "NAME|DIR|FILE|REPO")]
    pub model: String,
    /// What trains, as in `--methods` of an experiment: `NAME[:NUMBER][+KEY=VALUE]...`
    #[arg(long, default_value = "blockllm:0.95", value_parser = Method::parse)]
    pub method: Method,
    /// The sparsity, instead of the method's
    #[arg(long, value_name = "SHARE")]
    pub sparsity: Option<f64>,
    /// Rows of a micro-batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Tokens of a row
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    pub seq: u64,
    /// In what weights, gradients and activations are kept
    #[arg(long, default_value = "f32", value_name = "f32|bf16")]
    pub weights: WeightType,
    /// Micro-batches per optimizer step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub grad_accum_steps: u64,
    /// No clipping to a global norm, so that no gradient waits for the others
    #[arg(long)]
    pub no_clip: bool,
    /// The memory that there is, such as 16GB, 24GiB or 800MB
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<ByteSize>,
    /// Where it is to run: flex computes in f32 whatever the weights are in
    #[arg(long, value_enum, default_value_t = Machine::Gpu)]
    pub device: Machine,
    /// All methods and sizes in one table
    #[arg(long, conflicts_with_all = ["model", "method", "sparsity", "memory"])]
    pub all: bool,
}

/// Devices, as far as memory depends on them.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// wgpu or CUDA
    Gpu,
    /// The CPU
    Flex,
}
