//! Methods that train blocks of parameters: a policy, a budget, and the choices of the block optimizer.
mod plan;
mod policy;
mod settings;

pub use policy::PolicySettings;

use super::group_settings::Grouped;
use super::{
    FineTuning, LearningRates, NamedMethod, RunSettings, Setting, TrainingMethod, lisa, scale, share,
};
use crate::memory::plan::{Change, ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, CarriedMoments, Groups, HalfWeights, InactiveRule, MaskRefresh,
    MaskScope, MaskScore, MaskThreshold, MaskUnit, Measured, MomentPrecision, NormKind, Recovery, SweepMode,
    Update, parameters,
};
use blockllm_policy::{Partition, PolicyConfig, Role, Roles, VisitSmoothing, path_matches};
use burn::module::Module;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// From this sparsity on a method takes, and needs, the higher learning rates of the sparse ones.
const SPARSE: f64 = 0.8;

/// Arrays as long as a masked parameter that recovery scaling computes with, in f32.
const RECOVERY_ARRAYS: u64 = 6;

/// The sparsity of a policy that is named without one.
const SPARSITY: f64 = 0.95;

/// A policy, its budget, and what matters to a comparison; the choices are those of [`BlockOptimizerConfig`].
///
/// `P` is what the policy is known by: one of ours, or [`PolicySettings`] of your own, which then has all settings here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockMethod<P = PolicyConfig> {
    /// The policy; `all` with sparsity 0 is dense `AdamW`.
    pub policy: P,
    /// `s` in `[0, 1)`.
    pub sparsity: f64,
    /// `tensor`, `module` or `decoder-layer`.
    pub partition: String,
    /// Path patterns of the always-trained parameters.
    pub always: Vec<String>,
    /// Path patterns of the never-trained parameters.
    pub never: Vec<String>,
    /// The norm that the policy ranks by.
    pub norm: NormKind,
    /// Probes per step.
    pub probes: usize,
    /// Whose norms are measured beside those of what is trained.
    #[serde(default)]
    pub measured: Measured,
    /// How the first norms are measured.
    pub sweep: SweepMode,
    /// How visits become a frequency.
    pub visit_smoothing: VisitSmoothing,
    /// Over what the mask's threshold is taken.
    pub mask: MaskScope,
    /// How exactly it is found.
    pub threshold: MaskThreshold,
    /// When the mask is made anew.
    pub refresh: MaskRefresh,
    /// What a selection's entries are ranked by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: MaskScore,
    /// What is trained or left out as one inside a matrix.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unit: MaskUnit,
    /// What becomes of the moments at a selection.
    pub moments: CarriedMoments,
    /// In what the moments are kept.
    pub moment_precision: MomentPrecision,
    /// How trained weights in half precision are kept.
    #[serde(default)]
    pub half_weights: HalfWeights,
    /// What the blocks outside the selection do.
    pub inactive: Option<InactiveRule>,
    /// How masked-out entries of selected parameters follow those that are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Over how many of its first steps the updates of fresh state grow to their full length; none when 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ramp: u64,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    #[serde(default, skip_serializing_if = "Groups::is_default")]
    pub groups: Groups,
    /// The update rule of the trained entries; the run's weight decay replaces its own.
    pub update: Update,
}

impl<P> BlockMethod<P> {
    /// `policy` at `sparsity`, one block per tensor, RMS norms, two probes.
    pub fn new(policy: P, sparsity: f64) -> Self {
        Self {
            policy,
            sparsity,
            partition: "tensor".into(),
            always: vec![],
            never: vec![],
            norm: NormKind::default(),
            probes: 2,
            measured: Measured::default(),
            sweep: SweepMode::Grouped(4),
            visit_smoothing: VisitSmoothing::default(),
            mask: MaskScope::default(),
            threshold: MaskThreshold::default(),
            refresh: MaskRefresh::default(),
            score: MaskScore::default(),
            unit: MaskUnit::default(),
            moments: CarriedMoments::default(),
            moment_precision: MomentPrecision::default(),
            half_weights: HalfWeights::default(),
            inactive: None,
            recovery: None,
            ramp: 0,
            groups: Groups::default(),
            update: Update::default(),
        }
    }

    /// Whether it chooses among blocks by a sparsity.
    fn chooses(&self) -> bool {
        self.sparsity > 0.0
    }

    /// The roles in a model with parameters at `paths`. What is asked for by name must be there; of a preset's own list, what
    /// is not there, such as the head of a model whose head is the embedding, is left out.
    fn roles(&self, paths: &[&str]) -> Roles {
        let mut always = self.always.clone();
        for preset in [lisa::always(), scale::vectors()] {
            if always.starts_with(&preset) {
                always.retain(|pattern| {
                    !preset.contains(pattern) || paths.iter().any(|path| path_matches(pattern, path))
                });
            }
        }
        Roles {
            always,
            never: self.never.clone(),
        }
    }
}

impl<P: PolicySettings> BlockMethod<P> {
    /// The block optimizer's settings in a model with parameters at `paths`, but for those that are the run's.
    fn config(&self, paths: &[&str], weight_decay: f32) -> Result<BlockOptimizerConfig, TrainError> {
        let config = BlockOptimizerConfig {
            partition: Partition::from_name(&self.partition)?,
            roles: self.roles(paths),
            norm: self.norm,
            probes: self.probes,
            measured: self.measured,
            sweep: self.sweep,
            visit_smoothing: self.visit_smoothing,
            mask: self.mask,
            threshold: self.threshold,
            refresh: self.refresh,
            score: Arc::new(self.score),
            unit: self.unit,
            moments: self.moments,
            moment_precision: self.moment_precision,
            half_weights: self.half_weights,
            inactive: self.inactive.clone(),
            recovery: self.recovery,
            ramp: self.ramp,
            groups: self.groups,
            update: Arc::new(self.update.with_weight_decay(weight_decay)),
            ..BlockOptimizerConfig::new(self.sparsity)
        };
        Ok(self.policy.configure(config))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<P> Grouped for BlockMethod<P> {
    fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }
}

impl<P: PolicySettings> NamedMethod for BlockMethod<P> {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        P::names()
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
        let paths: Vec<_> = parameters
            .iter()
            .map(|parameter| parameter.info.path.as_str())
            .collect();
        let settings = BlockOptimizerConfig {
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
            ..self.config(&paths, config.weight_decay)?
        };
        let policy = self.policy.build()?;
        Ok(Box::new(BlockOptimizer::with_boxed_policy(
            module, settings, policy,
        )?))
    }

    /// A checkpoint's embeddings and matrices have learnt already: no group is ahead of the others.
    fn fine_tune(&mut self, parts: &FineTuning) {
        if self.always == lisa::always() {
            self.always.clone_from(&parts.embeddings);
        }
        self.groups = Groups {
            decay: self.groups.decay,
            ..Groups::default()
        };
    }

    fn train_always(&mut self, paths: &[String]) {
        if self.policy.is_all() {
            return;
        }
        let roles = Roles {
            always: self.always.clone(),
            never: self.never.clone(),
        };
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

    fn is_full(&self) -> bool {
        self.policy.is_all() && self.sparsity == 0.0
    }

    fn never(&self) -> &[String] {
        &self.never
    }

    /// Those of sparse ones are of `BlockLLM`: published is the rate of its own runs.
    fn learning_rates(&self) -> LearningRates {
        if self.sparsity < SPARSE || self.inactive.as_ref().is_some_and(|rule| rule.masked_out) {
            return LearningRates::default();
        }
        LearningRates {
            pretraining: 3e-3,
            classifiers: 3e-4,
            language_models: 1e-4,
            from_scratch: 5e-3,
            published: Some(3e-5),
        }
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
