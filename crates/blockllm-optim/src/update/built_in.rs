//! What the built-in update rules share: checks of their settings, weight decay, their records.
use crate::OptimError;
use burn::tensor::Tensor;
use serde::Serialize;

/// What the built-in rules share, each with its name in records.
macro_rules! built_in {
    ($name:literal) => {
        fn validate(&self) -> Result<(), OptimError> {
            self.check()
        }

        fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
            let rule = Self {
                weight_decay: 0.0,
                ..*self
            };
            (self.weight_decay > 0.0).then(|| Box::new(rule) as Box<dyn UpdateRule>)
        }

        fn settings(&self) -> serde_json::Value {
            recorded($name, self)
        }
    };
}
pub(super) use built_in;

/// A rule's settings behind its name, as [`Update`](super::Update) writes them.
pub(super) fn recorded(rule: &'static str, settings: &impl Serialize) -> serde_json::Value {
    #[derive(Serialize)]
    struct Named<'a, T> {
        rule: &'static str,
        #[serde(flatten)]
        settings: &'a T,
    }
    serde_json::to_value(Named { rule, settings }).expect("a rule's settings have only string keys")
}

/// `change` with the decoupled decay of `weight`.
pub(super) fn decayed(
    change: Tensor<1>,
    weight: Tensor<1>,
    learning_rate: f64,
    weight_decay: f32,
) -> Tensor<1> {
    if weight_decay > 0.0 {
        change - weight.mul_scalar(learning_rate * f64::from(weight_decay))
    } else {
        change
    }
}

pub(super) fn unit(field: &'static str, value: f32) -> Result<(), OptimError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(OptimError::Setting {
        field,
        value: value.to_string(),
        mend: "use a number in [0, 1)",
    })
}

pub(super) fn not_negative(field: &'static str, value: f32) -> Result<(), OptimError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(OptimError::Setting {
        field,
        value: value.to_string(),
        mend: "use a number of 0 or more",
    })
}
