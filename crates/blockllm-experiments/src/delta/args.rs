//! The command line of `delta`.
use clap::{Args as Arguments, Parser, Subcommand};
use std::path::PathBuf;

/// The word that asks for deltas.
pub const NAME: &str = "delta";

const EXAMPLES: &str = "\
Examples:
  delta diff llama llama-tuned --out medical.delta.safetensors
      what training has changed: positions and values, with the SHA-256 of both models
  delta apply llama medical.delta.safetensors --out llama-medical
      the tuned model again, every file of weights to the byte
  delta stack llama medical.delta.safetensors=0.7 french.delta.safetensors=0.5 --out llama-both
      two changes of one base, added up
  delta info medical.delta.safetensors
      what is in it, tensor by tensor

`delta VERB --help` tells what a verb does, with examples of its own.";

const DIFF: &str = "\
Tensors are compared bit by bit, a few MiB at a time. One file or shards, in any number format; a base in bf16 and a tuned model in
f32 differ only where training has been. Files beside the weights that the base has not, or has otherwise, are carried along.

Examples:
  delta diff ~/models/llama out/model --out run.delta.safetensors
      out/model is what `finetune --save model` has written";

const APPLY: &str = "\
The delta's own SHA-256s and the base's are checked before anything is written, the result's before the folder gets its name. Files beside the weights come
from the base, unless the delta carries them. Several deltas are a chain: each was made against the result of the one before it.

Examples:
  delta apply ~/models/llama run.delta.safetensors --out tuned
  delta apply ~/models/llama monday.delta.safetensors tuesday.delta.safetensors --out tuesday
      `delta diff monday-folder tuesday-folder` has made the second one";

const STACK: &str = "\
base + sum of WEIGHT (tuned - base), reckoned in f64 and rounded once. All deltas were made against the same base; one that goes on
from another's result belongs to `delta apply`.

Examples:
  delta stack ~/models/llama medical.delta.safetensors french.delta.safetensors --out both
      each with weight 1; entries that both have changed are refused, tensor by tensor
  delta stack ~/models/llama medical.delta.safetensors=0.7 french.delta.safetensors=0.5 --allow-overlap --out both
      there the changes are added up
  delta stack ~/models/llama medical.delta.safetensors=-1 --out without
      a change taken the other way";

const INFO: &str = "\
The header and the files that the delta carries are read and checked; the numbers are when they are applied.

Examples:
  delta info run.delta.safetensors";

/// Writes what training has changed of a model as a file, and makes models of such files
#[derive(Parser, Clone, Debug)]
#[command(name = "delta", version, after_help = EXAMPLES)]
pub struct Args {
    /// What is to be done
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is to be done.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Write what a tuned model has otherwise than its base
    Diff(Diff),
    /// Make the tuned model again, from the base and what was changed
    Apply(Apply),
    /// Add up what several deltas of one base change, each times a weight
    Stack(Stack),
    /// Tell what a delta holds
    Info(Info),
}

/// Options of `diff`.
#[derive(Arguments, Clone, Debug)]
#[command(after_help = DIFF)]
pub struct Diff {
    /// The folder of the model that training began with
    pub base: PathBuf,
    /// The folder of the model that it ended with
    pub tuned: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `apply`.
#[derive(Arguments, Clone, Debug)]
#[command(after_help = APPLY)]
pub struct Apply {
    /// The folder of the model that the first delta was made against
    pub base: PathBuf,
    /// Deltas, in the order in which they were made
    #[arg(required = true, value_name = "DELTA")]
    pub deltas: Vec<PathBuf>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `stack`.
#[derive(Arguments, Clone, Debug)]
#[command(after_help = STACK)]
pub struct Stack {
    /// The folder of the model that all deltas were made against
    pub base: PathBuf,
    /// Deltas and how much of each is taken, 1 where nothing is said
    #[arg(required = true, value_name = "DELTA[=WEIGHT]")]
    pub layers: Vec<String>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Add up changes of the same entries
    #[arg(long)]
    pub allow_overlap: bool,
}

/// Options of `info`.
#[derive(Arguments, Clone, Debug)]
#[command(after_help = INFO)]
pub struct Info {
    /// The file
    pub delta: PathBuf,
}
