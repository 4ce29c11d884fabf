//! `cargo xtask bench --peer torch`: our training steps in turn with the same work in PyTorch, as a table of ratios.

mod environment;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use self::table::{Pair, Row};
use crate::process;
use crate::runner_json::executable_in;
use crate::workspace;

/// The binary of our side.
const OURS: &str = "peer_step";

/// What the comparison is made of.
#[derive(Debug)]
pub struct Options<'a> {
    /// A Python environment with the peer in it; made where none is given.
    pub env: Option<&'a Path>,
    /// How often each side is measured.
    pub pairs: usize,
    /// The tiny model and few steps only.
    pub quick: bool,
    /// Only methods whose names contain this.
    pub only: Option<&'a str>,
    /// Where the table goes.
    pub out: PathBuf,
}

/// A model, the batch that it sees, and how many steps are timed.
struct Setting {
    work: &'static str,
    batch: usize,
    seq: usize,
    steps: usize,
}

const SETTINGS: [Setting; 2] = [
    Setting {
        work: "tiny",
        batch: 8,
        seq: 128,
        steps: 20,
    },
    Setting {
        work: "60m",
        batch: 2,
        seq: 256,
        steps: 6,
    },
];

/// What PyTorch does beside one of our methods.
#[derive(Clone, Copy)]
enum Beside {
    /// The method of the same name.
    Same,
    /// Trains the tensors that ours selected, densely.
    Selected,
}

const METHODS: [(&str, Beside); 10] = [
    ("adamw", Beside::Same),
    ("blockllm:0.5", Beside::Selected),
    ("blockllm:0.95", Beside::Selected),
    ("blockllm:0.99", Beside::Selected),
    ("lora:8", Beside::Same),
    ("galore:64", Beside::Same),
    ("attention", Beside::Same),
    ("loss", Beside::Same),
    ("optimizer", Beside::Same),
    ("selection", Beside::Same),
];

/// Measures both sides in turn and writes the table.
pub fn run(options: &Options<'_>) -> Result<()> {
    let ours = build()?;
    let python = environment::python(options.env)?;
    let wanted = |method: &str| options.only.is_none_or(|text| method.contains(text));
    let methods: Vec<_> = METHODS.iter().filter(|(method, _)| wanted(method)).collect();
    if methods.is_empty() {
        let known: Vec<_> = METHODS.iter().map(|(method, _)| *method).collect();
        bail!("--only fits none of {}", known.join(", "));
    }
    let settings = if options.quick {
        &SETTINGS[..1]
    } else {
        &SETTINGS[..]
    };
    let mut rows = Vec::new();
    for setting in settings {
        for (method, beside) in &methods {
            let pairs = (1..=options.pairs)
                .map(|pair| {
                    println!("{} {method}: pair {pair} of {}", setting.work, options.pairs);
                    measure(&ours, &python, setting, method, *beside, options.quick)
                })
                .collect::<Result<Vec<_>>>()?;
            let row = Row {
                work: format!("{} {} x {}", setting.work, setting.batch, setting.seq),
                method: (*method).to_owned(),
                pairs,
            };
            println!("{}", row.in_words());
            rows.push(row);
        }
    }
    let table = table::markdown(&rows);
    println!("\n{table}");
    std::fs::write(&options.out, &table)
        .with_context(|| format!("{} could not be written", options.out.display()))?;
    println!("written to {}", options.out.display());
    Ok(())
}

/// Builds our side.
fn build() -> Result<PathBuf> {
    let mut command = workspace::cargo("build");
    command.args(["--release", "--package", "blockllm-benches", "--bin", OURS]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let mut executable = None;
    process::run_reading(&mut command, |line| {
        executable = executable_in(line, OURS).or(executable.take());
    })?;
    executable.ok_or_else(|| anyhow!("cargo built `{OURS}` but did not say where"))
}

/// One pair: ours, then the peer.
fn measure(
    ours: &Path,
    python: &Path,
    setting: &Setting,
    method: &str,
    beside: Beside,
    quick: bool,
) -> Result<Pair> {
    let steps = if quick {
        setting.steps.min(8)
    } else {
        setting.steps
    };
    let sizes = [setting.batch, setting.seq, steps].map(|size| size.to_string());
    let found = json_of(Command::new(ours).arg(setting.work).args(&sizes).arg(method))?;
    let theirs = match beside {
        Beside::Same => method.to_owned(),
        Beside::Selected => format!("only:{}", names(&found)?.join(",")),
    };
    let script = workspace::root().join("benches/peer/step.py");
    let mut peer = Command::new(python);
    peer.arg(script).arg(setting.work).args(&sizes).arg(theirs);
    // Some machines set these for other programs; they slow PyTorch down.
    peer.env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    let peer = json_of(&mut peer)?;
    Pair::new(&found, &peer)
}

/// The tensors that ours selected.
fn names(line: &Value) -> Result<Vec<&str>> {
    let names = line["trained"].as_array().into_iter().flatten();
    let names: Vec<_> = names.filter_map(Value::as_str).collect();
    if names.is_empty() {
        bail!("our side did not tell what it selected");
    }
    Ok(names)
}

/// Runs one side and reads the JSON line that it prints last.
fn json_of(command: &mut Command) -> Result<Value> {
    let line = process::command_line(command);
    let output = command
        .output()
        .with_context(|| format!("`{line}` could not be started"))?;
    if !output.status.success() {
        bail!("`{line}` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rfind(|line| line.starts_with('{'));
    let last = last.ok_or_else(|| anyhow!("`{line}` printed no measurement"))?;
    serde_json::from_str(last).with_context(|| format!("`{line}` printed `{last}`"))
}
