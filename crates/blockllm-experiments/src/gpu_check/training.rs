//! The laws of training on the device: flex's losses, entries outside the mask untouched, the state's bytes, exact resume.
use super::findings::{Findings, Numbers, close};
use super::random_batch::random_batch;
use anyhow::Result;
use blockllm_data::LmBatch;
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_train::{
    BatchSource, Checkpoints, LanguageModeling, MemoryMeter, Method, Methods, Record, RunObserver, Schedule,
    ScheduleKind, Setup, TrainConfig, TrainError, Trained, WhenToCheck, train_resumable,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use std::path::Path;

const TOPIC: &str = "Training against flex";
const STEPS: u64 = 6;
/// The checkpoint that a stopped run goes on from.
const SAVED: u64 = 3;
/// A few steps of sums in another order; cards multiply f32 in shorter types.
const TOLERANCE: f64 = 1e-2;
/// A resumed run repeats the same operations, but a card may add up in another order.
const RESUMED: f64 = 1e-4;

/// Batches in a circle, which may end early.
struct Circle {
    batches: Vec<LmBatch>,
    next: usize,
    stop_after: Option<usize>,
}

impl BatchSource<LmBatch> for Circle {
    fn next_batch(&mut self) -> Result<LmBatch, TrainError> {
        if self.stop_after == Some(self.next) {
            return Err(TrainError::NoLabels { what: "the rest" });
        }
        self.next += 1;
        Ok(self.batches[(self.next - 1) % self.batches.len()].clone())
    }

    fn cursor(&self) -> serde_json::Value {
        self.next.into()
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        self.next = cursor.as_u64().unwrap_or_default() as usize;
        Ok(())
    }
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl RunObserver for Losses {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        if let Record::Step(step) = record {
            self.0.push(step.loss);
        }
        Ok(())
    }
}

type Done = (Trained<LlamaForCausalLM>, Vec<f64>);

pub(super) fn check(
    device: &Device,
    flex: &Device,
    findings: &mut Findings,
    numbers: &mut Numbers,
) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("blockllm-gpu-check-{}", std::process::id()));
    for name in Methods::built_in().examples() {
        let method = Method::parse(&name)?.with_patience(4);
        let text = |error: TrainError| error.to_string();
        let whole = run(device, &method, None, &folder.join("whole"), true).map_err(text);
        let expected = run(flex, &method, None, &folder.join("flex"), false).map_err(text);
        let both = whole.and_then(|whole| Ok((whole, expected?)));
        let ((trained, losses), (_, flex_losses)) = match both {
            Ok(both) => both,
            Err(error) => {
                findings.add(TOPIC, &name, Err(error));
                continue;
            }
        };
        findings.add(
            TOPIC,
            &format!("{name}: losses"),
            close(&losses, &flex_losses, TOLERANCE),
        );
        findings.add(TOPIC, &format!("{name}: state bytes"), state_bytes(&trained));
        if name.starts_with("blockllm:") || name == "adamw" {
            findings.add(
                TOPIC,
                &format!("{name}: entries changed"),
                changed(&trained, device),
            );
        }
        let resumed = resumed(device, &method, &folder.join("resumed")).map_err(text);
        let tail = &losses[SAVED as usize..];
        findings.add(
            TOPIC,
            &format!("{name}: resumed"),
            resumed.and_then(|losses| close(&losses, tail, RESUMED)),
        );
        if let Some(check) = &trained.self_check {
            let seen = format!(
                "loss {} and {} on flex, norms within {:.1e}",
                check.loss, check.flex_loss, check.worst_norm
            );
            findings.add(TOPIC, &format!("{name}: self-check"), Ok(seen));
        }
        numbers.losses.insert(name, losses);
    }
    // What is left in the temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn tiny() -> LlamaConfig {
    let config = LlamaConfig::new(64, 32, 48, 2, 4).with_num_key_value_heads(2);
    LlamaConfig {
        initializer_range: 0.2,
        ..config.with_max_position_embeddings(64)
    }
}

fn run(
    device: &Device,
    method: &Method,
    stop_after: Option<usize>,
    folder: &Path,
    self_check: bool,
) -> Result<Done, TrainError> {
    let device = device.clone().autodiff();
    let meter = MemoryMeter::start(&device);
    let model = tiny().init(1, &device);
    let config = TrainConfig {
        steps: STEPS,
        learning_rate: 1e-3,
        schedule: Schedule {
            kind: ScheduleKind::Constant,
            warmup: 0.0,
            final_share: 1.0,
        },
        self_check: if self_check {
            WhenToCheck::Always
        } else {
            WhenToCheck::Never
        },
        ..TrainConfig::default()
    };
    let batches: Vec<_> = (1..4).map(|seed| random_batch(2, 24, 64, seed)).collect();
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method,
        config: &config,
        validation: &batches[..1],
        device: &device,
    };
    let mut circle = Circle {
        batches: batches.clone(),
        next: 0,
        stop_after,
    };
    let mut losses = Losses::default();
    let checkpoints = Checkpoints::new(folder, if stop_after.is_some() { SAVED } else { 0 });
    let trained = train_resumable(&setup, model, &mut circle, meter, &mut losses, &checkpoints)?;
    Ok((trained, losses.0))
}

/// The losses after the checkpoint of a run that was stopped and taken up again.
fn resumed(device: &Device, method: &Method, folder: &Path) -> Result<Vec<f64>, TrainError> {
    // The first call ends with the error that stands for a kill; what matters is the checkpoint it leaves.
    let _ = run(device, method, Some(SAVED as usize + 1), folder, false);
    let (_, losses) = run(device, method, Some(usize::MAX), folder, false)?;
    let _ = std::fs::remove_dir_all(folder);
    Ok(losses)
}

fn state_bytes(trained: &Trained<LlamaForCausalLM>) -> Result<String, String> {
    let state = trained.memory.optimizer_state_bytes;
    let seen = format!("{} held, {} estimated", state.measured, state.estimated);
    if state.measured == state.estimated && state.measured > 0 {
        Ok(seen)
    } else {
        Err(seen)
    }
}

/// A selection changes exactly its budget of entries, so several change no more than their sum.
fn changed(trained: &Trained<LlamaForCausalLM>, device: &Device) -> Result<String, String> {
    let before = weights(&tiny().init(1, &device.clone().autodiff()));
    let after = weights(&trained.model);
    let changed = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .count() as u64;
    let most = trained.trained_entries * trained.selections.max(1);
    let seen = format!("{changed} of {}, at most {most} allowed", before.len());
    if before.len() == after.len() && changed > 0 && changed <= most {
        Ok(seen)
    } else {
        Err(seen)
    }
}

/// The bits of all weights.
fn weights(model: &LlamaForCausalLM) -> Vec<u32> {
    struct Reader(Vec<u32>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.base().inner().into_data();
            self.0.extend(data.iter::<f32>().map(f32::to_bits));
        }
    }
    let mut reader = Reader(Vec::new());
    model.visit(&mut reader);
    reader.0
}
