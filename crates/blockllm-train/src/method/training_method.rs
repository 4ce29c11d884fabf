//! The trait of training methods: one implementation is one room, with all that a method is.
use super::setting::{self, Setting};
use super::{FineTuning, RunSettings};
use crate::memory::plan::{Change, ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use burn::module::Module;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt::Debug;

/// A training method with its settings: a struct that serde writes and reads, since a run is known by them.
///
/// Only [`kind`](Self::kind), [`optimizer`](Self::optimizer) and [`planned_state`](Self::planned_state) have no default: the
/// defaults are those of a method that trains everything and has no settings. `examples/own_method.rs` is one in another
/// crate. What the command line calls it, [`NamedMethod`](super::NamedMethod) says.
///
/// ```
/// use blockllm_policy::{All, PolicyConfig};
/// use blockllm_train::memory::plan::{ParameterState, PlannedParameter, StatePlace};
/// use blockllm_train::{Algorithm, BlockMethod, TrainConfig, TrainError, TrainingMethod, TrainingOptimizer};
/// use burn::module::Module;
/// use burn::nn::Linear;
/// use serde::{Deserialize, Serialize};
///
/// /// Dense `AdamW`, under another name.
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Plain {}
///
/// impl TrainingMethod for Plain {
///     fn kind() -> &'static str {
///         "plain"
///     }
///     fn optimizer<M: Module + 'static>(
///         &self,
///         module: &M,
///         config: &TrainConfig,
///     ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
///         BlockMethod::new(PolicyConfig::All(All), 0.0).optimizer(module, config)
///     }
///     fn planned_state(&self, parameter: &PlannedParameter, kept: u64, place: StatePlace) -> ParameterState {
///         BlockMethod::new(PolicyConfig::All(All), 0.0).planned_state(parameter, kept, place)
///     }
/// }
///
/// let plain = Algorithm::of(Plain {}).for_module::<Plain, Linear>();
/// assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"plain":{}}"#);
/// assert!(plain.get::<Plain>().is_some());
/// ```
pub trait TrainingMethod: MethodObject + Debug + Send + Sync {
    /// Its key in run records, beside which its settings stand.
    fn kind() -> &'static str
    where
        Self: Sized;

    /// Whose settings [`settings`](Self::settings) are, in `--help`; by default its kind.
    fn settings_of() -> &'static str
    where
        Self: Sized,
    {
        Self::kind()
    }

    /// The settings that may follow its name as `+KEY=VALUE`: the one table that is read, told in errors, and shown by
    /// `--help`.
    fn settings() -> Vec<Setting<Self>>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// The module as this method trains it: with adapters for LoRA, else as it is.
    ///
    /// # Errors
    /// When a setting does not fit the module.
    fn adapt<M: Module + 'static>(&self, module: M, config: &TrainConfig) -> Result<M, TrainError>
    where
        Self: Sized,
    {
        let _ = config;
        Ok(module)
    }

    /// The optimizer for an [adapted](Self::adapt) module.
    ///
    /// # Errors
    /// When a setting is out of its range or does not fit the module.
    fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError>
    where
        Self: Sized;

    /// Checks its settings as far as they are wrong whatever the model and the run are. Asked once its name is read; a plan and the
    /// optimizer refuse the same.
    ///
    /// # Errors
    /// When a setting is out of its range, or does not go with another.
    fn check(&self) -> Result<(), TrainError> {
        Ok(())
    }

    /// What changes when it fine-tunes instead of training from scratch; settings in its name win over this.
    fn fine_tune(&mut self, parts: &FineTuning) {
        let _ = parts;
    }

    /// Trains what lies at `paths` at every step, where it would not do so anyway.
    fn train_always(&mut self, paths: &[String]) {
        let _ = paths;
    }

    /// Takes another patience, interval between selections, or gap between projections, where it has one.
    fn set_patience(&mut self, patience: usize) {
        let _ = patience;
    }

    /// Takes what a run sets for all its methods, as far as it [heeds](Self::heeds) it. Settings in its name win over this.
    fn set_for_run(&mut self, settings: &RunSettings<'_>) {
        let _ = settings;
    }

    /// Whether it does what the run's setting `key` (`always`, `never`, `norm`, `partition`, `probes`) asks for.
    fn heeds(&self, key: &str) -> bool {
        let _ = key;
        false
    }

    /// The share of the entries that is not trained at a time, where that can be chosen.
    fn sparsity(&self) -> Option<f64> {
        None
    }

    /// Takes another sparsity in `[0, 1)`, where it has one.
    fn set_sparsity(&mut self, sparsity: f64) {
        let _ = sparsity;
    }

    /// Whether an update rule trains every entry at every step.
    fn trains_all(&self) -> bool {
        true
    }

    /// Whether it is what others are compared with: full training by the block optimizer, as `adamw` names it.
    fn is_baseline(&self) -> bool {
        false
    }

    /// Path patterns of what it never trains.
    fn never(&self) -> &[String] {
        &[]
    }

    /// The peak learning rates that the experiments take where none is given.
    fn learning_rates(&self) -> LearningRates {
        LearningRates::default()
    }

    /// What it trains of `parameters`, on paper: those that it adds included. By default every entry at every step.
    ///
    /// # Errors
    /// When a setting does not fit the model.
    fn plan(&self, parameters: Vec<PlannedParameter>, step: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        let _ = step;
        Ok(Scheme::dense(parameters))
    }

    /// What it keeps of `parameter`, of which `kept` entries are trained, and what an update needs for a moment.
    fn planned_state(&self, parameter: &PlannedParameter, kept: u64, place: StatePlace) -> ParameterState;

    /// Whether a step, the first of a selection or a later one, can update nothing before all its gradients are there;
    /// clipping aside.
    fn waits_for_all(&self, scheme: &Scheme, is_first: bool) -> bool {
        let _ = (scheme, is_first);
        false
    }

    /// Changes that would save memory and leave what it trains as it is, the mildest first.
    fn milder_changes(&self, half: bool, clipped: bool) -> Vec<Change> {
        let _ = (half, clipped);
        Vec::new()
    }

    /// Changes that would save memory since less is trained at a time, the mildest first.
    fn harsher_changes(&self) -> Vec<Change> {
        Vec::new()
    }
}

/// What every [`TrainingMethod`] that is `Clone` and known to serde can do behind a pointer; nothing to implement.
pub trait MethodObject: Any {
    /// Its key in run records.
    fn kind_name(&self) -> &str;

    /// A copy.
    fn boxed(&self) -> Box<dyn TrainingMethod>;

    /// Its settings as they are written down and read back.
    fn to_json(&self) -> serde_json::Value;

    /// Changes the setting `key`.
    ///
    /// # Errors
    /// Says what is wrong and what may stand there.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String>;
}

impl<T: TrainingMethod + Clone + Serialize + DeserializeOwned> MethodObject for T {
    fn kind_name(&self) -> &str {
        T::kind()
    }

    fn boxed(&self) -> Box<dyn TrainingMethod> {
        Box::new(self.clone())
    }

    fn to_json(&self) -> serde_json::Value {
        // Through text, so that an f32 is what it is when it is read back.
        let text = serde_json::to_string(self).expect("a method's settings have only string keys");
        serde_json::from_str(&text).expect("what was just written is JSON")
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        setting::set(&T::settings(), self, key, value)
    }
}

/// Peak learning rates of a method that is given none; those of dense `AdamW` by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRates {
    /// For pretraining a small model: the best of the grids in `docs/experiment-log.md`.
    pub pretraining: f64,
    /// For fine-tuning a small pretrained encoder as a classifier: the best of those runs too, or full fine-tuning's.
    pub classifiers: f64,
    /// For fine-tuning a small pretrained language model, likewise.
    pub language_models: f64,
    /// For a small classifier from random weights, which takes, and needs, larger steps.
    pub from_scratch: f64,
    /// For the published set-up of GLUE, where the method has a published rate of its own.
    pub published: Option<f64>,
    /// For the published instruction tuning of a 7B model, likewise.
    pub published_instructions: Option<f64>,
}

impl Default for LearningRates {
    fn default() -> Self {
        Self {
            pretraining: 1e-3,
            classifiers: 5e-5,
            language_models: 5e-5,
            from_scratch: 1e-3,
            published: None,
            published_instructions: None,
        }
    }
}
