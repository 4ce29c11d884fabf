//! A run that is interrupted and resumed gives the same bits as one that never was, at whatever step.
use crate::batches::padded;
use crate::training::{constant, tiny_llama};
use crate::weights::{Numbers, changed, weights};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{
    BatchSource, Checkpoints, LanguageModeling, MemoryMeter, Method, Record, RunFolder, Setup, TrainConfig,
    TrainError, Trained, train_resumable,
};
use burn::tensor::Device;
use std::path::Path;

/// Optimizer steps of every run here.
pub(crate) const STEPS: u64 = 12;

/// Batches in a circle that can be resumed, and whose disk fails after a number of them.
pub(crate) struct Failing {
    batches: [LmBatch; 3],
    given: usize,
    fails_after: usize,
}

impl Failing {
    pub(crate) fn after(batches: u64) -> Self {
        Self {
            batches: [0, 2, 4].map(|salt| padded(&[12, 7], 12, salt)),
            given: 0,
            fails_after: batches as usize,
        }
    }
}

impl BatchSource<LmBatch> for Failing {
    fn next_batch(&mut self) -> Result<LmBatch, TrainError> {
        if self.given == self.fails_after {
            return Err(TrainError::File {
                path: "shard".into(),
                source: std::io::Error::other("interrupted"),
            });
        }
        self.given += 1;
        Ok(self.batches[(self.given - 1) % 3].clone())
    }

    fn cursor(&self) -> serde_json::Value {
        self.given.into()
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        self.given = serde_json::from_value(cursor.clone()).unwrap();
        Ok(())
    }
}

/// Runs, at a rate so low that the loss stalls, or goes on with, the run in `folder`, as the runner does.
fn run(
    folder: &Path,
    method: &str,
    every: u64,
    batches: Failing,
) -> Result<Trained<LlamaForCausalLM>, TrainError> {
    run_from(0, folder, method, &Checkpoints::new(folder, every), batches)
}

/// [`run`] of a model that is drawn from `seed`, with these checkpoints.
pub(crate) fn run_from(
    seed: u64,
    folder: &Path,
    method: &str,
    checkpoints: &Checkpoints,
    mut batches: Failing,
) -> Result<Trained<LlamaForCausalLM>, TrainError> {
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let config = TrainConfig {
        evaluate_every: 4,
        ..constant(STEPS, 1e-4)
    };
    let method = Method::parse(method).unwrap().with_patience(2);
    let mut folder = RunFolder::new(folder);
    match checkpoints.newest_whole(&mut |text| panic!("{text}")).unwrap() {
        Some(step) => folder
            .resume(&config, &"no files", step, &mut |text| panic!("{text}"))
            .unwrap(),
        None => folder.start(&config, &"no files").unwrap(),
    }
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &method,
        config: &config,
        validation: &Failing::after(0).batches[..1],
        device: &device,
    };
    let model = tiny_llama().init(seed, &device);
    train_resumable(&setup, model, &mut batches, meter, &mut folder, checkpoints)
}

/// Everything that a run is remembered by, clocks and memory aside.
#[derive(Debug, PartialEq)]
struct Outcome {
    weights: Numbers,
    told: Vec<String>,
    tokens_seen: u64,
    selections: u64,
    trained_entries: u64,
}

fn outcome(folder: &Path, trained: &Trained<LlamaForCausalLM>) -> Outcome {
    let told = |record: Record| match record {
        Record::Step(step) => format!(
            "step {} {:x} {:x} {}",
            step.step,
            step.loss.to_bits(),
            step.grad_norm.to_bits(),
            step.tokens_seen
        ),
        other => format!("{other:?}"),
    };
    Outcome {
        weights: weights(&trained.model),
        told: RunFolder::new(folder)
            .records()
            .unwrap()
            .into_iter()
            .map(told)
            .collect(),
        tokens_seen: trained.tokens_seen,
        selections: trained.selections,
        trained_entries: trained.trained_entries,
    }
}

fn uninterrupted(method: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let trained = run(folder.path(), method, 0, Failing::after(STEPS)).unwrap();
    outcome(folder.path(), &trained)
}

/// Interrupts a run after `steps`, with a checkpoint after every `every`, and resumes it.
fn resumed(method: &str, steps: u64, every: u64) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let error = run(folder.path(), method, every, Failing::after(steps)).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    let trained = run(folder.path(), method, every, Failing::after(STEPS)).unwrap();
    outcome(folder.path(), &trained)
}

fn assert_same(found: &Outcome, expected: &Outcome, what: &str) {
    let changed = changed(&expected.weights, &found.weights);
    assert!(
        changed.is_empty(),
        "{what}: weights differ in {:?}",
        changed.keys()
    );
    assert_eq!(found, expected, "{what}");
}

#[test]
fn a_blockllm_run_resumed_at_any_step_gives_the_same_bits() {
    let expected = uninterrupted("blockllm:0.8");
    assert!(
        expected.selections > 1,
        "every step would be in the first selection"
    );
    for step in 1..STEPS {
        assert_same(
            &resumed("blockllm:0.8", step, 1),
            &expected,
            &format!("resumed at {step}"),
        );
    }
}

#[test]
fn a_resumed_run_repeats_the_steps_since_its_newest_checkpoint() {
    for method in [
        "adamw",
        "blockllm:0.8",
        "cyclic:0.8",
        "importance:0.8",
        "epsilon-greedy:0.8",
        "badam",
        "lisa",
        "lora:4",
    ] {
        assert_same(&resumed(method, 8, 3), &uninterrupted(method), method);
    }
}

#[test]
fn a_checkpoint_of_another_method_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "blockllm:0.8", 2, Failing::after(5)).unwrap_err();
    let message = run(folder.path(), "random:0.8", 2, Failing::after(STEPS))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("blockllm") && message.contains("random"),
        "{message}"
    );
}
