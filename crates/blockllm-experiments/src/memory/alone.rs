//! A measured run in a process of its own: on a GPU the memory that one run has reserved would serve the next, and be
//! counted as its own.
use super::Settings;
use super::run::measure;
use crate::Cli;
use anyhow::{Context, Result, anyhow, bail};
use blockllm_train::{Record, RunObserver, RunResult, TrainError};
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

/// What the child says in its last line.
#[derive(Serialize, Deserialize)]
struct Said {
    records: Vec<Record>,
    result: RunResult,
}

#[derive(Default)]
struct Collected(Vec<Record>);

impl RunObserver for Collected {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.0.push(record.clone());
        Ok(())
    }
}

/// What a run is called between the two processes.
pub(super) fn name(size: &str, method: &str) -> String {
    format!("{size}/{method}")
}

/// Measures the run of that name and prints it as one line.
pub(super) fn print(cli: &Cli, settings: &Settings, wanted: &str) -> Result<()> {
    let runs = settings.sizes.iter().flat_map(|(size, model)| {
        let of_size = settings.methods.iter();
        of_size.map(move |method| (name(size, &method.label), model, method))
    });
    let run = runs.into_iter().find(|(name, ..)| name == wanted);
    let (_, model, method) = run.ok_or_else(|| anyhow!("no run is called `{wanted}`"))?;
    let mut observer = Collected::default();
    let result = measure(cli, settings, model, method, &mut observer)?;
    let said = Said {
        records: observer.0,
        result,
    };
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}

/// Has the run of that name measured by another process with the options of this one, and tells `observer` its records.
pub(super) fn measured_alone(wanted: &str, observer: &mut dyn RunObserver) -> Result<RunResult> {
    let program = std::env::current_exe().context("this program's file could not be found")?;
    let output = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .args(["--memory-run", wanted])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    if !output.status.success() {
        bail!(
            "measuring {wanted} in a process of its own ended with {}",
            output.status
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    let said: Said = serde_json::from_str(line)
        .with_context(|| format!("measuring {wanted} in a process of its own ended without a result"))?;
    for record in &said.records {
        observer.record(record)?;
    }
    Ok(said.result)
}
