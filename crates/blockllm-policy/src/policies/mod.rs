//! The built-in policies, one file each, and their names on the command line.
mod all;
mod at_least_one;
mod blockllm;
mod cyclic;
mod epsilon_greedy;
mod fixed;
mod importance;
mod magnitude;
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

/// The policies that a single word on the command line gives, with their default settings.
const NAMES: [&str; 10] = [
    "blockllm",
    "blockllm-no-visits",
    "suboptimal",
    "magnitude",
    "random",
    "cyclic",
    "importance",
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
            Self::Random { interval, blocks } => Box::new(RandomBlocks::new(interval, blocks)?),
            Self::Cyclic {
                interval,
                order,
                blocks,
            } => Box::new(Cyclic::new(interval, order, blocks)?),
            Self::Importance {
                interval,
                temperature,
            } => Box::new(Importance::new(interval, temperature)?),
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
