//! `apollo-mini`: APOLLO-Mini (arXiv 2412.05270), everything is trained, large matrices along their gradients in full.
//!
//! How long a matrix's update is, Adam says in a random subspace of rank 1: one gain per tensor.
use super::fine_tuning::decoder_matrices;
use super::group_settings::{self, Grouped};
use super::low_rank;
use super::{FineTuning, Given, LearningRates, NamedMethod, Setting, TrainingMethod, count};
use crate::memory::plan::{ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_optim::{ApolloConfig, Groups, LowRankConfig, LowRankOptimizer};
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
                let gap = given.number()?;
                check(given, |config| config.update_proj_gap = gap)?;
                apollo.update_proj_gap = gap;
                Ok(())
            }),
            Setting::new(
                "scale",
                "X",
                "its square root is the factor of the matrices' updates",
                |apollo, given| {
                    let scale = given.number()?;
                    check(given, |config| config.scale = scale)?;
                    apollo.scale = scale;
                    Ok(())
                },
            ),
            Setting::new(
                "norm-growth",
                "GROWTH",
                "the most that the norm of a matrix's update grows by in a step, 1 or more",
                |apollo, given| {
                    let growth = given.number()?;
                    check(given, |config| config.norm_growth = growth)?;
                    apollo.norm_growth = growth;
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

/// Refuses a value that the optimizer refuses in settings that are else its own.
fn check(given: Given<'_>, change: impl FnOnce(&mut ApolloConfig)) -> Result<(), String> {
    let mut config = ApolloConfig::default();
    change(&mut config);
    given.checked(LowRankConfig::from(config).validate())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::plan::Part;
    use crate::method::Method;
    use crate::method::testing::{
        FULL, assert_counts, assert_method_not_made, assert_refused, assert_refused_alike, fine_tuned,
        for_run, heeded, named, optimizer, planned, planned_state, rates, state_bytes, with_patience,
    };

    #[test]
    fn the_number_is_the_rank_and_1_without_one() {
        let pretraining = ApolloMethod {
            rank: 1,
            update_proj_gap: 200,
            scale: 128.0,
            norm_growth: 1.01,
            targets: vec!["self_attn".into(), "mlp".into()],
            groups: Groups::default(),
            weight_decay: None,
        };
        assert_eq!(named::<ApolloMethod>("apollo-mini"), pretraining);
        let of_rank_2 = ApolloMethod {
            rank: 2,
            ..pretraining
        };
        assert_eq!(named::<ApolloMethod>("apollo-mini:2"), of_rank_2);
        assert_counts("apollo-mini", "rank");
    }

    #[test]
    fn its_settings_are_read_and_a_wrong_one_is_told() {
        let expected = ApolloMethod {
            update_proj_gap: 50,
            scale: 64.0,
            norm_growth: 1.5,
            ..ApolloMethod::mini(1)
        };
        let found = named::<ApolloMethod>("apollo-mini+gap=50+scale=64+norm-growth=1.5");
        assert_eq!(found, expected);
        for (setting, told) in [
            ("gap=often", "gap=often: invalid digit found in string"),
            ("scale=large", "scale=large: invalid float literal"),
            ("norm-growth=none", "norm-growth=none: invalid float literal"),
            ("gap=0", "gap=0: refresh after at least 1 step"),
            ("scale=-1", "scale=-1: use a number of 0 or more"),
            ("norm-growth=0.9", "norm-growth=0.9: use a number of 1 or more"),
        ] {
            assert_refused(&format!("apollo-mini+{setting}"), told);
        }
    }

    #[test]
    fn fine_tuning_it_projects_the_model_s_matrices_and_changes_nothing_else() {
        let parts = FineTuning::encoder(Vec::new());
        let expected = ApolloMethod {
            targets: vec!["layer".into()],
            ..ApolloMethod::mini(1)
        };
        assert_eq!(fine_tuned::<ApolloMethod>("apollo-mini", &parts), expected);
        let of_the_name = ApolloMethod {
            scale: 64.0,
            ..expected
        };
        let found = fine_tuned::<ApolloMethod>("apollo-mini+scale=64", &parts);
        assert_eq!(found, of_the_name);
    }

    #[test]
    fn its_gap_is_what_it_has_for_a_patience_and_no_run_s_replaces_it() {
        assert_eq!(heeded("apollo-mini"), [""; 0]);
        assert_eq!(for_run::<ApolloMethod>("apollo-mini"), ApolloMethod::mini(1));
        let asked = ApolloMethod {
            update_proj_gap: 40,
            ..ApolloMethod::mini(1)
        };
        assert_eq!(with_patience::<ApolloMethod>("apollo-mini"), asked);
    }

    #[test]
    fn its_learning_rate_is_higher_in_pretraining_alone() {
        let expected = LearningRates {
            pretraining: 1e-2,
            ..rates("adamw")
        };
        assert_eq!(rates("apollo-mini"), expected);
    }

    #[test]
    fn its_plan_has_a_projection_moments_in_its_subspace_and_a_norm_for_its_matrices() {
        let scheme = planned("apollo-mini");
        assert_eq!(scheme.selected, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((scheme.kept_entries(), scheme.state_with_update), (164, true));
        let state = |text: &str| planned_state(text, &scheme.parameters[1], 24, FULL);
        // Of a matrix of 4 x 6: one number for each of 4 rows, two for each of 6 columns, the norm.
        let of_rank = |rank: u64| {
            let kept = 4 * rank + 2 * 6 * rank + 1;
            let state = ParameterState::default().with(Part::Moments, 4 * kept);
            state.with_update(4 * 24)
        };
        assert_eq!(state("apollo-mini"), of_rank(1));
        assert_eq!(state("apollo-mini:2"), of_rank(2));
        let matrices = 4 * (4 + 2 * 6 + 1) + 4 * (4 + 2 * 8 + 1);
        let rest = 8 * (48 + 4 + 4 + 4 + 48);
        assert_eq!(state_bytes("apollo-mini", &scheme), matrices + rest);
    }

    #[test]
    fn no_step_waits_for_all_gradients() {
        let method = Method::parse("apollo-mini").unwrap().algorithm;
        let scheme = planned("apollo-mini");
        let waits = [true, false].map(|is_first| method.waits_for_all(&scheme, is_first));
        assert_eq!(waits, [false, false]);
    }

    #[test]
    fn its_optimizer_trains_all_and_projects_the_matrices_of_attention_and_mlp() {
        let made = optimizer(&Method::parse("apollo-mini").unwrap()).unwrap();
        let found: &LowRankOptimizer = made.get().unwrap();
        assert_eq!(found.trainable_parameters().len(), 21);
        let projected = found.projected_parameters();
        assert_eq!(projected.len(), 14);
        let is_meant = |path: &&str| path.contains(".self_attn.") || path.contains(".mlp.");
        assert!(projected.iter().all(is_meant), "{projected:?}");
    }

    #[test]
    fn a_setting_out_of_its_range_is_refused_by_plan_and_optimizer() {
        type Edit = fn(&mut ApolloMethod);
        let edits: [(Edit, &str); 3] = [
            (
                |apollo| apollo.update_proj_gap = 0,
                "`update_proj_gap` is 0: refresh after at least 1 step",
            ),
            (
                |apollo| apollo.scale = -1.0,
                "`scale` is -1: use a number of 0 or more",
            ),
            (
                |apollo| apollo.norm_growth = 0.9,
                "`norm_growth` is 0.9: use a number of 1 or more",
            ),
        ];
        for (edit, told) in edits {
            let mut apollo = ApolloMethod::mini(1);
            edit(&mut apollo);
            assert_method_not_made(&Method::of("apollo-mini", apollo), told);
        }
    }

    #[test]
    fn targets_that_match_no_matrix_are_refused_by_a_plan_in_the_words_of_the_optimizer() {
        let method = ApolloMethod {
            targets: vec!["mlp".into(), "attn".into()],
            ..ApolloMethod::mini(1)
        };
        assert_refused_alike(&Method::of("apollo-mini", method), "attn");
    }
}
