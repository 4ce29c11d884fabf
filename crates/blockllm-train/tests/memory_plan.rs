//! Planned memory beside measured memory on flex: every method at three sizes, its peak and its parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use blockllm_data::LmBatch;
use blockllm_model::llama::LlamaConfig;
use blockllm_policy::PolicyConfig;
use blockllm_train::memory::{
    Assumed, BackwardMode, CountingAllocator, MemoryPlan, MemoryReport, ModelShape, Part, Workload,
};
use blockllm_train::{
    Backward, LanguageModeling, MemoryMeter, Method, Methods, Record, RunObserver, Setup, TrainConfig,
    TrainError, WeightType, WhenToCheck, train,
};
use burn::tensor::Device;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The allocator counts the whole process: only one run at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Chosen for time: every room, and settings that change what is held. Policies differ only in which blocks they select, which a
/// plan is told here.
const METHODS: [&str; 15] = [
    "adamw",
    "blockllm:0.5+probes=0",
    "blockllm:0.95+probes=0",
    "blockllm:0.5+probes=0+state=int8",
    "blockllm:0.9+probes=0+mask=per-parameter",
    "blockllm:0.9+probes=0+mask=none",
    "blockllm-sgd:0.9",
    "blockllm-whitened:0.9",
    "scale",
    "official-compat:0.9+state=int8",
    "lora:8",
    "galore:8+svd=randomized",
    "apollo-mini",
    "badam:1",
    "lisa:2",
];

/// [`METHODS`], and an example of every method that is not there yet and no policy.
fn methods() -> Vec<String> {
    let is_there = |name: &str| {
        let mut rows = METHODS.iter();
        PolicyConfig::names().contains(&name) || rows.any(|row| name_of(row) == name)
    };
    let mut methods = METHODS.map(String::from).to_vec();
    let examples = Methods::built_in().examples().into_iter();
    methods.extend(examples.filter(|example| !is_there(name_of(example))));
    methods
}

/// The name in front of a number and settings.
fn name_of(method: &str) -> &str {
    method.split([':', '+']).next().unwrap_or_default()
}

/// Models of different depth, width, heads and vocabulary, each with rows and tokens of a batch.
fn sizes() -> [(LlamaConfig, usize, usize); 3] {
    [
        (LlamaConfig::new(1024, 128, 344, 6, 4), 4, 128),
        (
            LlamaConfig::new(1500, 192, 512, 5, 3).with_tie_word_embeddings(true),
            3,
            96,
        ),
        (
            LlamaConfig::new(2048, 256, 688, 4, 4).with_num_key_value_heads(2),
            2,
            256,
        ),
    ]
}

#[derive(Default)]
struct Kept(Vec<Record>);

impl RunObserver for Kept {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.0.push(record.clone());
        Ok(())
    }
}

/// How a run trains.
#[derive(Clone, Copy, Debug)]
struct Kind {
    weights: WeightType,
    backward: BackwardMode,
    clipped: bool,
    grad_accum_steps: usize,
    on_host: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            weights: WeightType::F32,
            backward: BackwardMode::Whole,
            clipped: true,
            grad_accum_steps: 1,
            on_host: true,
        }
    }
}

impl Kind {
    fn layer_wise() -> Self {
        Self {
            backward: BackwardMode::LayerWise,
            ..Self::default()
        }
    }

    fn device(self) -> Device {
        #[cfg(feature = "wgpu")]
        if !self.on_host {
            return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
        }
        Device::flex()
    }

    fn train_config(self) -> TrainConfig {
        TrainConfig {
            steps: 3,
            weights: self.weights,
            backward: match self.backward {
                BackwardMode::Whole => Backward::Whole,
                BackwardMode::LayerWise => Backward::LayerWise,
            },
            max_grad_norm: self.clipped.then_some(1.0),
            grad_accum_steps: self.grad_accum_steps,
            memory_sample_every: 1,
            self_check: WhenToCheck::Never,
            ..TrainConfig::default()
        }
    }
}

/// Three steps, measured.
struct Measured {
    memory: MemoryReport,
    /// What the first selection took.
    selected: Option<Vec<String>>,
    /// Live bytes after the last step.
    rest: u64,
}

fn batch(rows: usize, tokens: usize, vocab: usize, step: usize) -> LmBatch {
    let ids = |shift: usize| -> Vec<i32> {
        let id = |place: usize| (place * 7919 + step * 31 + shift) % vocab;
        (0..rows * tokens).map(|place| id(place) as i32).collect()
    };
    LmBatch {
        batch_size: rows,
        seq_len: tokens,
        input_ids: ids(0),
        labels: ids(1),
        segment_ids: None,
    }
}

fn measured(config: &LlamaConfig, [rows, tokens]: [usize; 2], method: &Method, kind: &Kind) -> Measured {
    let device = kind.device().autodiff();
    let train_config = kind.train_config();
    let validation = vec![batch(rows, tokens, config.vocab_size, 99)];
    let mut step = 0;
    let mut batches = || {
        step += 1;
        Ok(batch(rows, tokens, config.vocab_size, step))
    };
    let mut observer = Kept::default();
    let meter = MemoryMeter::start(&device);
    let model = config.init(0, &device);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method,
        config: &train_config,
        validation: &validation,
        device: &device,
    };
    let trained = train(&setup, model, &mut batches, meter, &mut observer).unwrap();
    let selected = observer.0.iter().find_map(|record| match record {
        Record::Selection(event) => Some(event.blocks.clone()),
        _ => None,
    });
    let mut live = observer.0.iter().filter_map(|record| match record {
        Record::Step(step) => Some(step.memory_bytes),
        _ => None,
    });
    Measured {
        memory: trained.memory,
        selected,
        rest: live.next_back().unwrap(),
    }
}

fn planned(
    config: &LlamaConfig,
    [rows, tokens]: [usize; 2],
    method: &Method,
    kind: &Kind,
    measured: &Measured,
) -> MemoryPlan {
    let shape = ModelShape::Llama(config.clone());
    let mut workload = Workload::new(&shape, method, rows as u64, tokens as u64);
    workload.on_host = kind.on_host;
    workload.weights = kind.weights;
    workload.backward = kind.backward;
    workload.clipped = kind.clipped;
    workload.grad_accum_steps = kind.grad_accum_steps as u64;
    if let Some(selected) = &measured.selected {
        workload.selection = Assumed::Blocks(selected.clone());
    }
    MemoryPlan::estimate(&workload).unwrap()
}

/// Runs `method` and compares; what differs by more than a tenth.
fn differences(config: &LlamaConfig, batch: [usize; 2], name: &str, kind: &Kind) -> Vec<String> {
    let method = Method::parse(name).unwrap();
    let measured = measured(config, batch, &method, kind);
    let plan = planned(config, batch, &method, kind, &measured);
    let peak = if kind.on_host {
        ("peak", measured.memory.peak_bytes, plan.peak_bytes())
    } else {
        // Between its looks at the pool the trainer does not know how much is in use.
        ("in use", measured.memory.in_use_bytes, plan.sampled.total())
    };
    let figures = [
        peak,
        (
            "gradients",
            measured.memory.gradients_bytes,
            plan.most.of(Part::Gradients),
        ),
        (
            "state",
            measured.memory.optimizer_state_bytes.measured,
            plan.most.state(),
        ),
        // Of a pool this is what it has reserved.
        (
            "between steps",
            if kind.on_host {
                measured.rest
            } else {
                plan.rest.total()
            },
            plan.rest.total(),
        ),
    ];
    let mut line = format!("{:4} {batch:?} {name:40}", config.hidden_size);
    let mut wrong = Vec::new();
    for (what, measured, planned) in figures {
        let ratio = planned as f64 / measured as f64;
        let _ = write!(line, " {what} {:.2} MB x {ratio:.3}", measured as f64 / 1e6);
        // A tied matrix, or a layer's in several micro-batches, has two gradients until they are added up, of which the
        // trainer counts the sum.
        let is_added_up = config.tie_word_embeddings || kind.grad_accum_steps > 1;
        let is_counted_once = is_added_up && what == "gradients" && (1.0..2.01).contains(&ratio);
        if (ratio - 1.0).abs() > 0.1 && !is_counted_once {
            wrong.push(format!("{name}: {what} is {measured}, planned were {planned}"));
        }
    }
    println!(
        "{line} at {}; measured peak {:.2} MB, planned {:.2} MB",
        plan.moment.name(),
        measured.memory.peak_bytes as f64 / 1e6,
        plan.peak_bytes() as f64 / 1e6
    );
    wrong
}

fn assert_all(kind: &Kind, cases: impl IntoIterator<Item = (LlamaConfig, [usize; 2], String)>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if kind.on_host {
        // Threads, tables and workspaces of the backend are made once, and are no run's.
        let (config, rows, tokens) = &sizes()[2];
        for name in ["lora:8", "adamw"] {
            let method = Method::parse(name).unwrap();
            measured(config, [*rows, *tokens], &method, &Kind::default());
        }
    }
    println!("{kind:?}");
    let cases = cases.into_iter();
    let wrong: Vec<_> = cases
        .flat_map(|(config, batch, name)| differences(&config, batch, &name, kind))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Smaller ones, for software Vulkan.
#[cfg(feature = "wgpu")]
fn small_sizes() -> [(LlamaConfig, usize, usize); 3] {
    [
        (LlamaConfig::new(256, 64, 176, 2, 2), 2, 32),
        (
            LlamaConfig::new(300, 96, 256, 2, 3).with_tie_word_embeddings(true),
            3,
            16,
        ),
        (
            LlamaConfig::new(512, 128, 344, 2, 4).with_num_key_value_heads(2),
            1,
            64,
        ),
    ]
}

/// Every method at every size.
fn every_method_at(
    sizes: [(LlamaConfig, usize, usize); 3],
) -> impl Iterator<Item = (LlamaConfig, [usize; 2], String)> {
    sizes.into_iter().flat_map(|(config, rows, tokens)| {
        let methods = methods().into_iter();
        methods.map(move |name| (config.clone(), [rows, tokens], name))
    })
}

/// Every method at the last of the sizes with another batch.
fn with(batch: [usize; 2]) -> impl Iterator<Item = (LlamaConfig, [usize; 2], String)> {
    let (config, ..) = sizes()[2].clone();
    let methods = methods().into_iter();
    methods.map(move |name| (config.clone(), batch, name))
}

#[test]
fn the_plan_of_every_method_is_what_is_measured_at_three_sizes() {
    assert_all(&Kind::default(), every_method_at(sizes()));
}

#[test]
fn the_plan_of_a_layer_wise_backward_is_what_is_measured_at_three_sizes() {
    assert_all(&Kind::layer_wise(), every_method_at(sizes()));
}

#[test]
fn where_activations_are_few_the_update_and_the_gradients_are_as_planned() {
    assert_all(&Kind::default(), with([1, 16]));
    assert_all(&Kind::layer_wise(), with([1, 16]));
}

#[test]
fn without_clipping_a_layer_wise_step_holds_what_is_planned() {
    let kind = Kind {
        clipped: false,
        ..Kind::layer_wise()
    };
    assert_all(&kind, with([1, 16]));
}

#[test]
fn micro_batches_add_up_as_planned() {
    for kind in [Kind::default(), Kind::layer_wise()] {
        let kind = Kind {
            grad_accum_steps: 3,
            ..kind
        };
        let few = |(_, _, name): &(LlamaConfig, [usize; 2], String)| {
            ["adamw", "blockllm:0.5+probes=0", "galore:8+svd=randomized"].contains(&name.as_str())
        };
        assert_all(&kind, with([1, 64]).filter(few));
        let kind = Kind {
            clipped: false,
            ..kind
        };
        assert_all(&kind, with([1, 64]).filter(few));
    }
}

#[test]
fn in_half_precision_masters_and_conversions_are_as_planned() {
    for kind in [Kind::default(), Kind::layer_wise()] {
        let kind = Kind {
            weights: WeightType::Bf16,
            ..kind
        };
        assert_all(&kind, with([2, 256]));
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu_what_is_in_use_is_what_is_planned() {
    for kind in [Kind::default(), Kind::layer_wise()] {
        let kind = Kind {
            on_host: false,
            ..kind
        };
        assert_all(&kind, every_method_at(small_sizes()));
    }
}
