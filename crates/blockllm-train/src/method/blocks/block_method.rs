//! The settings of a method that trains blocks, and the block optimizer's that they give.
use super::policy::PolicySettings;
use crate::TrainError;
use crate::method::group_settings::{self, Grouped};
use crate::method::preset_paths::PresetPaths;
use blockllm_optim::{
    BlockOptimizerConfig, CarriedMoments, Groups, HalfWeights, InactiveRule, MaskRefresh, MaskScope,
    MaskScore, MaskThreshold, MaskUnit, Measured, MomentPrecision, NormKind, Recovery, SweepMode, Update,
};
use blockllm_policy::{ParamInfo, Partition, PolicyConfig, Role, Roles, Take, VisitSmoothing, path_matches};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// Path patterns of the always-trained parameters; each must match.
    pub always: Vec<String>,
    /// What is always trained beside these, as far as it is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub always_of_preset: PresetPaths,
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
    /// Over what the mask's threshold is taken, or that there is no mask.
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
    /// Its own decoupled weight decay; the run's when absent. It is the update rule's: entries that it does not train, which stand
    /// still or move by the inactive rule, do not decay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
    /// The update rule of the trained entries; the weight decay above, or else the run's, replaces its own.
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
            always_of_preset: PresetPaths::default(),
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
            weight_decay: None,
            update: Update::default(),
        }
    }

    /// Whether it chooses among blocks by a sparsity.
    pub(super) fn chooses(&self) -> bool {
        self.sparsity > 0.0
    }

    /// The roles in a model with parameters at `paths`. What is asked for by name must be there; of what the preset brings, what
    /// is not there, such as the head of a model whose head is the embedding, is left out.
    fn roles(&self, paths: &[&str]) -> Roles {
        self.roles_with(|pattern| paths.iter().any(|path| path_matches(pattern, path)))
    }

    /// The roles with those patterns of the preset that are `kept`.
    pub(super) fn roles_with(&self, kept: impl Fn(&str) -> bool) -> Roles {
        let patterns = self.always_of_preset.patterns().iter();
        let of_preset = patterns.filter(|pattern| kept(pattern));
        let of_preset = of_preset.map(|pattern| (*pattern).to_owned());
        Roles {
            always: of_preset.chain(self.always.iter().cloned()).collect(),
            never: self.never.clone(),
        }
    }
}

impl<P: PolicySettings> BlockMethod<P> {
    /// The block optimizer's settings in a model with these `parameters`, but for those that are the run's; its weight decay where
    /// it is known.
    pub(super) fn config(
        &self,
        parameters: &[&ParamInfo],
        weight_decay: Option<f32>,
    ) -> Result<BlockOptimizerConfig, TrainError> {
        let paths: Vec<_> = parameters.iter().map(|info| info.path.as_str()).collect();
        let weight_decay = self.weight_decay.or(weight_decay);
        let rate = weight_decay.unwrap_or_default();
        let config = BlockOptimizerConfig {
            partition: Partition::from_name(&self.partition)?,
            roles: self.roles(&paths),
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
            update: Arc::new(self.update.with_weight_decay(rate)),
            ..BlockOptimizerConfig::new(self.sparsity)
        };
        let config = self.policy.configure(config);
        self.check_decay(rate, parameters, &config)?;
        group_settings::check_decay(&config.groups, weight_decay)?;
        Ok(config)
    }

    /// Refuses a weight decay of `rate` that would act on none of `parameters`: under SCALE no matrix is trained by the update
    /// rule.
    fn check_decay(
        &self,
        rate: f32,
        parameters: &[&ParamInfo],
        config: &BlockOptimizerConfig,
    ) -> Result<(), TrainError> {
        let decays = |info: &&ParamInfo| {
            config.roles.role(&info.path) == Role::Always && config.groups.decays_at(&info.path, &info.shape)
        };
        if rate <= 0.0 || self.policy.build()?.take() != Take::Nothing || parameters.iter().any(decays) {
            return Ok(());
        }
        Err(TrainError::Setting {
            field: "weight_decay",
            value: rate.to_string(),
            mend: "here it would act on nothing: all matrices move by a rule that has none, and norms and biases do not decay; leave \
                   it out, set decay=all, or name matrices to train in always="
                .into(),
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<P> Grouped for BlockMethod<P> {
    fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    fn weight_decay(&mut self) -> &mut Option<f32> {
        &mut self.weight_decay
    }
}
