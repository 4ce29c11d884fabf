//! Update rules on the trained entries: flat state arrays in, the change of the weights out; the built-in ones in a list.
mod adamw;
mod built_in;
mod lion;
mod rule;
mod sgd;

pub use adamw::AdamW;
pub use lion::Lion;
pub use rule::{StepContext, UpdateRule};
pub use sgd::Sgd;

use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Makes [`Update`] of the list below: each line is a name in records and on the command line, and the rule that it stands for.
macro_rules! built_in_rules {
    ($($name:literal => $rule:ident,)*) => {
        /// A built-in update rule with its settings.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "rule")]
        pub enum Update {
            $(
                #[doc = concat!("The rule `", $name, "`.")]
                #[serde(rename = $name)]
                $rule($rule),
            )*
        }

        $(
            impl From<$rule> for Update {
                fn from(rule: $rule) -> Self {
                    Self::$rule(rule)
                }
            }
        )*

        impl Update {
            /// The names that [`from_name`](Self::from_name) knows.
            pub fn names() -> &'static [&'static str] {
                &[$($name),*]
            }

            /// The rule of that name with its default settings, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($rule::default().into()),)*
                    _ => None,
                }
            }

            /// The rule itself.
            pub fn rule(&self) -> &dyn UpdateRule {
                match self {
                    $(Self::$rule(rule) => rule,)*
                }
            }

            /// With another decoupled decay.
            #[must_use]
            pub fn with_weight_decay(mut self, decay: f32) -> Self {
                match &mut self {
                    $(Self::$rule(rule) => rule.weight_decay = decay,)*
                }
                self
            }
        }
    };
}

// In the order in which errors and `--help` have them. **A new rule is a file, its name above, and a line here.**
built_in_rules! {
    "adamw" => AdamW,
    "sgd" => Sgd,
    "lion" => Lion,
}

impl Default for Update {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

/// Whichever it is.
impl UpdateRule for Update {
    fn state_arrays(&self) -> usize {
        self.rule().state_arrays()
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        self.rule().update(context, weight, gradient, state)
    }

    fn processed(&self, state_step: u64, state: &[Tensor<1>]) -> Tensor<1> {
        self.rule().processed(state_step, state)
    }

    fn joining(&self, state_step: u64, gradient: Tensor<1>) -> Vec<Tensor<1>> {
        self.rule().joining(state_step, gradient)
    }

    fn fused(&self) -> Option<FusedRule> {
        self.rule().fused()
    }

    fn validate(&self) -> Result<(), OptimError> {
        self.rule().validate()
    }

    fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
        self.rule().without_decay()
    }

    fn settings(&self) -> serde_json::Value {
        self.rule().settings()
    }

    fn is_non_negative(&self, array: usize) -> bool {
        self.rule().is_non_negative(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_by_itself_is_recorded_as_the_update_that_it_is() {
        let rule = |name: &&str| Update::from_name(name).unwrap();
        let written: Vec<_> = Update::names().iter().map(rule).collect();
        for (update, name) in written.iter().zip(Update::names()) {
            let json = serde_json::to_value(update).unwrap();
            assert_eq!(update.settings(), json);
            assert_eq!(json["rule"], *name);
        }
        // Run records and checkpoints hold it, letter by letter.
        let expected = [
            r#"{"rule":"adamw","beta_1":0.9,"beta_2":0.999,"epsilon":1e-8,"weight_decay":0.0}"#,
            r#"{"rule":"sgd","momentum":0.9,"weight_decay":0.0}"#,
            r#"{"rule":"lion","beta_1":0.9,"beta_2":0.99,"weight_decay":0.0}"#,
        ];
        for (update, json) in written.iter().zip(expected) {
            assert_eq!(serde_json::to_string(update).unwrap(), json);
            assert_eq!(serde_json::from_str::<Update>(json).unwrap(), *update);
        }
        assert_eq!((written.len(), written[0]), (3, Update::default()));
    }
}
