//! `cargo xtask ci`: what `.ci/run` calls; the house rules, the tests, and a small real run whose report is checked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::device::DeviceChoice;
use crate::test::{self, TestDevice};
use crate::test_output::TestCounts;
use crate::{check_report, cuda, feature_sets, reproduce_paper, tidy, workspace};

const EXAMPLES: &str = "\
Examples:
  cargo xtask ci --install              what a submission must pass, on a machine of its own
  cargo xtask ci --only reproduce       one part of it: tidy, test, cuda or reproduce";

/// Methods of the small run: the dense baseline and BlockLLM at two sparsities.
const METHODS: [&str; 3] = ["adamw", "blockllm:0.5", "blockllm:0.9"];
/// Enough steps to fall well below the untrained perplexity, in a minute or two on two cores.
const STEPS: u64 = 30;

/// Run everything that a submission must pass
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run only this part
    #[arg(long, value_enum)]
    pub only: Option<Part>,
    /// Install Mesa's software Vulkan where no driver is found, and `cargo-deny` where that is missing
    #[arg(long)]
    pub install: bool,
}

/// The parts of CI, in their order.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Formatting, file rules, spelling, lints, documentation
    Tidy,
    /// `cargo xtask test` on flex and wgpu
    Test,
    /// The CUDA path: linked where its LLVM is installed, else type-checked
    Cuda,
    /// A small `cargo xtask reproduce-paper` whose report is checked for its figures
    Reproduce,
}

/// Runs the parts, stops at the first that fails, and tells how long each took.
pub fn run(args: &Args) -> Result<()> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let mut timings = Vec::new();
    let mut counts: Option<TestCounts> = None;
    if wanted(Part::Tidy) {
        timed(&mut timings, "formatting", tidy::format)?;
        timed(&mut timings, "file rules", tidy::files)?;
        timed(&mut timings, "spelling", tidy::spelling)?;
        timed(&mut timings, "dependencies", || tidy::dependencies(args.install))?;
        timed(&mut timings, "feature sets", feature_sets::check)?;
        timed(&mut timings, "lints", tidy::lints)?;
        timed(&mut timings, "documentation", tidy::documentation)?;
    }
    if wanted(Part::Test) {
        let test_args = test::Args {
            device: TestDevice::Wgpu,
            install: args.install,
            filter: None,
        };
        counts = Some(timed(&mut timings, "tests", || test::run(&test_args))?);
    }
    if wanted(Part::Cuda) {
        let shown = timed(&mut timings, "CUDA", cuda::check)?;
        println!("{shown}");
    }
    if wanted(Part::Reproduce) {
        timed(&mut timings, "reproduce-paper", reproduce)?;
    }
    println!("\nci passed");
    for (name, took) in &timings {
        println!("  {name:<16} {:>5} s", took.as_secs());
    }
    let whole: Duration = timings.iter().map(|(_, took)| *took).sum();
    println!("  {:<16} {:>5} s", "all of it", whole.as_secs());
    if let Some(counts) = counts {
        println!("{counts}");
    }
    Ok(())
}

fn timed<T>(
    timings: &mut Vec<(&'static str, Duration)>,
    name: &'static str,
    part: impl FnOnce() -> Result<T>,
) -> Result<T> {
    println!("\n== {name}");
    let started = Instant::now();
    let result = part().with_context(|| format!("ci stopped at {name}"))?;
    timings.push((name, started.elapsed()));
    Ok(result)
}

/// A small run on the real text beside the checkout where it is there, else on the embedded default.
fn reproduce() -> Result<()> {
    let out = std::env::temp_dir().join(format!("blockllm-ci-{}", std::process::id()));
    let checked = reproduce_into(&out);
    if checked.is_ok() {
        // A temporary folder that cannot be removed is no reason to fail; after a failure it is kept to be read.
        let _ = std::fs::remove_dir_all(&out);
    }
    checked.with_context(|| format!("the run's records are kept in {}", out.display()))
}

fn reproduce_into(out: &std::path::Path) -> Result<()> {
    let args = reproduce_paper::Args {
        experiment: "c4".to_owned(),
        scale: reproduce_paper::Scale::Quick,
        device: DeviceChoice::Flex,
        methods: Some(METHODS.join(",")),
        seeds: Some(1),
        data: shared_data(),
        out: out.to_path_buf(),
        steps: Some(STEPS),
        resume: false,
        fresh: false,
        unfused: false,
        more: Vec::new(),
    };
    reproduce_paper::run(&args)?;
    for line in check_report::check(out, "c4", &METHODS)? {
        println!("{line}");
    }
    Ok(())
}

fn shared_data() -> Option<PathBuf> {
    workspace::root()
        .join("../shared/data")
        .canonicalize()
        .ok()
        .filter(|folder| folder.is_dir())
}
