//! The rows of the laws table: every policy, rule and baseline, and the choices that change what is trained.
use crate::training::{tiny_llama, wide_llama};
use blockllm::model::llama::LlamaConfig;
use blockllm::policy::{FixedSettings, PolicyConfig};
use blockllm::train::{BlockMethod, Method, TrainConfig, WeightType};

/// Selections and refreshes every few steps, so that every run here has several.
const PATIENCE: usize = 3;

/// What stands behind the name of a method whose weights are not f32.
const HALF: &str = " in bf16";

/// One method.
pub struct Case {
    /// As the command line names it.
    pub name: String,
    pub method: Method,
    /// A learning rate at which it learns a batch by heart.
    pub learning_rate: f64,
    pub weights: WeightType,
}

impl Case {
    /// How it is trained, steps and rate aside.
    pub fn config(&self) -> TrainConfig {
        TrainConfig {
            weights: self.weights,
            ..TrainConfig::default()
        }
    }

    /// Parameters of fewer than 4,096 entries keep their moments in f32: where codes are asked for, there are larger ones.
    pub fn model(&self) -> LlamaConfig {
        if self.is_coded() {
            wide_llama()
        } else {
            tiny_llama()
        }
    }

    /// Whether moments are 8-bit codes.
    pub fn is_coded(&self) -> bool {
        self.name.contains("int8")
    }

    /// Whether weights are rounded to bf16.
    pub fn is_half(&self) -> bool {
        self.weights == WeightType::Bf16
    }
}

const NAMES: [(&str, f64); 39] = [
    ("adamw", 1e-2),
    ("blockllm:0.8", 1e-2),
    ("blockllm:0.8+norm=processed+moments=carried-over", 1e-2),
    ("blockllm:0.8+refresh=each-step+mask=per-parameter", 1e-2),
    ("blockllm:0.8+inactive=0.05+smoothing=clamp-one", 1e-2),
    ("blockllm-sgd:0.8", 5e-3),
    ("blockllm-whitened:0.8", 2e-3),
    ("scale", 1e-2),
    ("blockllm:0.8+state=int8", 1e-2),
    ("adamw+state=int8", 1e-2),
    ("blockllm:0.8+threshold=512", 1e-2),
    ("blockllm:0.6+mask=none", 1e-2),
    ("blockllm:0.8+partition=decoder-layer", 1e-2),
    ("blockllm:0.8 in bf16", 1e-2),
    ("blockllm:0.8+half=stochastic in bf16", 1e-2),
    ("adamw in bf16", 1e-2),
    ("galore:4 in bf16", 3e-2),
    ("blockllm:0.8+rule=sgd", 0.3),
    ("blockllm:0.8+rule=lion", 3e-3),
    ("blockllm-no-visits:0.8+sweep=full", 1e-2),
    ("suboptimal:0.8+partition=module", 1e-2),
    ("magnitude:0.8", 1e-2),
    ("random:0.8", 1e-2),
    ("cyclic:0.8", 1e-2),
    ("importance:0.8", 1e-2),
    ("misa:0.8", 1e-2),
    ("misa:0.8+partition=module", 1e-2),
    ("random:0.8+policy=blocks:3+policy=unbiased:true", 1e-2),
    ("blockllm:0.8+score=principal-weights:2+unit=input", 1e-2),
    ("blockllm:0.8+score=smallest-weights+recovery=1.01", 1e-2),
    ("epsilon-greedy:0.8", 1e-2),
    ("official-compat:0.6", 1e-2),
    ("all", 1e-2),
    ("lora:4", 3e-2),
    ("galore:4", 3e-2),
    ("galore:4+svd=randomized", 3e-2),
    ("apollo-mini", 1e-2),
    ("badam:1", 1e-2),
    ("lisa:1", 1e-2),
];

/// Every row.
pub fn cases() -> Vec<Case> {
    let case = |(name, learning_rate): &(&str, f64)| {
        let (typed, weights) = name
            .strip_suffix(HALF)
            .map_or((*name, WeightType::F32), |typed| (typed, WeightType::Bf16));
        Case {
            name: (*name).to_owned(),
            method: Method::parse(typed).unwrap().with_patience(PATIENCE),
            learning_rate: *learning_rate,
            weights,
        }
    };
    NAMES.iter().map(case).chain([fixed()]).collect()
}

/// A named set of blocks, which no single word on the command line can give.
fn fixed() -> Case {
    let mut method = Method::parse("all").unwrap();
    if let Some(blocks) = method.algorithm.get_mut::<BlockMethod>() {
        let name = |layer: usize| format!("model.layers.{layer}.mlp.down_proj.weight");
        blocks.policy = PolicyConfig::Fixed(FixedSettings {
            blocks: vec![name(0), name(1), "lm_head.weight".into()],
        });
    }
    method.label = "fixed".into();
    Case {
        name: "fixed".into(),
        method,
        learning_rate: 1e-2,
        weights: WeightType::F32,
    }
}
