//! Dense `AdamW`: every block, every entry; the block optimizer with the policy `all`.
use super::{BlockMethod, NamedMethod};
use blockllm_policy::{All, PolicyConfig};

/// The preset `adamw`.
pub(super) enum AdamW {}

impl NamedMethod for AdamW {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["adamw"]
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        if number.is_some() {
            return Err("`adamw` trains everything and takes no number".into());
        }
        Ok(dense())
    }
}

/// Its settings.
pub(super) fn dense() -> BlockMethod {
    BlockMethod::new(PolicyConfig::All(All), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::plan::{Change, ParameterState, Part};
    use crate::method::testing::{
        FULL, HALF, assert_not_made, assert_refused, fine_tuned, for_run, heeded, named, parameters, planned,
        planned_state, rates, state_bytes, trainable, with_patience,
    };
    use crate::method::{FineTuning, LearningRates, Method};
    use blockllm_optim::{Lion, Update};

    #[test]
    fn it_takes_every_block_at_sparsity_0_and_no_number() {
        let dense = BlockMethod::new(PolicyConfig::All(All), 0.0);
        assert_eq!(named::<BlockMethod>("adamw"), dense);
        let method = Method::adamw().algorithm;
        assert!(method.trains_all() && method.is_baseline());
        assert_refused("adamw:0.5", "`adamw` trains everything and takes no number");
    }

    #[test]
    fn it_has_the_settings_of_blocks() {
        let expected = BlockMethod {
            never: vec!["model.norm".into()],
            update: Update::from(Lion::default()),
            ..dense()
        };
        let found = named::<BlockMethod>("adamw+never=model.norm+rule=lion");
        assert_eq!(found, expected);
    }

    #[test]
    fn of_what_a_run_sets_only_what_is_never_trained_changes_it() {
        // Always trained is everything.
        assert_eq!(heeded("adamw"), ["always", "never"]);
        let expected = BlockMethod {
            never: vec!["model.norm".into()],
            ..dense()
        };
        assert_eq!(for_run::<BlockMethod>("adamw"), expected);
        assert_eq!(with_patience::<BlockMethod>("adamw"), dense());
    }

    #[test]
    fn fine_tuning_changes_nothing() {
        for parts in [
            FineTuning::language_model(),
            FineTuning::llama(vec!["score.weight".into()]),
        ] {
            assert_eq!(fine_tuned::<BlockMethod>("adamw", &parts), dense());
        }
    }

    #[test]
    fn its_learning_rates_are_those_of_full_training() {
        let expected = LearningRates {
            pretraining: 1e-3,
            classifiers: 5e-5,
            language_models: 5e-5,
            from_scratch: 1e-3,
            published: None,
            published_instructions: None,
        };
        assert_eq!(rates("adamw"), expected);
    }

    #[test]
    fn its_plan_trains_all_and_measures_nothing() {
        let scheme = planned("adamw");
        assert_eq!(scheme.selected, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((scheme.kept_entries(), scheme.momenta), (164, 0));
        let beside = [&scheme.always, &scheme.probed].map(Vec::len);
        assert_eq!((beside, scheme.sweep.len()), ([0, 0], 0));
        assert_eq!(state_bytes("adamw", &scheme), 8 * 164);
        let without = planned("adamw+never=model.norm");
        assert_eq!(without.selected, [0, 1, 2, 3, 4, 6]);
    }

    #[test]
    fn a_parameter_has_two_moments_and_a_master_where_weights_are_half() {
        let matrix = &parameters()[1];
        let moments = ParameterState::default().with(Part::Moments, 2 * 4 * 24);
        assert_eq!(planned_state("adamw", matrix, 24, FULL), moments);
        let with_masters = moments.with(Part::Masters, 4 * 24);
        assert_eq!(planned_state("adamw", matrix, 24, HALF), with_masters);
    }

    #[test]
    fn less_memory_comes_of_coded_state_and_then_of_training_less_at_a_time() {
        let method = Method::adamw().algorithm;
        let coded = Change::Setting("state", "int8");
        let without_masters = Change::Setting("half", "stochastic");
        assert_eq!(
            method.milder_changes(true, true),
            [coded.clone(), without_masters, Change::NoClipping]
        );
        assert_eq!(method.milder_changes(false, false), [coded]);
        assert_eq!(method.harsher_changes(), [Change::Method("blockllm:0.95".into())]);
    }

    #[test]
    fn its_optimizer_trains_every_parameter_but_those_that_it_never_shall() {
        assert_eq!(trainable(&Method::adamw()).len(), 21);
        let without = trainable(&Method::parse("adamw+never=model.norm").unwrap());
        assert_eq!(without.len(), 20);
        assert!(
            without.iter().all(|path| path != "model.norm.weight"),
            "{without:?}"
        );
    }

    #[test]
    fn parameters_that_are_not_there_are_refused_by_plan_and_optimizer() {
        assert_not_made(
            "adamw+never=norms",
            "the role pattern `norms` matches none of the",
        );
    }
}
