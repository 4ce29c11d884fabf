//! The family's Adam, and the moments of one parameter, in the subspace or in full.
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Adam as galore-torch and `apollo_torch` have it: `w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)`, then
/// `w -= lr decay w`.
///
/// `eps` is added before the bias correction, and the decay acts on the weight already updated: both differ from
/// [`AdamW`](crate::AdamW).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaLoreAdam {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay, of projected and plain weights alike.
    pub weight_decay: f64,
}

impl Default for GaLoreAdam {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.0,
        }
    }
}

/// First and second moment, `[k]` each, in f32.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub first: Tensor<1>,
    pub second: Tensor<1>,
}

impl Moments {
    /// Takes in a gradient, and returns `m / (sqrt(v) + eps)`.
    ///
    /// # Shapes
    /// `gradient` and output: `[k]`; no `moments` yet means zeros.
    pub fn update(moments: &mut Option<Self>, rule: &GaLoreAdam, gradient: Tensor<1>) -> Tensor<1> {
        let fresh_first = gradient.clone().mul_scalar(1.0 - rule.beta_1);
        let fresh_second = gradient.square().mul_scalar(1.0 - rule.beta_2);
        let (first, second) = match moments.take() {
            None => (fresh_first, fresh_second),
            Some(Self { first, second }) => (
                first.mul_scalar(rule.beta_1) + fresh_first,
                second.mul_scalar(rule.beta_2) + fresh_second,
            ),
        };
        let direction = first.clone() / second.clone().sqrt().add_scalar(rule.epsilon);
        *moments = Some(Self { first, second });
        direction
    }

    /// Entries of one moment, `k`.
    pub fn entries(&self) -> u64 {
        self.first.dims()[0] as u64
    }
}

impl GaLoreAdam {
    /// `lr sqrt(1 - b2^t) / (1 - b1^t)` at step `t`, counted from 1.
    pub(crate) fn step_size(&self, learning_rate: f64, step: u64) -> f64 {
        let step = step as f64;
        learning_rate * (1.0 - self.beta_2.powf(step)).sqrt() / (1.0 - self.beta_1.powf(step))
    }
}
