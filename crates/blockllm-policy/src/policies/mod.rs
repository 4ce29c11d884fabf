//! The built-in policies, one file each, and their names on the command line.
mod all;
mod at_least_one;
mod blockllm;
mod cyclic;
mod epsilon_greedy;
mod fixed;
mod importance;
mod magnitude;
mod misa;
mod nothing;
mod official_compat;
mod random;

pub use all::All;
pub use blockllm::{BlockLlmPolicy, NormOrder};
pub use cyclic::{Cyclic, CyclicOrder};
pub use epsilon_greedy::EpsilonGreedy;
pub use fixed::Fixed;
pub use importance::Importance;
pub use magnitude::Magnitude;
pub use misa::Misa;
pub use nothing::Nothing;
pub use official_compat::OfficialCompat;
pub use random::RandomBlocks;

use crate::{Policy, PolicyError};
use serde::{Deserialize, Serialize};

/// A built-in policy with its settings, as configuration files and the command line give it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each variant is documented by the policy it names")]
pub enum PolicyConfig {
    #[serde(rename = "blockllm")]
    BlockLlm {
        patience: usize,
    },
    #[serde(rename = "blockllm-no-visits")]
    BlockLlmNoVisits {
        patience: usize,
    },
    Suboptimal {
        patience: usize,
    },
    Magnitude {
        interval: u64,
    },
    Random {
        interval: u64,
        blocks: Option<usize>,
        #[serde(default, skip_serializing_if = "is_false")]
        unbiased: bool,
    },
    Cyclic {
        interval: u64,
        order: CyclicOrder,
        blocks: Option<usize>,
    },
    Importance {
        interval: u64,
        temperature: f64,
    },
    Misa {
        interval: u64,
        eta: f64,
        decay: f64,
    },
    EpsilonGreedy {
        patience: usize,
        epsilon: f64,
        decay: f64,
    },
    OfficialCompat {
        interval: u64,
        patience: usize,
    },
    Fixed {
        blocks: Vec<String>,
    },
    All,
    Nothing,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The policies that a single word on the command line gives, with their default settings.
const NAMES: [&str; 11] = [
    "blockllm",
    "blockllm-no-visits",
    "suboptimal",
    "magnitude",
    "random",
    "cyclic",
    "importance",
    "misa",
    "epsilon-greedy",
    "official-compat",
    "all",
];

impl PolicyConfig {
    /// The names that [`from_name`](Self::from_name) knows.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// The policy of that name with its default settings.
    ///
    /// # Errors
    /// When there is none; the error lists the names.
    pub fn from_name(name: &str) -> Result<Self, PolicyError> {
        let (patience, interval) = (100, 100);
        Ok(match name {
            "blockllm" => Self::BlockLlm { patience },
            "blockllm-no-visits" => Self::BlockLlmNoVisits { patience },
            "suboptimal" => Self::Suboptimal { patience },
            "magnitude" => Self::Magnitude { interval },
            "random" => Self::Random {
                interval,
                blocks: None,
                unbiased: false,
            },
            "cyclic" => Self::Cyclic {
                interval,
                order: CyclicOrder::Ascending,
                blocks: None,
            },
            "importance" => Self::Importance {
                interval,
                temperature: 1.0,
            },
            "misa" => Self::Misa {
                interval: 50,
                eta: 500.0,
                decay: 0.9,
            },
            "epsilon-greedy" => Self::EpsilonGreedy {
                patience,
                epsilon: 1.0,
                decay: 0.9,
            },
            "official-compat" => Self::OfficialCompat {
                interval: 1000,
                patience,
            },
            "all" => Self::All,
            _ => {
                return Err(PolicyError::UnknownPolicy {
                    name: name.to_owned(),
                    known: NAMES.join(", "),
                });
            }
        })
    }

    /// Sets one of its fields to what `value` says, as a configuration file would.
    ///
    /// # Errors
    /// When it has no such field, or the value is none of its; the error lists the fields.
    pub fn set(&mut self, field: &str, value: &str) -> Result<(), PolicyError> {
        let mut json = serde_json::to_value(&*self).expect("a policy's settings have only string keys");
        let fields = json.as_object_mut().expect("a policy is an object");
        let refuse = |mend| {
            Err(PolicyError::Setting {
                field: "policy",
                value: format!("{field}:{value}"),
                mend,
            })
        };
        let known = |field: &str| field != "name";
        // One that is not written while it is as it was.
        if matches!(self, Self::Random { .. }) {
            fields.entry("unbiased").or_insert(false.into());
        }
        if !(known(field) && fields.contains_key(field)) {
            let names: Vec<_> = fields
                .keys()
                .map(String::as_str)
                .filter(|field| known(field))
                .collect();
            let names = if names.is_empty() {
                "no settings".into()
            } else {
                names.join(", ")
            };
            return refuse(format!("this policy has {names}"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        fields.insert(field.to_owned(), value);
        match serde_json::from_value(json) {
            Ok(set) => *self = set,
            Err(error) => return refuse(error.to_string()),
        }
        Ok(())
    }

    /// Builds it.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn build(&self) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(match self.clone() {
            Self::BlockLlm { patience } => Box::new(BlockLlmPolicy::new(patience)?),
            Self::BlockLlmNoVisits { patience } => {
                Box::new(BlockLlmPolicy::new(patience)?.with_order(NormOrder::LargestIgnoringVisits))
            }
            Self::Suboptimal { patience } => {
                Box::new(BlockLlmPolicy::new(patience)?.with_order(NormOrder::SmallestIgnoringVisits))
            }
            Self::Magnitude { interval } => Box::new(Magnitude::new(interval)?),
            Self::Random {
                interval,
                blocks,
                unbiased,
            } => Box::new(RandomBlocks::new(interval, blocks)?.unbiased(unbiased)?),
            Self::Cyclic {
                interval,
                order,
                blocks,
            } => Box::new(Cyclic::new(interval, order, blocks)?),
            Self::Importance {
                interval,
                temperature,
            } => Box::new(Importance::new(interval, temperature)?),
            Self::Misa { interval, eta, decay } => Box::new(Misa::new(interval, eta, decay)?),
            Self::EpsilonGreedy {
                patience,
                epsilon,
                decay,
            } => Box::new(EpsilonGreedy::new(patience, epsilon, decay)?),
            Self::OfficialCompat { interval, patience } => Box::new(OfficialCompat::new(interval, patience)?),
            Self::Fixed { blocks } => Box::new(Fixed::new(blocks)?),
            Self::All => Box::new(All),
            Self::Nothing => Box::new(Nothing),
        })
    }
}
