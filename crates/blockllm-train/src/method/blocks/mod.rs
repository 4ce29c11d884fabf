//! Methods that train blocks of parameters: a policy, a budget, and the choices of the block optimizer.
mod block_method;
mod plan;
mod policy;
mod settings;

pub use block_method::BlockMethod;
pub use policy::PolicySettings;

use super::{
    FineTuning, LearningRates, NamedMethod, PresetPaths, RunSettings, Setting, TrainingMethod, share,
};
use crate::memory::plan::{Change, ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, Groups, HalfWeights, MaskRefresh, MaskScope, MaskThreshold,
    MomentPrecision, parameters,
};
use blockllm_policy::Role;
use burn::module::Module;

/// From this sparsity on a method takes, and needs, the higher learning rates of the sparse ones.
const SPARSE: f64 = 0.8;

/// The rate of what is not trained beside that of what is, where all entries of a pretrained language model move: a tenth, at which
/// their noise does not show. A classifier bears one rate for all. Both measured (`docs/method.md`).
const REST_IN_FINE_TUNING: f64 = 0.1;

/// Arrays as long as a masked parameter that recovery scaling computes with, in f32.
const RECOVERY_ARRAYS: u64 = 6;

/// The sparsity of a policy that is named without one.
const SPARSITY: f64 = 0.95;

impl<P: PolicySettings> NamedMethod for BlockMethod<P> {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        P::names()
    }

    /// One that takes every block has no sparsity.
    fn example(name: &str) -> String {
        if P::named(name).is_all() {
            return name.to_owned();
        }
        format!("{name}:0.8")
    }

    fn method(name: &str, sparsity: Option<&str>) -> Result<Self, String> {
        let policy = P::named(name);
        let default = if policy.is_all() { 0.0 } else { SPARSITY };
        Ok(Self::new(policy, share("sparsity", sparsity, default)?))
    }
}

impl<P: PolicySettings> TrainingMethod for BlockMethod<P> {
    fn kind() -> &'static str {
        P::kind()
    }

    fn settings_of() -> &'static str {
        P::settings_of()
    }

    fn settings() -> Vec<Setting<Self>> {
        settings::table()
    }

    fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        let parameters = parameters(module);
        let infos: Vec<_> = parameters.iter().map(|parameter| &parameter.info).collect();
        let settings = BlockOptimizerConfig {
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
            ..self.config(&infos, Some(config.weight_decay))?
        };
        let policy = self.policy.build()?;
        Ok(Box::new(BlockOptimizer::with_boxed_policy(
            module, settings, policy,
        )?))
    }

    /// A checkpoint's embeddings and matrices have learnt already: no group is ahead of the others. Nor has the head a
    /// momentum at such a rate: it is the largest matrix of a small model, tied or not, and its state would be the larger part.
    fn fine_tune(&mut self, parts: &FineTuning) {
        if self.always_of_preset == PresetPaths::AroundLayers {
            self.always_of_preset = PresetPaths::None;
            self.always.clone_from(&parts.embeddings);
        }
        self.groups = Groups {
            decay: self.groups.decay,
            ..Groups::default()
        };
        if self.sparsity >= SPARSE
            && parts.is_language_model
            && let Some(rule) = self.inactive.as_mut().filter(|rule| rule.masked_out)
        {
            rule.scale = REST_IN_FINE_TUNING;
            rule.momentum.clear();
        }
    }

    fn train_always(&mut self, paths: &[String]) {
        if self.policy.is_all() {
            return;
        }
        let roles = self.roles_with(|_| true);
        let missing = paths.iter().filter(|path| roles.role(path) == Role::Candidate);
        self.always.extend(missing.cloned());
    }

    fn set_patience(&mut self, patience: usize) {
        self.policy.set_patience(patience);
    }

    /// Methods without a sparsity, such as `badam` and `lisa`, bring their own blocks, but never train what is never to be
    /// trained either.
    fn set_for_run(&mut self, settings: &RunSettings<'_>) {
        self.policy.set_patience(settings.patience);
        self.never = settings.never.to_vec();
        if self.chooses() {
            settings.partition.clone_into(&mut self.partition);
            self.always = settings.always.to_vec();
            self.always_of_preset = PresetPaths::None;
            self.norm = settings.norm;
            self.probes = settings.probes;
        }
    }

    /// A dense one trains everything always.
    fn heeds(&self, key: &str) -> bool {
        match key {
            "never" => true,
            "always" => self.chooses() || self.policy.is_all(),
            _ => self.chooses(),
        }
    }

    fn sparsity(&self) -> Option<f64> {
        Some(self.sparsity)
    }

    fn set_sparsity(&mut self, sparsity: f64) {
        self.sparsity = sparsity;
    }

    fn trains_all(&self) -> bool {
        self.policy.is_all() && self.sparsity == 0.0
    }

    fn is_baseline(&self) -> bool {
        self.trains_all()
    }

    fn never(&self) -> &[String] {
        &self.never
    }

    /// Those of sparse ones are of `BlockLLM`: published are the rates of its own runs.
    fn learning_rates(&self) -> LearningRates {
        if self.sparsity < SPARSE {
            return LearningRates::default();
        }
        let sparse = LearningRates {
            pretraining: 3e-3,
            classifiers: 3e-4,
            language_models: 1e-4,
            from_scratch: 5e-3,
            published: Some(3e-5),
            published_instructions: Some(1e-5),
        };
        match &self.inactive {
            // Where all entries move at one rate, it is that of full fine-tuning; of a language model the rest is slower.
            Some(rule) if rule.masked_out => LearningRates {
                language_models: sparse.language_models,
                ..LearningRates::default()
            },
            _ => sparse,
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        self.policy.build()?;
        Ok(())
    }

    fn plan(&self, parameters: Vec<PlannedParameter>, step: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        plan::scheme(self, parameters, step)
    }

    fn planned_state(&self, parameter: &PlannedParameter, kept: u64, place: StatePlace) -> ParameterState {
        let update = self
            .policy
            .configure(BlockOptimizerConfig::new(self.sparsity).with_update(self.update))
            .update;
        let arrays = update.state_arrays() as u64;
        let masters = self.half_weights == HalfWeights::Masters;
        let state = ParameterState::sparse(parameter, kept, arrays, self.moment_precision, masters, place);
        if self.recovery.is_some() && kept < parameter.entries {
            return state.with_update(RECOVERY_ARRAYS * 4 * parameter.entries);
        }
        state
    }

    fn waits_for_all(&self, scheme: &Scheme, is_first: bool) -> bool {
        let makes_masks = is_first || self.refresh == MaskRefresh::EachStep;
        let exact = self.threshold == MaskThreshold::Exact;
        let one_for_all = self.mask == MaskScope::Global && scheme.kept_entries() < scheme.selected_entries();
        makes_masks && (!exact || one_for_all)
    }

    fn milder_changes(&self, half: bool, clipped: bool) -> Vec<Change> {
        let masters = half && self.half_weights == HalfWeights::Masters;
        let one_mask = self.mask == MaskScope::Global && self.chooses();
        let possible = [
            (
                self.moment_precision == MomentPrecision::F32,
                Change::Setting("state", "int8"),
            ),
            (masters, Change::Setting("half", "stochastic")),
            (clipped, Change::NoClipping),
            (one_mask, Change::Setting("mask", "per-parameter")),
        ];
        let possible = possible.into_iter().filter(|(is_possible, _)| *is_possible);
        possible.map(|(_, change)| change).collect()
    }

    fn harsher_changes(&self) -> Vec<Change> {
        if self.policy.is_all() {
            return vec![Change::Method("blockllm:0.95".into())];
        }
        let higher = [0.5, 0.9, 0.95, 0.98, 0.99].into_iter();
        let higher = higher.filter(|sparsity| self.chooses() && *sparsity > self.sparsity);
        higher.map(Change::Sparsity).collect()
    }
}

mod tests;
