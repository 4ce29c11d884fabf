//! One step of an update rule: the rule, its settings and its rounding, and the numbers that the kernels compute with.

use super::codes::Coding;

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
