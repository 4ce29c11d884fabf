//! C4 pretraining (BlockLLM, section 4; `GaLore`'s set-up): a Llama from random weights, method beside method.
mod data;
mod page;
mod plan;
mod published;
mod run;

pub use plan::{Plan, Settings};
pub use published::{Published, published};

use crate::{Cli, alone, recorded_run, report_folder};
use anyhow::Result;

/// Runs every method with every seed, then writes the report of the complete ones.
///
/// # Errors
/// When data, model or a run fails; runs that are complete stay on disk. Runs that diverge are told after the report of
/// all others is written.
pub fn run(cli: &Cli) -> Result<()> {
    let plan = Plan::new(cli)?;
    eprintln!("{}", plan.describe());
    for note in &plan.notes {
        eprintln!("note: {note}");
    }
    if cli.dry_run {
        return run::show(cli, &plan);
    }
    let runs = run::all(cli, &plan)?;
    // The runs are complete, whatever has become of their data since: they get their report. Who has not read the data knows
    // nothing of them.
    if alone::trains_here(cli)
        && let Err(error) = data::record(&plan, &cli.out)
    {
        eprintln!("warning: no record of the hashes of the data that was read: {error:#}");
    }
    if cli.alone.is_some() {
        return Ok(());
    }
    if !runs.complete.is_empty() {
        let folders: Vec<_> = runs.complete.iter().map(|run| run.folder.path()).collect();
        report_folder::write(cli, "c4", page::build(cli, &plan, &runs)?, &folders)?;
    }
    recorded_run::check_diverged(&runs.diverged, runs.complete.len())
}
