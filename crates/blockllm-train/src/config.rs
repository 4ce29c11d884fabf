//! Settings of a training run.
use crate::{Schedule, TrainError};
use blockllm_model::hf::WeightDtype;
use blockllm_optim::{cast_module, check_dtype};
use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

/// In what the weights are kept while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightType {
    /// 4 bytes per parameter.
    #[default]
    F32,
    /// 2 bytes per parameter; methods that train blocks keep f32 master copies of the trained entries.
    Bf16,
}

impl From<WeightType> for WeightDtype {
    fn from(weights: WeightType) -> Self {
        match weights {
            WeightType::F32 => Self::F32,
            WeightType::Bf16 => Self::BF16,
        }
    }
}

impl WeightType {
    /// Refuses a device that cannot compute in this type, before a model is made on it.
    ///
    /// # Errors
    /// Names the device.
    pub fn check(self, device: &Device) -> Result<(), TrainError> {
        Ok(check_dtype(device, WeightDtype::from(self).into())?)
    }

    /// `model` in this type.
    ///
    /// # Errors
    /// When its device cannot compute in it.
    pub fn cast<M: Module>(self, model: M) -> Result<M, TrainError> {
        match self {
            Self::F32 => Ok(model),
            Self::Bf16 => Ok(cast_module(model, DType::BF16)?),
        }
    }
}

impl std::str::FromStr for WeightType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{text}` is neither f32 nor bf16")),
        }
    }
}

/// How the backward pass goes; losses and gradients are the same but for rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backward {
    /// Layer by layer where the whole pass would not fit into the device's memory, which
    /// [`resolve`](Self::resolve) finds out before a run; [`train`](crate::train) itself knows no sizes and goes whole.
    #[default]
    Auto,
    /// All activations are kept until the pass comes back to them: the fastest.
    Whole,
    /// One layer's activations and gradients at a time, each layer computed once more: the smallest.
    LayerWise,
}

impl std::str::FromStr for Backward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "whole" => Ok(Self::Whole),
            "layer-wise" => Ok(Self::LayerWise),
            _ => Err(format!("`{text}` is not auto, whole or layer-wise")),
        }
    }
}

/// When the device is compared with flex before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenToCheck {
    /// On every device that is a card, in a binary that has flex.
    #[default]
    OnGpu,
    /// On every device but flex itself; also on software Vulkan.
    Always,
    /// Nowhere.
    Never,
}

/// What becomes of a step whose loss or gradient norm is not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadSteps {
    /// The run ends, and its batches are written down.
    #[default]
    Stop,
    /// Its batches are left out and counted, and the step is made with the next ones. It costs a look at every step's norm
    /// before its update; layer by layer all gradients of the step wait for that look. Several bad steps one after the
    /// other end the run, since then it is the weights that are broken.
    Skip,
}

impl BadSteps {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl std::str::FromStr for BadSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stop" => Ok(Self::Stop),
            "skip" => Ok(Self::Skip),
            _ => Err(format!("`{text}` is neither stop nor skip")),
        }
    }
}

/// How long and how fast a run trains; what is trained is the [`Method`](crate::Method)'s matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Micro-batches per optimizer step; their gradients are averaged by counted tokens.
    pub grad_accum_steps: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course.
    pub schedule: Schedule,
    /// Global gradient norm that is clipped to; none when absent.
    pub max_grad_norm: Option<f64>,
    /// Decoupled weight decay of methods that have none of their own (`weight-decay=RATE`).
    pub weight_decay: f32,
    /// Optimizer steps between evaluations; 0 evaluates only before and after.
    pub evaluate_every: u64,
    /// Evaluations without a better one after which the run stops early; 0 never stops it.
    pub stop_after: u64,
    /// In what the weights are kept.
    pub weights: WeightType,
    /// How the backward pass goes.
    pub backward: Backward,
    /// Steps between looks at a GPU's memory pool, each of which waits for the device. On flex the allocator counts, and
    /// this changes nothing.
    pub memory_sample_every: u64,
    /// Whether the device is compared with flex before the first step.
    pub self_check: WhenToCheck,
    /// What becomes of a step whose loss or gradient norm is not a number.
    #[serde(skip_serializing_if = "BadSteps::is_default")]
    pub bad_steps: BadSteps,
    /// Seed of initial weights, data order and policy.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 600,
            grad_accum_steps: 1,
            learning_rate: 1e-3,
            schedule: Schedule::default(),
            max_grad_norm: Some(1.0),
            weight_decay: 0.0,
            evaluate_every: 0,
            stop_after: 0,
            weights: WeightType::F32,
            backward: Backward::Auto,
            memory_sample_every: 50,
            self_check: WhenToCheck::OnGpu,
            bad_steps: BadSteps::Stop,
            seed: 0,
        }
    }
}

impl TrainConfig {
    /// Whether all gradients of a step exist at once, layer by layer too: they wait for the norm that they are clipped to, or
    /// to be looked at where bad steps are skipped.
    pub fn holds_all_gradients(&self) -> bool {
        self.max_grad_norm.is_some() || self.bad_steps == BadSteps::Skip
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the field that is out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse = |field, value: String, mend: &str| {
            Err(TrainError::Setting {
                field,
                value,
                mend: mend.to_owned(),
            })
        };
        if self.steps == 0 {
            return refuse("steps", "0".into(), "train at least one step");
        }
        if self.grad_accum_steps == 0 {
            return refuse(
                "grad_accum_steps",
                "0".into(),
                "use at least one micro-batch per step",
            );
        }
        if self.memory_sample_every == 0 {
            return refuse(
                "memory_sample_every",
                "0".into(),
                "look at the pool at least now and then, such as every 50 steps",
            );
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return refuse(
                "learning_rate",
                self.learning_rate.to_string(),
                "use a positive number such as 1e-3",
            );
        }
        self.schedule.validate()
    }
}
