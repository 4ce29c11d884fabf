//! What a command would run, shown without training: its plan, and every run with its folder and what is there of it.
use crate::run_place::RunPlace;
use crate::stdout::say_line;
use anyhow::Result;
use blockllm_train::Checkpoints;

/// Prints `plan` and a line for each run.
///
/// # Errors
/// When nobody reads it, or stdout has no room.
pub fn show<'a>(
    plan: &[(&str, String)],
    runs: impl IntoIterator<Item = (&'a str, &'a RunPlace)>,
) -> Result<()> {
    let width = plan.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in plan {
        say_line!("{name:<width$}  {value}")?;
    }
    say_line!("\nruns")?;
    for (label, place) in runs {
        say_line!("  {label}: {} in {}", state(place), place.path.display())?;
    }
    Ok(())
}

fn state(place: &RunPlace) -> String {
    let path = &place.path;
    if path.join("result.json").exists() {
        return "complete".into();
    }
    if path.join("diverged.json").exists() {
        return "diverged".into();
    }
    match (Checkpoints::new(path, 0).newest(), &place.extends) {
        (Some(step), _) => format!("to go on after step {step}"),
        (None, Some((_, steps))) => format!("to go on after step {steps} of a shorter run"),
        (None, None) => "to be trained".into(),
    }
}
