//! Step time and peak memory by model and method, and the largest model that fits, each in a process of its own: one that
//! runs out of memory takes no other with it.
use super::findings::{Findings, Numbers};
use super::random_batch::random_batch;
use crate::report::format::bytes;
use crate::stdout::say_line;
use crate::{Cli, causes};
use anyhow::{Context, Result, anyhow, bail};
use blockllm_model::llama::LlamaConfig;
use blockllm_train::{
    LanguageModeling, MemoryMeter, Method, Record, RunObserver, Setup, TrainConfig, TrainError, WeightType,
    WhenToCheck, train,
};
use serde::{Deserialize, Serialize};
use std::process::Command;

const TOPIC: &str = "Step time and peak";
const LARGEST: &str = "Largest model";
const MODELS: [&str; 4] = ["60m", "130m", "350m", "1b"];
const METHODS: [&str; 4] = ["adamw", "blockllm:0.5", "blockllm:0.95", "galore:128"];
/// Rows and positions of a step.
const SHAPE: (usize, usize) = (8, 256);
const STEPS: u64 = 12;

/// What one model and method needed.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    /// Median, after the kernels are compiled.
    step_ms: f64,
    peak_bytes: u64,
    weights_bytes: u64,
    loss: f64,
}

/// Measures every model with every method, then looks for the largest model that BlockLLM can train here.
pub(super) fn check(cli: &Cli, findings: &mut Findings, numbers: &mut Numbers) {
    for model in MODELS {
        for method in METHODS {
            let case = format!("{model} {method}");
            match measured_apart(cli, model, method, WeightType::F32) {
                Ok(measured) => {
                    findings.tell(TOPIC, &case, &measured.describe());
                    numbers.step_ms.insert(case, measured.step_ms);
                }
                Err(error) => findings.tell(TOPIC, &case, &format!("does not run: {}", causes::told(&error))),
            }
        }
    }
    for (method, weights) in [
        ("adamw", WeightType::F32),
        ("blockllm:0.95", WeightType::F32),
        ("blockllm:0.95", WeightType::Bf16),
    ] {
        // From the largest down: what fits is measured once.
        let fits = ["7b", "1b", "350m", "130m", "60m"]
            .into_iter()
            .find_map(|model| Some((model, measured_apart(cli, model, method, weights).ok()?)));
        let seen = match fits {
            Some((model, measured)) => format!("{model}: {}", measured.describe()),
            None => "none of 60m to 7b".to_owned(),
        };
        findings.tell(LARGEST, &format!("{method}, {weights:?} weights"), &seen);
    }
}

impl Measured {
    fn describe(&self) -> String {
        format!(
            "{:.1} ms a step, peak {} ({:.2} x the weights), loss {:.3}",
            self.step_ms,
            bytes(self.peak_bytes),
            self.peak_bytes as f64 / self.weights_bytes.max(1) as f64,
            self.loss
        )
    }
}

/// Starts this binary again for one case.
fn measured_apart(cli: &Cli, model: &str, method: &str, weights: WeightType) -> Result<Measured> {
    let weights = match weights {
        WeightType::F32 => "f32",
        WeightType::Bf16 => "bf16",
    };
    let device = cli.device.resolve()?.choice.name();
    let output = Command::new(std::env::current_exe()?)
        .args([&cli.experiment, "--device", device, "--model", model])
        .args(["--methods", method, "--weights", weights])
        .output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}", stderr.lines().last().unwrap_or("it was ended by a signal"));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout
        .lines()
        .last()
        .ok_or_else(|| anyhow!("it printed nothing"))?;
    serde_json::from_str(line).context("what it printed is no measurement")
}

/// Trains `model` for a few steps on random tokens with the one method of `--methods`, and prints what it needed.
pub(super) fn print_one(cli: &Cli, model: &str) -> Result<()> {
    let [method] = cli.methods.as_slice() else {
        bail!("--model measures one method: name it with --methods, such as --methods blockllm:0.95");
    };
    say_line!("{}", serde_json::to_string(&measure(cli, model, method)?)?)?;
    Ok(())
}

fn measure(cli: &Cli, model: &str, method: &Method) -> Result<Measured> {
    let device = cli.device.open()?.autodiff();
    let meter = MemoryMeter::start(&device);
    let shape = LlamaConfig::preset(model)?;
    let vocab = shape.vocab_size;
    let model = shape.init(0, &device);
    let config = TrainConfig {
        steps: cli.steps.unwrap_or(STEPS),
        learning_rate: 1e-4,
        weights: cli.weights,
        backward: cli.backward,
        memory_sample_every: 4,
        self_check: WhenToCheck::OnGpu,
        ..TrainConfig::default()
    };
    let batch = random_batch(SHAPE.0, SHAPE.1, vocab, 1);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method,
        config: &config,
        validation: std::slice::from_ref(&batch),
        device: &device,
    };
    let next = || Ok(batch.clone());
    let trained = train(&setup, model, next, meter, &mut Silent)?;
    Ok(Measured {
        step_ms: trained.step_ms,
        peak_bytes: trained.memory.peak_bytes,
        weights_bytes: trained.memory.weights_bytes,
        loss: trained.last.evaluation.loss,
    })
}

struct Silent;

impl RunObserver for Silent {
    fn record(&mut self, _record: &Record) -> Result<(), TrainError> {
        Ok(())
    }
}
