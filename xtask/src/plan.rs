//! `cargo xtask plan`: builds the runner for the CPU and asks it what a training step would need.

use anyhow::Result;

use crate::runner;

const EXAMPLES: &str = "\
Options, all handed to the runner (`cargo xtask plan -- --help` shows them with their defaults):
  --model NAME|DIR|FILE   tiny, 60m, 130m, 350m, 1b, 7b, a Hugging Face folder, of which only config.json is read, a .gguf file,
                          or a repository in the hub's cache as owner/name
  --method METHOD         adamw, blockllm:0.95, blockllm:0.95+state=int8, lora:8, galore:128, badam:1, lisa:2, ..
  --sparsity SHARE        instead of the method's own
  --batch N, --seq N      rows and tokens of a micro-batch
  --weights f32|bf16      in what weights, gradients and activations are kept
  --memory SIZE           16GB, 24GiB, 800MB: whether it fits, and which settings would make it fit
  --all                   a table over methods and sizes

Examples:
  cargo xtask plan --model 7b --method blockllm --sparsity 0.95 --batch 1 --seq 512 --weights bf16 --memory 16GB
      Llama 7B part by part, with a whole backward pass and layer by layer
  cargo xtask plan --model ~/models/bert-base-uncased --method lora:8 --batch 16 --seq 128
      a model of your own; its weights need not be there
  cargo xtask plan --all --weights bf16
      every method on every size";

/// Tell what a training step needs, part by part, and what would make it fit; nothing is allocated
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is to be planned, see below
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub options: Vec<String>,
}

/// Builds the runner without any GPU's backend, and runs its plan.
pub fn run(args: &Args) -> Result<()> {
    runner::on_the_cpu("plan", &args.options)
}
