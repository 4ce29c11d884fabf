//! By what a method of blocks knows its policy: one of ours, or one of your own.
use blockllm_optim::BlockOptimizerConfig;
use blockllm_policy::{Policy, PolicyConfig, PolicyError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The settings that a policy is built from, as run records have them. With this a policy of your own is a method with all
/// settings of [`BlockMethod`](crate::BlockMethod), under its name on the command line: `NAME:SPARSITY+KEY=VALUE`.
///
/// ```
/// use blockllm_policy::{Policy, PolicyError, RandomBlocks};
/// use blockllm_train::{BlockMethod, Methods, PolicySettings};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct Dice {
///     interval: u64,
/// }
///
/// impl PolicySettings for Dice {
///     fn kind() -> &'static str {
///         "dice"
///     }
///     fn named(_: &str) -> Self {
///         Self { interval: 50 }
///     }
///     fn build(&self) -> Result<Box<dyn Policy>, PolicyError> {
///         Ok(Box::new(RandomBlocks::new(self.interval, None)?))
///     }
/// }
///
/// let methods = Methods::built_in().with::<BlockMethod<Dice>>();
/// let method = methods.parse("dice:0.9+norm=grad")?;
/// assert_eq!(method.algorithm.sparsity(), Some(0.9));
/// # Ok::<(), blockllm_train::TrainError>(())
/// ```
pub trait PolicySettings:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The key of its methods in run records; its name will do.
    fn kind() -> &'static str;

    /// The names on the command line; by default [`kind`](Self::kind).
    fn names() -> Vec<&'static str> {
        vec![Self::kind()]
    }

    /// Whose settings they are, in `--help`.
    fn settings_of() -> &'static str {
        Self::kind()
    }

    /// With default settings, by one of the [`names`](Self::names).
    fn named(name: &str) -> Self;

    /// Builds the policy.
    ///
    /// # Errors
    /// When a setting is out of its range.
    fn build(&self) -> Result<Box<dyn Policy>, PolicyError>;

    /// Changes the block optimizer's settings after all others but the run's clip and seed: a partition, roles, an update rule or
    /// a score of entries of your own ([`with_score`](BlockOptimizerConfig::with_score), by which a policy decides which entries of
    /// its blocks are trained) goes in here. The memory plan follows the first three; what else is changed here it does not know of.
    #[must_use]
    fn configure(&self, config: BlockOptimizerConfig) -> BlockOptimizerConfig {
        config
    }

    /// Takes another patience, or interval between selections, where it has one.
    fn set_patience(&mut self, patience: usize) {
        let _ = patience;
    }

    /// Takes a value for one of its own settings.
    ///
    /// # Errors
    /// Says what may stand there.
    fn set(&mut self, field: &str, value: &str) -> Result<(), String> {
        let _ = value;
        Err(format!("the policy {} has no setting `{field}`", Self::kind()))
    }

    /// Whether it takes every block.
    fn is_all(&self) -> bool {
        false
    }

    /// How many of the probes that a method names it asks for at a step.
    fn probes(&self, named: usize) -> usize {
        named
    }
}

impl PolicySettings for PolicyConfig {
    fn kind() -> &'static str {
        "blocks"
    }

    fn names() -> Vec<&'static str> {
        Self::names()
    }

    fn settings_of() -> &'static str {
        "methods that train blocks (blockllm and the other policies, badam, lisa)"
    }

    fn named(name: &str) -> Self {
        Self::from_name(name).expect("it is one of the names")
    }

    fn build(&self) -> Result<Box<dyn Policy>, PolicyError> {
        Self::build(self)
    }

    fn set_patience(&mut self, patience: usize) {
        Self::set_patience(self, patience);
    }

    fn set(&mut self, field: &str, value: &str) -> Result<(), String> {
        Self::set(self, field, value).map_err(|error| error.to_string())
    }

    fn is_all(&self) -> bool {
        matches!(self, Self::All(_))
    }

    fn probes(&self, named: usize) -> usize {
        Self::probes(self, named)
    }
}
