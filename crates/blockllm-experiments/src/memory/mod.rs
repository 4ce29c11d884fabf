//! The paper's claim about memory: methods by sizes by sparsities, measured where it is a matter of seconds, estimated
//! elsewhere.
mod page;
mod run;
mod settings;

pub use settings::Settings;

use crate::Cli;
use anyhow::{Context, Result};

/// Measures three steps of every method on every size of the scale, then writes `report.md` and `report.html`.
///
/// # Errors
/// When a run fails or the report cannot be written.
pub fn run(cli: &Cli) -> Result<()> {
    let settings = Settings::of(cli)?;
    eprintln!("{}", settings.describe());
    let runs = run::all(cli, &settings)?;
    page::build(cli, &settings, &runs)?.write(&cli.out)?;
    let report = cli.out.join("report.md");
    let text = std::fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
    println!("{}", crate::report::first_table(&text));
    println!("report: {}", report.display());
    Ok(())
}
