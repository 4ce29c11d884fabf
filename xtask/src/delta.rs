//! `cargo xtask delta`: builds the runner for the CPU and has it make, apply, stack and show deltas.

use anyhow::Result;

use crate::runner;

const EXAMPLES: &str = "\
Verbs, all handed to the runner (`cargo xtask delta -- VERB --help` tells more of each):
  diff BASE TUNED --out FILE                what TUNED has otherwise than BASE, both folders of models
  apply BASE DELTA.. --out DIR              TUNED again, every file of weights to the byte; several deltas are a chain
  stack BASE DELTA[=WEIGHT].. --out DIR     changes of one base added up, each times its weight
        --allow-overlap                     those of the same entries too
  info DELTA                                what is in it, tensor by tensor

Examples:
  cargo xtask delta diff ~/models/llama out/model --out run.delta.safetensors
      a model that a run has saved, as a file of what the run has changed
  cargo xtask delta apply ~/models/llama run.delta.safetensors --out tuned
      checked against the SHA-256 of both before `tuned` is there
  cargo xtask delta stack ~/models/llama medical.delta.safetensors=0.7 french.delta.safetensors=0.5 --out both
      two changes in one model";

/// Keep what training has changed as a small file, and make models of such files
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A verb and its options, see below
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "VERB",
        required = true
    )]
    pub words: Vec<String>,
}

/// Builds the runner without any GPU's backend, and hands the words on.
pub fn run(args: &Args) -> Result<()> {
    runner::on_the_cpu("delta", &args.words)
}
