//! `cargo xtask bench`: the criterion benchmarks.

use anyhow::Result;

use crate::process;
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                                  all benchmarks
  cargo xtask bench selection                        those whose names contain this
  cargo xtask bench -- --save-baseline before        keep the figures under a name, to compare with later";

/// Run the benchmarks
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run only the benchmarks whose names contain this
    #[arg(value_name = "TEXT")]
    pub filter: Option<String>,
    /// Further arguments for criterion
    #[arg(last = true, value_name = "ARGS")]
    pub more: Vec<String>,
}

/// Runs `cargo bench` on the benchmarks' package.
pub fn run(args: &Args) -> Result<()> {
    let mut command = workspace::cargo("bench");
    command
        .args(["--package", "blockllm-benches", "--benches", "--"])
        .args(&args.filter)
        .args(&args.more);
    process::run(&mut command)
}
