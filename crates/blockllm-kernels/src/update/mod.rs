//! The update of a parameter: one pass over its trained entries that reads gradient and state once and writes state and
//! weight in place.
//!
//! With the gradient `g` (times the clip factor), the weight `w` in f32, and the state arrays of an entry:
//!
//! - AdamW: `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`; `d = m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)`;
//!   `w += -rate / (1 - b1^t) d - rate decay w`
//! - SGD: `m = momentum m + g`; `w += -rate m - rate decay w`
//! - Lion: `d = sign(b1 m + (1 - b1) g)`; `m = b2 m + (1 - b2) g`; `w += -rate d - rate decay w`
//! - Sign: `w += -rate sign(g)`, without state
//!
//! The operations and their order are those of the compositions in `blockllm-optim`, entry by entry. An entry of which a
//! master copy is kept is changed there in f32, and the weight gets its rounded value; without a copy the weight may be
//! rounded up or down by chance. State in 8-bit codes is decoded, changed and coded again within the pass.
//!
//! Shape legend: `N` entries of the parameter, `K` trained ones.

mod backends;
#[cfg(test)]
mod coded_tests;
mod codes;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(test)]
mod tests;

pub(crate) use backends::ArrayParts;
pub use backends::{Maybe, Places, StateArrays, UpdateBackend, UpdateParts, Updated};
pub use codes::{CODE_BLOCK, CODE_WORDS, Coding, SMALLEST_SCALE, code_blocks};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

/// Marks an entry that is not trained in the first state array of the dense form. No momentum reaches the largest
/// float, and comparing with it is exact on every backend, which NaN is not.
pub const EXCLUDED: f32 = f32::MAX;

/// An update rule that has kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FusedRule {
    /// Adam with decoupled decay: two arrays of state.
    AdamW {
        /// Decay of the first moment.
        beta_1: f32,
        /// Decay of the second moment.
        beta_2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Decoupled decay.
        weight_decay: f32,
    },
    /// SGD with momentum: one array of state.
    Sgd {
        /// Decay of the momentum.
        momentum: f32,
        /// Decoupled decay.
        weight_decay: f32,
    },
    /// The sign of an interpolated momentum: one array of state.
    Lion {
        /// Weight of the momentum in the step.
        beta_1: f32,
        /// Decay of the momentum.
        beta_2: f32,
        /// Decoupled decay.
        weight_decay: f32,
    },
    /// The sign of the gradient: no state.
    Sign,
}

impl FusedRule {
    /// Arrays of state that it keeps per entry.
    pub fn state_arrays(self) -> usize {
        match self {
            Self::AdamW { .. } => 2,
            Self::Sgd { .. } | Self::Lion { .. } => 1,
            Self::Sign => 0,
        }
    }
}

/// One step of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateStep {
    /// The rule and its settings.
    pub rule: FusedRule,
    /// How far to go.
    pub learning_rate: f64,
    /// Steps that the state has seen, this one included: the `t` of the bias correction.
    pub state_step: u64,
    /// How a weight in half precision without a master copy is rounded.
    pub rounding: Rounding,
    /// How the state arrays are coded again, where they are in codes.
    pub codings: [Coding; 2],
}

/// How an updated weight is rounded to its own type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest: steps below half a unit in the last place are lost.
    #[default]
    Nearest,
    /// Up or down by chance, each as probable as the number is near to it: small steps are taken on average. The bits follow
    /// from the seed and the entry's index, whatever the number of threads. (Gupta et al., arXiv 1502.02551; bf16 on every
    /// backend, f16 on the CPU.)
    Stochastic {
        /// Another one for every step of every parameter.
        seed: u64,
    },
}

/// What the kernels multiply with, computed in f64 and rounded once; what a rule has no use for is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coefficients {
    /// Share of the first array that stays, and of the gradient that comes in.
    pub keep_1: f32,
    pub share_1: f32,
    /// The same of the second array; with Lion, of the momentum after the step.
    pub keep_2: f32,
    pub share_2: f32,
    /// The root of the second moment's bias correction.
    pub correction: f32,
    pub epsilon: f32,
    /// What the direction is multiplied with.
    pub scale: f32,
    /// What the weight is multiplied with to be taken away.
    pub decay: f32,
}

impl UpdateStep {
    pub(crate) fn coefficients(&self) -> Coefficients {
        let rate = self.learning_rate;
        let share = |beta: f32| (1.0 - f64::from(beta)) as f32;
        let decay = |weight_decay: f32| (rate * f64::from(weight_decay)) as f32;
        match self.rule {
            FusedRule::AdamW {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
            } => {
                let correction = |beta: f32| 1.0 - f64::from(beta).powf(self.state_step as f64);
                Coefficients {
                    keep_1: beta_1,
                    share_1: share(beta_1),
                    keep_2: beta_2,
                    share_2: share(beta_2),
                    correction: correction(beta_2).sqrt() as f32,
                    epsilon,
                    scale: (-rate / correction(beta_1)) as f32,
                    decay: decay(weight_decay),
                }
            }
            FusedRule::Sgd {
                momentum,
                weight_decay,
            } => Coefficients {
                keep_1: momentum,
                scale: -rate as f32,
                decay: decay(weight_decay),
                ..Coefficients::default()
            },
            FusedRule::Lion {
                beta_1,
                beta_2,
                weight_decay,
            } => Coefficients {
                keep_1: beta_1,
                share_1: share(beta_1),
                keep_2: beta_2,
                share_2: share(beta_2),
                scale: -rate as f32,
                decay: decay(weight_decay),
                ..Coefficients::default()
            },
            FusedRule::Sign => Coefficients {
                scale: -rate as f32,
                ..Coefficients::default()
            },
        }
    }
}

/// Which entries of a parameter are trained, and so how its state is laid out.
#[derive(Clone, Copy, Debug)]
pub enum TrainedEntries<'a> {
    /// Every entry: state arrays of `[N]`.
    All,
    /// Those whose first state array is not [`EXCLUDED`]: state arrays of `[N]`.
    Marked,
    /// Those at these indices, ascending and each only once: state arrays of `[K]`.
    At(&'a Tensor<1, Int>),
}

/// One array of state.
#[allow(
    clippy::large_enum_variant,
    reason = "a parameter has two of them, while it is updated"
)]
#[derive(Clone, Debug)]
pub enum StateArray {
    /// `[N]` or `[K]`, f32.
    F32(Tensor<1>),
    /// In 8-bit codes.
    Int8 {
        /// `[blocks * CODE_WORDS]`, i32.
        words: Tensor<1, Int>,
        /// `[blocks]`, f32.
        scales: Tensor<1>,
    },
}

impl StateArray {
    fn into_parts(self) -> ArrayParts<Dispatch> {
        match self {
            Self::F32(values) => ArrayParts::F32(values.into_dispatch()),
            Self::Int8 { words, scales } => ArrayParts::Int8(words.into_dispatch(), scales.into_dispatch()),
        }
    }

    fn from_parts(parts: ArrayParts<Dispatch>) -> Self {
        match parts {
            ArrayParts::F32(values) => Self::F32(Tensor::from_dispatch(values)),
            ArrayParts::Int8(words, scales) => Self::Int8 {
                words: Tensor::from_dispatch(words),
                scales: Tensor::from_dispatch(scales),
            },
        }
    }
}

/// What an update changes.
#[derive(Debug)]
pub struct Trained {
    /// `[N]`, of any float type.
    pub weight: Tensor<1>,
    /// As many as the rule keeps, over `N` or `K` entries; all in f32, or all in codes.
    pub state: Vec<StateArray>,
    /// The f32 copy of the trained weights, laid out as the state, where one is kept.
    pub master: Option<Tensor<1>>,
}

/// One step of a rule on the trained entries of a parameter; all others keep their bits. Tensors that nobody else holds
/// are changed in place.
///
/// # Shapes
///
/// - gradient: `[N]`, of any float type
/// - clip, what the gradient is multiplied with: `[1]`, f32
///
/// # Panics
///
/// When `of` has not as many state arrays as the rule keeps, or some are coded and some are not.
pub fn update(
    of: Trained,
    gradient: Tensor<1>,
    clip: Option<&Tensor<1>>,
    entries: TrainedEntries<'_>,
    step: UpdateStep,
) -> Trained {
    assert_eq!(of.state.len(), step.rule.state_arrays(), "arrays of state");
    let maybe = |tensor: Option<Tensor<1>>| match tensor {
        Some(tensor) => Maybe::Present(tensor.into_dispatch()),
        None => Maybe::Absent,
    };
    let parts = UpdateParts {
        state: StateArrays::from_vec(of.state.into_iter().map(StateArray::into_parts).collect()),
        master: maybe(of.master),
        clip: maybe(clip.cloned()),
        places: match entries {
            TrainedEntries::All => Places::All,
            TrainedEntries::Marked => Places::Marked,
            TrainedEntries::At(indices) => Places::At(indices.clone().into_dispatch()),
        },
    };
    let updated = Dispatch::update(of.weight.into_dispatch(), gradient.into_dispatch(), parts, step);
    Trained {
        weight: Tensor::from_dispatch(updated.weight),
        state: updated
            .state
            .into_vec()
            .into_iter()
            .map(StateArray::from_parts)
            .collect(),
        master: updated.master.into_option().map(Tensor::from_dispatch),
    }
}
