//! `cargo xtask tidy`: formatting, lints, documentation, the rules for files, spelling, and one build of burn for all.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::feature_sets;
use crate::file_rules;
use crate::process::{ask, run as run_command};
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask tidy             look only: formatting, file rules, lints, documentation, spelling
  cargo xtask tidy --fix       format in place, then look at the rest
  cargo xtask tidy --quick     only what needs no build: formatting, file rules, spelling, dependencies, features";

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
    dependencies(false)?;
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

/// The program that checks dependencies, and the version that the project's `deny.toml` is written for.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Licences, bans and sources of all dependencies are those that `deny.toml` allows; and no advisory is known of them, where
/// the data of those are on this machine. Gives what was looked at, in words.
pub fn dependencies(install: bool) -> Result<&'static str> {
    if ask("cargo-deny", &["--version"]).is_none() {
        if !install {
            println!(
                "dependencies are not checked: `cargo install {CARGO_DENY} --locked` brings the program"
            );
            return Ok("not checked");
        }
        // A registry that is out of reach is no fault of the dependencies.
        if let Err(error) = run_command(workspace::cargo("install").args([CARGO_DENY, "--locked"])) {
            println!("dependencies are not checked, since the program could not be installed: {error:#}");
            return Ok("not checked");
        }
    }
    // Those of other systems too, which no build here has asked for.
    if let Err(error) = run_command(workspace::cargo("fetch").arg("--locked")) {
        println!("dependencies are not checked, since they are not all here: {error:#}");
        return Ok("not checked");
    }
    let deny = |arguments: &[&str]| {
        // Everything that is locked is there, and nothing is asked of the network.
        run_command(
            workspace::cargo("deny")
                .args(["--offline", "check"])
                .args(arguments),
        )
    };
    deny(&["licenses", "bans", "sources"])?;
    if !has_advisories() {
        println!("advisories are not checked: their data are not here (`cargo deny fetch` brings them)");
        return Ok("licences, bans and sources");
    }
    deny(&["advisories", "--disable-fetch"])?;
    Ok("licences, bans, sources and advisories")
}

/// Whether `cargo deny fetch` was ever run here.
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let folders = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    folders.is_some_and(|mut folders| folders.next().is_some())
}

/// No misspelt words, where the `typos` program is installed.
pub fn spelling() -> Result<()> {
    if ask("typos", &["--version"]).is_none() {
        println!("spelling is not checked: `cargo install typos-cli` brings the program");
        return Ok(());
    }
    run_command(std::process::Command::new("typos").current_dir(workspace::root()))
}
