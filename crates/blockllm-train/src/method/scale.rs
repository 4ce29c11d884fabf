//! `scale`: SCALE (arXiv 2506.16659), normalised SGD on all matrices, the head along a momentum, Adam on norms and biases.
use super::{BlockMethod, NamedMethod, PresetPaths};
use blockllm_optim::InactiveRule;
use blockllm_policy::{Nothing, PolicyConfig};

/// The preset `scale`.
pub(super) enum Scale {}

impl NamedMethod for Scale {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["scale"]
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        if number.is_some() {
            return Err("`scale` trains everything and takes no number".into());
        }
        Ok(BlockMethod::scale())
    }
}

impl BlockMethod {
    /// SCALE: the block optimizer with no block selected, so that every matrix moves by the rule for what is not; norms and
    /// biases are always trained. One rate for all, as its paper has it.
    pub fn scale() -> Self {
        let mut method = Self::new(PolicyConfig::Nothing(Nothing), 0.0);
        method.always_of_preset = PresetPaths::Vectors;
        method.inactive = Some(InactiveRule::normalised().with_momentum([InactiveRule::HEAD]));
        method
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{
        assert_not_made, assert_refused, fine_tuned, for_run, heeded, named, optimizer, planned,
        planned_tied, rates, state_bytes, with_patience,
    };
    use crate::method::{FineTuning, Method};
    use blockllm_optim::{BlockOptimizer, Direction, Reach};
    use blockllm_policy::Role;

    /// The method with all that it brings.
    fn whole() -> BlockMethod {
        BlockMethod {
            always_of_preset: PresetPaths::Vectors,
            inactive: Some(InactiveRule {
                direction: Direction::Normalised,
                scale: 1.0,
                reach: Reach::All,
                masked_out: true,
                momentum: vec!["head".into()],
            }),
            ..BlockMethod::new(PolicyConfig::Nothing(Nothing), 0.0)
        }
    }

    #[test]
    fn it_selects_nothing_moves_all_matrices_and_takes_no_number() {
        assert_eq!(named::<BlockMethod>("scale"), whole());
        assert_refused("scale:0.5", "`scale` trains everything and takes no number");
    }

    #[test]
    fn the_settings_of_its_rule_are_read_over_what_it_brings() {
        let expected = BlockMethod {
            inactive: Some(InactiveRule {
                scale: 0.5,
                momentum: vec!["lm_head".into(), "up_proj".into()],
                ..whole().inactive.unwrap()
            }),
            ..whole()
        };
        let found = named::<BlockMethod>("scale+inactive=0.5+momentum=lm_head/up_proj");
        assert_eq!(found, expected);
        let without = named::<BlockMethod>("scale+momentum=none").inactive.unwrap();
        assert_eq!(without.momentum, [""; 0]);
        assert_refused("scale+direction=up", "direction: unknown variant `up`");
    }

    #[test]
    fn of_what_a_run_sets_it_takes_what_is_never_trained_and_fine_tuning_changes_nothing() {
        assert_eq!(heeded("scale"), ["never"]);
        let expected = BlockMethod {
            never: vec!["model.norm".into()],
            ..whole()
        };
        assert_eq!(for_run::<BlockMethod>("scale"), expected);
        assert_eq!(with_patience::<BlockMethod>("scale"), whole());
        for parts in [FineTuning::language_model(), FineTuning::encoder(Vec::new())] {
            assert_eq!(fine_tuned::<BlockMethod>("scale", &parts), whole());
        }
        assert_eq!(rates("scale"), rates("adamw"));
    }

    #[test]
    fn its_plan_has_state_of_the_vectors_and_of_the_head_s_momentum_alone() {
        let scheme = planned("scale");
        assert_eq!(scheme.selected, [0; 0]);
        assert_eq!(
            (&*scheme.always, &*scheme.probed),
            (&[2, 4, 5][..], &[0, 1, 3, 6][..])
        );
        assert_eq!(scheme.momenta, 4 * 48);
        assert_eq!(state_bytes("scale", &scheme), 8 * (4 + 4 + 4) + 4 * 48);
        assert!(scheme.scratch.values().all(|bytes| *bytes == 0));
        let without = planned("scale+momentum=none");
        assert_eq!(state_bytes("scale+momentum=none", &without), 8 * (4 + 4 + 4));
    }

    #[test]
    fn a_head_that_is_the_embedding_has_its_momentum() {
        let tied = planned_tied("scale");
        assert_eq!((&*tied.probed, tied.momenta), (&[0, 1, 3][..], 4 * 48));
        // What is always trained moves by the update rule, and has none.
        let embedding = "embed_tokens/norm/input_layernorm";
        assert_eq!(planned_tied(&format!("scale+always={embedding}")).momenta, 0);
    }

    #[test]
    fn its_optimizer_has_matrices_for_candidates_and_always_trains_the_norms() {
        let made = optimizer(&Method::parse("scale").unwrap()).unwrap();
        let found: &BlockOptimizer = made.get().unwrap();
        let blocks = found.selector().blocks();
        let (always, rest): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.role == Role::Always);
        assert_eq!((always.len(), rest.len()), (5, 16));
        assert!(
            always.iter().all(|block| block.name.contains("norm")),
            "{always:?}"
        );
    }

    #[test]
    fn a_momentum_or_a_decay_of_nothing_is_refused_by_plan_and_optimizer() {
        let told = "`inactive.momentum` is lmhead: no parameter has this in its path";
        assert_not_made("scale+momentum=lmhead", told);
        assert_not_made(
            "scale+weight-decay=0.1",
            "`weight_decay` is 0.1: here it would act on",
        );
        assert_not_made("scale+direction=sign", "`inactive.masked_out` is true");
    }

    #[test]
    fn the_words_of_its_own_list_are_refused_in_one_that_is_named_where_a_model_has_not_all_of_them() {
        let words = PresetPaths::Vectors.patterns().join("/");
        assert_not_made(&format!("scale+always={words}"), "matches none of the");
    }
}
