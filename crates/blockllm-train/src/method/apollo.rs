//! `apollo-mini`: APOLLO-Mini (arXiv 2412.05270), everything is trained, large matrices along their gradients in full.
//!
//! How long a matrix's update is, Adam says in a random subspace of rank 1: one gain per tensor.
use super::fine_tuning::decoder_matrices;
use super::group_settings::{self, Grouped};
use super::low_rank;
use super::{FineTuning, LearningRates, NamedMethod, Setting, TrainingMethod, count};
use crate::memory::plan::{ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{ApolloConfig, Groups, LowRankOptimizer};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// APOLLO-Mini on the matrices of attention and MLP, `AdamW` on the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApolloMethod {
    /// Rank of the projected gradients.
    pub rank: usize,
    /// Steps between new projections.
    pub update_proj_gap: u64,
    /// Updates of the matrices are multiplied with its square root.
    pub scale: f64,
    /// The most that the norm of a matrix's update may grow by in a step.
    pub norm_growth: f64,
    /// Path patterns of the matrices whose gradients are projected.
    pub targets: Vec<String>,
    /// The learning rate's multipliers by groups of parameters, and which weights decay.
    #[serde(default, skip_serializing_if = "Groups::is_default")]
    pub groups: Groups,
    /// Its own decoupled weight decay; the run's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
}

impl ApolloMethod {
    /// The authors' pretraining settings: scale 128, a new projection every 200 steps, a growth of 1.01. Their rank is 1.
    pub fn mini(rank: usize) -> Self {
        let ApolloConfig {
            update_proj_gap,
            scale,
            norm_growth,
            ..
        } = ApolloConfig::default();
        Self {
            rank,
            update_proj_gap,
            scale,
            norm_growth,
            targets: decoder_matrices(),
            groups: Groups::default(),
            weight_decay: None,
        }
    }

    fn config(&self, config: &TrainConfig) -> ApolloConfig {
        ApolloConfig {
            rank: self.rank,
            update_proj_gap: self.update_proj_gap,
            scale: self.scale,
            norm_growth: self.norm_growth,
            targets: self.targets.clone(),
            adam: low_rank::adam(self.weight_decay, config),
            groups: self.groups,
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
        }
    }
}

impl Grouped for ApolloMethod {
    fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    fn weight_decay(&mut self) -> &mut Option<f32> {
        &mut self.weight_decay
    }
}

impl NamedMethod for ApolloMethod {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        vec!["apollo-mini"]
    }

    fn method(_: &str, number: Option<&str>) -> Result<Self, String> {
        Ok(Self::mini(count("rank", number, 1)?))
    }
}

impl TrainingMethod for ApolloMethod {
    fn kind() -> &'static str {
        "apollo-mini"
    }

    fn settings() -> Vec<Setting<Self>> {
        let own: Vec<Setting<Self>> = vec![
            Setting::new("gap", "N", "steps between new projections", |apollo, given| {
                given.number_into(&mut apollo.update_proj_gap)
            }),
            Setting::new(
                "scale",
                "X",
                "its square root is the factor of the matrices' updates",
                |apollo, given| given.number_into(&mut apollo.scale),
            ),
            Setting::new(
                "norm-growth",
                "X",
                "the most that the norm of a matrix's update grows by in a step, 1 or more",
                |apollo, given| given.number_into(&mut apollo.norm_growth),
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

    fn fine_tune(&mut self, parts: &FineTuning) {
        self.targets.clone_from(&parts.matrices);
    }

    /// The gap between projections. It is a setting of its own, which no run's patience replaces.
    fn set_patience(&mut self, patience: usize) {
        self.update_proj_gap = patience as u64;
    }

    /// For pretraining that of the authors' scripts, at every size.
    fn learning_rates(&self) -> LearningRates {
        LearningRates {
            pretraining: 1e-2,
            ..LearningRates::default()
        }
    }

    fn plan(&self, parameters: Vec<PlannedParameter>, _: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        low_rank::plan(self.config(&TrainConfig::default()), &self.targets, parameters)
    }

    /// A projection, moments in its subspace and the norm of the last update, or moments over all entries.
    fn planned_state(&self, parameter: &PlannedParameter, _: u64, _: StatePlace) -> ParameterState {
        low_rank::planned_state(parameter, &self.targets, self.rank, 1)
    }
}
