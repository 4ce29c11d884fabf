//! GLUE fine-tuning (BlockLLM, section 4): a pretrained encoder on every task whose data is there, method beside method.
mod checkpoint;
mod comparison;
mod methods;
mod page;
mod plan;
mod rows;
mod run;
mod settings;

pub use plan::Plan;
pub use rows::{Source, TaskPlan};
pub use settings::Settings;

use crate::{Cli, recorded_run, report_folder};
use anyhow::Result;

/// Fine-tunes every task with every method and seed, then writes the report of the complete ones.
///
/// # Errors
/// When data, model or a run fails; runs that are complete stay on disk. Runs that diverge are told after the report
/// of all others is written.
pub fn run(cli: &Cli) -> Result<()> {
    let plan = Plan::new(cli)?;
    eprintln!("{}", plan.describe());
    if cli.dry_run {
        return run::show(cli, &plan);
    }
    let runs = run::all(cli, &plan)?;
    if cli.alone.is_some() {
        return Ok(());
    }
    if !runs.complete.is_empty() {
        let folders: Vec<_> = runs.complete.iter().map(|run| run.run.folder.path()).collect();
        report_folder::write(cli, "glue", page::build(&plan, &runs)?, &folders)?;
    }
    recorded_run::check_diverged(&runs.diverged, runs.complete.len())
}
