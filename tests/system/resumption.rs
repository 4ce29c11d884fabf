//! A run that is interrupted and resumed gives the same bits as one that never was, at whatever step.
use crate::batches::padded;
use crate::training::{constant, tiny_llama, wide_llama};
use crate::weights::{Numbers, changed, weights};
use blockllm::data::LmBatch;
use blockllm::model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm::train::{
    BatchSource, Checkpoints, LanguageModeling, MemoryMeter, Method, Methods, Record, RunFolder, Setup,
    TrainConfig, TrainError, Trained, WeightType, train_resumable,
};
use burn::tensor::Device;
use std::path::Path;
use std::sync::LazyLock;

/// Optimizer steps of every run here.
pub const STEPS: u64 = 12;

/// What is trained, and in what.
#[derive(Clone, Debug)]
pub struct Kind {
    pub method: String,
    pub weights: WeightType,
    pub micro_batches: u64,
}

pub fn plain(method: impl Into<String>) -> Kind {
    Kind {
        method: method.into(),
        weights: WeightType::F32,
        micro_batches: 1,
    }
}

fn in_bf16(method: &str) -> Kind {
    Kind {
        weights: WeightType::Bf16,
        ..plain(method)
    }
}

fn accumulated(method: &str) -> Kind {
    Kind {
        micro_batches: 2,
        ..plain(method)
    }
}

/// Every kind of state that a checkpoint holds: first those that differ most, then other settings, then all other methods.
pub static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let mut kinds = vec![
        plain("blockllm:0.8"),
        plain("adamw"),
        plain("galore:4"),
        plain("lora:4"),
        plain("blockllm:0.8+state=int8"),
        in_bf16("blockllm:0.8"),
        accumulated("blockllm:0.8"),
        plain("badam:1"),
        plain("galore:4+svd=randomized"),
        plain("blockllm:0.8+moments=carried-over+refresh=each-step"),
        plain("blockllm-sgd:0.8+ramp=5"),
        in_bf16("blockllm:0.8+half=stochastic"),
        accumulated("lora:4"),
    ];
    let examples = Methods::built_in().examples().into_iter();
    let others = examples.filter(|example| kinds.iter().all(|kind| kind.method != *example));
    let others: Vec<Kind> = others.map(plain).collect();
    kinds.extend(others);
    kinds
});

/// Batches in a circle that can be resumed, and whose disk fails after a number of them.
pub struct Failing {
    batches: [LmBatch; 3],
    given: usize,
    fails_after: usize,
}

impl Failing {
    fn after(batches: u64) -> Self {
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
        match cursor.as_u64() {
            Some(given) if given <= self.fails_after as u64 => {
                self.given = given as usize;
                Ok(())
            }
            _ => Err(TrainError::Record {
                path: "a cursor".into(),
                message: format!("{cursor} is no place in these batches"),
            }),
        }
    }
}

/// The model that a kind trains: one whose moments are coded needs parameters of some size.
pub fn model_of(kind: &Kind) -> LlamaConfig {
    if kind.method.contains("int8") {
        wide_llama()
    } else {
        tiny_llama()
    }
}

/// Runs, at a rate so low that the loss stalls, or goes on with, the run in `folder`, as the runner does; its data end
/// after `steps`.
pub fn run(
    folder: &Path,
    kind: &Kind,
    every: u64,
    steps: u64,
) -> Result<Trained<LlamaForCausalLM>, TrainError> {
    let checkpoints = Checkpoints::new(folder, every).with_the_last(true);
    run_on(&Device::flex(), 0, folder, kind, &checkpoints, steps)
}

/// [`run`] on a device, of a model that is drawn from `seed`, with these checkpoints.
pub fn run_on(
    device: &Device,
    seed: u64,
    folder: &Path,
    kind: &Kind,
    checkpoints: &Checkpoints,
    steps: u64,
) -> Result<Trained<LlamaForCausalLM>, TrainError> {
    let device = device.clone().autodiff();
    let meter = MemoryMeter::start(&device);
    let config = TrainConfig {
        evaluate_every: 4,
        weights: kind.weights,
        grad_accum_steps: kind.micro_batches as usize,
        ..constant(STEPS, 1e-4)
    };
    let method = Method::parse(&kind.method).unwrap().with_patience(2);
    let mut folder = RunFolder::new(folder);
    match checkpoints.newest_whole(&mut |text| panic!("{text}"))? {
        Some(step) => folder.resume(&config, &"no files", step, &mut |text| eprintln!("{text}"))?,
        None => folder.start(&config, &"no files")?,
    }
    let mut batches = Failing::after(steps * kind.micro_batches);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &method,
        config: &config,
        validation: &Failing::after(0).batches[..1],
        device: &device,
    };
    let model = model_of(kind).init(seed, &device);
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

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu_too_a_checkpoint_written_beside_training_is_that_of_its_step() {
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    for kind in [plain("blockllm:0.95"), plain("lora:2")] {
        let of = |folder: &Path, steps| {
            let checkpoints = Checkpoints::new(folder, 1);
            run_on(&device, 0, folder, &kind, &checkpoints, steps)
        };
        let (whole, parted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = weights(&of(whole.path(), STEPS).unwrap().model);
        for steps in [5, 9] {
            of(parted.path(), steps).unwrap_err();
        }
        let found = weights(&of(parted.path(), STEPS).unwrap().model);
        assert!(changed(&expected, &found).is_empty(), "{kind:?}");
    }
}

/// What a run has told, but for clocks and memory.
pub fn told(folder: &Path) -> Vec<String> {
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
    let records = RunFolder::new(folder).records().unwrap();
    records.into_iter().map(told).collect()
}

fn outcome(folder: &Path, trained: &Trained<LlamaForCausalLM>) -> Outcome {
    Outcome {
        weights: weights(&trained.model),
        told: told(folder),
        tokens_seen: trained.tokens_seen,
        selections: trained.selections,
        trained_entries: trained.trained_entries,
    }
}

fn uninterrupted(kind: &Kind) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let trained = run(folder.path(), kind, 0, STEPS).unwrap();
    outcome(folder.path(), &trained)
}

/// Interrupts a run after `steps`, with a checkpoint after every `every`, and resumes it.
fn resumed(kind: &Kind, steps: u64, every: u64) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let error = run(folder.path(), kind, every, steps).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    let trained = run(folder.path(), kind, every, STEPS).unwrap();
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
    let expected = uninterrupted(&KINDS[0]);
    assert!(
        expected.selections > 1,
        "every step would be in the first selection"
    );
    for step in 1..STEPS {
        assert_same(
            &resumed(&KINDS[0], step, 1),
            &expected,
            &format!("resumed at {step}"),
        );
    }
}

#[test]
fn a_resumed_run_of_every_kind_repeats_the_steps_since_its_newest_checkpoint() {
    for kind in &*KINDS {
        assert_same(&resumed(kind, 8, 3), &uninterrupted(kind), &format!("{kind:?}"));
    }
}

#[test]
fn a_checkpoint_of_another_method_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &plain("blockllm:0.8"), 2, 5).unwrap_err();
    let message = run(folder.path(), &plain("random:0.8"), 2, STEPS)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("blockllm") && message.contains("random"),
        "{message}"
    );
}
