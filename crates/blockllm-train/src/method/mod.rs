//! Training methods, a room each: blocks of parameters by a policy, LoRA adapters, `GaLore`, APOLLO-Mini; presets such as dense `AdamW`.
//!
//! A room is a [`TrainingMethod`]: settings with the table that they are read by, the optimizer, what fine-tuning changes,
//! the memory plan, learning rates. A new one of ours is a file here and a line in `list`; one of your own needs no line.
mod adamw;
mod algorithm;
mod apollo;
mod badam;
mod blockllm_sgd;
mod blockllm_whitened;
mod blocks;
mod fine_tuning;
mod galore;
mod group_settings;
mod hands;
mod lisa;
mod list;
mod lora;
mod low_rank;
mod methods;
mod named_method;
mod number;
mod parse;
mod preset_paths;
mod room;
mod run_settings;
mod scale;
mod setting;
mod testing;
mod training_method;

pub use algorithm::Algorithm;
pub use apollo::ApolloMethod;
pub use blocks::{BlockMethod, PolicySettings};
pub use fine_tuning::FineTuning;
pub use galore::GaLoreMethod;
pub use lora::LoraMethod;
pub use methods::Methods;
pub use named_method::NamedMethod;
pub use number::{count, share};
pub use preset_paths::PresetPaths;
pub use run_settings::RunSettings;
pub use setting::{Given, Setting};
pub use training_method::{LearningRates, MethodObject, TrainingMethod};

use crate::{TrainConfig, TrainError, TrainingOptimizer};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// What is trained, and by which rule it is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// As it was asked for; names the run's folder and its row in the tables.
    pub label: String,
    /// The rule.
    pub algorithm: Algorithm,
    /// The settings that its name brings, in their order; the algorithm holds them already.
    pub settings: Vec<(String, String)>,
    /// Its own peak learning rate; the run's when absent.
    pub learning_rate: Option<f64>,
}

impl Method {
    /// A method from this crate or another, which no command line has named.
    pub fn of<T: TrainingMethod>(label: impl Into<String>, method: T) -> Self {
        Self {
            label: label.into(),
            algorithm: Algorithm::of(method),
            settings: Vec::new(),
            learning_rate: None,
        }
    }

    /// Dense `AdamW`: every block, every entry.
    pub fn adamw() -> Self {
        Self::of("adamw", adamw::dense())
    }

    /// The same method with another patience, interval between selections, or gap between projections.
    #[must_use]
    pub fn with_patience(mut self, patience: usize) -> Self {
        self.algorithm.set_patience(patience);
        self
    }

    /// The same method with what a run sets for all its methods; settings in its name win.
    ///
    /// # Errors
    /// When a setting in its name does not fit the run's.
    pub fn for_run(mut self, settings: &RunSettings<'_>) -> Result<Self, TrainError> {
        self.algorithm.set_for_run(settings);
        self.with_own_settings()
    }

    /// This method for fine-tuning: the fresh head is trained at every step, and the method takes its own settings for it
    /// ([`TrainingMethod::fine_tune`]). Settings in the method's name win over these.
    #[must_use]
    pub fn fine_tuning(mut self, parts: &FineTuning) -> Self {
        self.algorithm.fine_tune(parts);
        let mut method = self
            .with_own_settings()
            .expect("the settings were taken when the name was read");
        method.algorithm.train_always(&parts.fresh);
        method
    }

    /// A name for the run's folder: the label with only letters, digits, `.`, `-` and `_`.
    pub fn folder_name(&self, seed: u64) -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '-'
            }
        };
        format!("{}-{seed}", self.label.chars().map(safe).collect::<String>())
    }

    /// The module as this method trains it: with adapters for LoRA, else as it is.
    ///
    /// # Errors
    /// When a setting does not fit the module, or this program cannot train such modules by the method.
    pub fn adapt<M: Module + 'static>(&self, module: M, config: &TrainConfig) -> Result<M, TrainError> {
        let hand = self.algorithm.hand::<M>()?;
        (hand.adapt)(&*self.algorithm, module, config)
    }

    /// Builds the optimizer for an [adapted](Self::adapt) module.
    ///
    /// # Errors
    /// When a setting is out of its range or does not fit the module, or this program cannot train such modules by the
    /// method.
    pub fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        let hand = self.algorithm.hand::<M>()?;
        (hand.optimizer)(&*self.algorithm, module, config)
    }
}
