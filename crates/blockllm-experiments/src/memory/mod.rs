//! The paper's claim about memory: methods by sizes by sparsities, measured where it is a matter of seconds, estimated
//! elsewhere.
mod page;
mod run;
mod settings;

pub use settings::Settings;

use crate::{Cli, report_folder};
use anyhow::Result;

/// Measures three steps of every method on every size of the scale, then writes the report.
///
/// # Errors
/// When a run fails or the report cannot be written.
pub fn run(cli: &Cli) -> Result<()> {
    let settings = Settings::of(cli)?;
    eprintln!("{}", settings.describe());
    let runs = run::all(cli, &settings)?;
    if cli.alone.is_some() {
        return Ok(());
    }
    let folders: Vec<_> = runs.iter().map(|run| run.run.folder.path()).collect();
    report_folder::write(cli, "memory", page::build(cli, &settings, &runs)?, &folders)
}
