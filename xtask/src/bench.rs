//! `cargo xtask bench`: the criterion benchmarks, or training steps in turn with PyTorch.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::peer;
use crate::process;
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                                  all benchmarks
  cargo xtask bench selection                        those whose names contain this
  cargo xtask bench -- --save-baseline before        keep the figures under a name, to compare with later
  cargo xtask bench --peer torch                     training steps in turn with PyTorch, half an hour on two cores
  cargo xtask bench --peer torch --quick --only adamw    the tiny model, dense, in a minute
  cargo xtask bench --peer torch --env ~/torch       with an environment that has PyTorch already";

/// Run the benchmarks
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run only the benchmarks whose names contain this
    #[arg(value_name = "TEXT", conflicts_with = "peer")]
    pub filter: Option<String>,
    /// Measure training steps in turn with the same work there, instead of the benchmarks
    #[arg(long, value_enum)]
    pub peer: Option<Peer>,
    /// The peer's Python environment; made under the target folder when absent [also: `BLOCKLLM_TORCH_ENV`]
    #[arg(long, value_name = "DIR", requires = "peer")]
    pub env: Option<PathBuf>,
    /// How often each side is measured
    #[arg(long, default_value_t = 3, requires = "peer")]
    pub pairs: usize,
    /// Only the tiny model, with few steps
    #[arg(long, requires = "peer")]
    pub quick: bool,
    /// Only methods whose names contain this
    #[arg(long, value_name = "TEXT", requires = "peer")]
    pub only: Option<String>,
    /// Where the table goes [default: bench-peer.md in the target folder]
    #[arg(long, value_name = "FILE", requires = "peer")]
    pub out: Option<PathBuf>,
    /// Further arguments for criterion
    #[arg(last = true, value_name = "ARGS", conflicts_with = "peer")]
    pub more: Vec<String>,
}

/// Whom to compare with.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// PyTorch with transformers, peft and galore-torch
    Torch,
}

/// Runs `cargo bench` on the benchmarks' package, or the comparison.
pub fn run(args: &Args) -> Result<()> {
    if args.peer == Some(Peer::Torch) {
        if args.pairs == 0 {
            bail!("--pairs is 0; give at least 1");
        }
        return peer::run(&peer::Options {
            env: args.env.as_deref(),
            pairs: args.pairs,
            quick: args.quick,
            only: args.only.as_deref(),
            out: args
                .out
                .clone()
                .unwrap_or_else(|| workspace::target_dir().join("bench-peer.md")),
        });
    }
    let mut command = workspace::cargo("bench");
    command
        .args(["--package", "blockllm-benches", "--benches", "--"])
        .args(&args.filter)
        .args(&args.more);
    process::run(&mut command)
}
