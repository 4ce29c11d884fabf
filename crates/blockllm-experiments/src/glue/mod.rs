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

use crate::Cli;
use anyhow::{Context, Result, bail};

/// Fine-tunes every task with every method and seed, then writes `report.md` and `report.html`.
///
/// # Errors
/// When data, model or a run fails; runs that are complete stay on disk. Runs that diverge are told after the report
/// of all others is written.
pub fn run(cli: &Cli) -> Result<()> {
    let plan = Plan::new(cli)?;
    eprintln!("{}", plan.describe());
    let runs = run::all(cli, &plan)?;
    page::build(&plan, &runs)?.write(&cli.out)?;
    let report = cli.out.join("report.md");
    let text = std::fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
    println!("{}", crate::report::first_table(&text));
    println!(
        "report: {} and {}",
        report.display(),
        cli.out.join("report.html").display()
    );
    if !runs.diverged.is_empty() {
        bail!(
            "{} of the runs diverged, and the report lacks them: {}",
            runs.diverged.len(),
            runs.diverged.join("; ")
        );
    }
    Ok(())
}
