//! C4 pretraining (BlockLLM, section 4; `GaLore`'s set-up): a Llama from random weights, method beside method.
mod data;
mod page;
mod plan;
mod run;

pub use plan::{Plan, Settings};

use crate::Cli;
use crate::report::Page;
use anyhow::{Context, Result};
use std::path::Path;

/// Runs every method with every seed, then writes `report.md` and `report.html`.
///
/// # Errors
/// When data, model or a run fails; runs that are complete stay on disk.
pub fn run(cli: &Cli) -> Result<()> {
    let plan = Plan::new(cli)?;
    eprintln!("{}", plan.describe());
    let runs = run::all(cli, &plan)?;
    data::record(&plan, &cli.out)?;
    let page: Page = page::build(&plan, &runs)?;
    page.write(&cli.out)?;
    let report = cli.out.join("report.md");
    let text = std::fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
    println!("{}", crate::report::first_table(&text));
    println!(
        "report: {} and {}",
        report.display(),
        shown(&cli.out.join("report.html"))
    );
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
