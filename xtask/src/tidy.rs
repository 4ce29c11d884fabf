//! `cargo xtask tidy`: formatting, lints, documentation, the rules for files, spelling, and one build of burn for all.

use anyhow::{Result, bail};

use crate::feature_sets;
use crate::file_rules;
use crate::process::{ask, run as run_command};
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask tidy             look only: formatting, file rules, lints, documentation, spelling
  cargo xtask tidy --fix       format in place, then look at the rest
  cargo xtask tidy --quick     only what needs no build: formatting, file rules, spelling, features";

/// Check formatting, lints, documentation, file rules, spelling and that all builds share burn
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Format the sources in place
    #[arg(long)]
    pub fix: bool,
    /// Leave out clippy and the documentation
    #[arg(long)]
    pub quick: bool,
}

/// Runs the checks from the quickest to the slowest.
pub fn run(args: &Args) -> Result<()> {
    if args.fix {
        run_command(workspace::cargo("fmt").arg("--all"))?;
    }
    format()?;
    files()?;
    spelling()?;
    feature_sets::check()?;
    if !args.quick {
        lints()?;
        documentation()?;
    }
    println!("tidy");
    Ok(())
}

/// All sources are as rustfmt writes them.
pub fn format() -> Result<()> {
    run_command(workspace::cargo("fmt").args(["--all", "--check"]))
        .map_err(|error| error.context("some files are not formatted; `cargo xtask tidy --fix` does it"))
}

/// No lint of rustc or clippy fires anywhere, in tests, examples and benchmarks neither.
pub fn lints() -> Result<()> {
    // In the release profile, so that build scripts and macros are shared with the tests' build.
    let mut command = workspace::cargo("clippy");
    command.args([
        "--release",
        "--workspace",
        "--all-targets",
        "--features",
        "flex,wgpu",
        "--",
        "-D",
        "warnings",
    ]);
    run_command(&mut command)
}

/// The documentation builds without warnings.
pub fn documentation() -> Result<()> {
    // The same features and profile as the lints, so that nothing is type-checked twice.
    let mut command = workspace::cargo("doc");
    command.args(["--release", "--no-deps", "--workspace", "--features", "flex,wgpu"]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Every source file keeps the rules of `CONTRIBUTING.md`.
pub fn files() -> Result<()> {
    let problems = file_rules::check_tree(&workspace::root())?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the file rules are broken:\n  {}", problems.join("\n  "))
}

/// No misspelt words, where the `typos` program is installed.
pub fn spelling() -> Result<()> {
    if ask("typos", &["--version"]).is_none() {
        println!("spelling is not checked: `cargo install typos-cli` brings the program");
        return Ok(());
    }
    run_command(std::process::Command::new("typos").current_dir(workspace::root()))
}
