//! `GaLore` (arXiv 2403.03507): everything is trained, the moments of the large matrices in a low-rank subspace.
use super::fine_tuning::decoder_matrices;
use super::group_settings::{self, Grouped};
use super::low_rank;
use super::{FineTuning, Given, LearningRates, NamedMethod, Setting, TrainingMethod, count};
use crate::memory::plan::{ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{GaLoreConfig, Groups, LowRankConfig, LowRankOptimizer, SvdMethod};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Steps between projections when fine-tuning, and the factor of projected updates: those of its GLUE runs.
const FINE_TUNING_GAP: u64 = 500;
const FINE_TUNING_SCALE: f64 = 4.0;

/// `GaLore` on the matrices of attention and MLP, `AdamW` on the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaLoreMethod {
    /// Rank of the projected gradients.
    pub rank: usize,
    /// Steps between new projections.
    pub update_proj_gap: u64,
    /// Factor of the projected updates.
    pub scale: f64,
    /// How the projections are found.
    pub svd: SvdMethod,
    /// Path patterns of the matrices whose gradients are projected.
    pub targets: Vec<String>,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    #[serde(default, skip_serializing_if = "Groups::is_default")]
    pub groups: Groups,
    /// Its own decoupled weight decay; the run's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
}

impl GaLoreMethod {
    /// `GaLore`'s pretraining settings: scale 0.25, a new projection every 200 steps, exact SVD.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            update_proj_gap: 200,
            scale: 0.25,
            svd: SvdMethod::Exact,
            targets: decoder_matrices(),
            groups: Groups::default(),
            weight_decay: None,
        }
    }

    fn config(&self, config: &TrainConfig) -> GaLoreConfig {
        GaLoreConfig {
            update_proj_gap: self.update_proj_gap,
            scale: self.scale,
            targets: self.targets.clone(),
            svd: self.svd,
            adam: low_rank::adam(self.weight_decay, config),
            groups: self.groups,
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
            ..GaLoreConfig::new(self.rank)
        }
    }
}

impl Grouped for GaLoreMethod {
    fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    fn weight_decay(&mut self) -> &mut Option<f32> {
        &mut self.weight_decay
    }
}

impl NamedMethod for GaLoreMethod {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        vec!["galore"]
    }

    fn example(name: &str) -> String {
        format!("{name}:4")
    }

    fn method(_: &str, number: Option<&str>) -> Result<Self, String> {
        Ok(Self::new(count("rank", number, 64)?))
    }
}

impl TrainingMethod for GaLoreMethod {
    fn kind() -> &'static str {
        "galore"
    }

    fn settings() -> Vec<Setting<Self>> {
        let own: Vec<Setting<Self>> = vec![
            Setting::new(
                "svd",
                "exact|randomized",
                "how the projections are found",
                |galore, given| {
                    galore.svd = match given.value {
                        "exact" => SvdMethod::Exact,
                        "randomized" => SvdMethod::randomized(),
                        _ => return Err(given.refused("exact or randomized")),
                    };
                    Ok(())
                },
            ),
            Setting::new("gap", "N", "steps between new projections", |galore, given| {
                let gap = given.number()?;
                check(given, GaLoreConfig::new(1).with_update_proj_gap(gap))?;
                galore.update_proj_gap = gap;
                Ok(())
            }),
            Setting::new(
                "scale",
                "X",
                "the factor of projected updates",
                |galore, given| {
                    let scale = given.number()?;
                    check(given, GaLoreConfig::new(1).with_scale(scale))?;
                    galore.scale = scale;
                    Ok(())
                },
            ),
        ];
        [own, group_settings::table()].concat()
    }

    fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        config: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        group_settings::check_decay(&self.groups, self.weight_decay.or(Some(config.weight_decay)))?;
        Ok(Box::new(LowRankOptimizer::new(module, self.config(config))?))
    }

    /// Scale 4 and a new projection every 500 steps, as in its runs on GLUE.
    fn fine_tune(&mut self, parts: &FineTuning) {
        self.targets.clone_from(&parts.matrices);
        self.update_proj_gap = FINE_TUNING_GAP;
        self.scale = FINE_TUNING_SCALE;
    }

    /// The gap between projections. It is a setting of its own, which no run's patience replaces.
    fn set_patience(&mut self, patience: usize) {
        self.update_proj_gap = patience as u64;
    }

    fn learning_rates(&self) -> LearningRates {
        LearningRates {
            pretraining: 1e-2,
            ..LearningRates::default()
        }
    }

    fn plan(&self, parameters: Vec<PlannedParameter>, _: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        low_rank::plan(self.config(&TrainConfig::default()), &self.targets, parameters)
    }

    /// A basis and moments in its subspace, or moments over all entries.
    fn planned_state(&self, parameter: &PlannedParameter, _: u64, _: StatePlace) -> ParameterState {
        low_rank::planned_state(parameter, &self.targets, self.rank, 0)
    }

    fn waits_for_all(&self, _: &Scheme, is_first: bool) -> bool {
        is_first && self.svd == SvdMethod::Exact
    }
}

/// Refuses a value that the optimizer refuses in `config`, which has it beside its defaults.
fn check(given: Given<'_>, config: GaLoreConfig) -> Result<(), String> {
    given.checked(LowRankConfig::from(config).validate())
}

mod tests;
