//! `blockllm-whitened`: BlockLLM on its budget, and steps along whitened gradients on all else.
use super::number::share;
use super::{BlockMethod, NamedMethod};
use blockllm_optim::{Direction, InactiveRule};

/// The sparsity without a number.
const SPARSITY: f64 = 0.95;

/// The preset `blockllm-whitened`, with a sparsity.
pub(super) enum BlockLlmWhitened {}

impl NamedMethod for BlockLlmWhitened {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["blockllm-whitened"]
    }

    fn example(name: &str) -> String {
        format!("{name}:0.8")
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        Ok(BlockMethod::blockllm_whitened(share(
            "sparsity", number, SPARSITY,
        )?))
    }
}

impl BlockMethod {
    /// [`blockllm_sgd`](Self::blockllm_sgd) with the matrices of attention and MLP moved along their whitened gradients
    /// (SWAN, arXiv 2412.13148), which bear four times the rate: a step of the same length has a far smaller spectral norm.
    /// Embeddings have a hundred times the rate.
    ///
    /// State is the same; a step costs fifteen products along the shorter side of each matrix more, whatever the number of
    /// tokens.
    pub fn blockllm_whitened(sparsity: f64) -> Self {
        let mut method = Self::blockllm_sgd(sparsity);
        method.inactive = Some(InactiveRule {
            direction: Direction::Whitened,
            ..InactiveRule::normalised().with_momentum([InactiveRule::HEAD])
        });
        method.groups.embeddings = 100.0;
        method.groups.matrices = 4.0;
        method
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{
        assert_not_made, assert_refused, assert_sparsities, fine_tuned, for_run, named, planned_with, rates,
        state_bytes, trainable,
    };
    use crate::method::{FineTuning, Method};
    use blockllm_optim::Groups;
    use std::collections::BTreeMap;

    /// What `blockllm-sgd` called `text` is, with whitened gradients.
    fn whitened(text: &str) -> BlockMethod {
        let mut method = named::<BlockMethod>(text);
        method.inactive.as_mut().unwrap().direction = Direction::Whitened;
        method.groups = Groups {
            embeddings: 100.0,
            matrices: 4.0,
            ..Groups::default()
        };
        method
    }

    #[test]
    fn the_number_is_the_sparsity_and_95_percent_without_one() {
        let half = named::<BlockMethod>("blockllm-whitened:0.5");
        assert_eq!(half, whitened("blockllm-sgd:0.5"));
        let without = named::<BlockMethod>("blockllm-whitened");
        assert_eq!(without, whitened("blockllm-sgd:0.95"));
        assert_sparsities("blockllm-whitened");
    }

    #[test]
    fn its_settings_are_read_over_what_it_brings_and_a_wrong_one_is_told() {
        let found = named::<BlockMethod>("blockllm-whitened+matrix-rate=2+direction=normalised");
        let mut expected = named::<BlockMethod>("blockllm-sgd");
        expected.groups.embeddings = 100.0;
        expected.groups.matrices = 2.0;
        assert_eq!(found, expected);
        let wrong = "blockllm-whitened+matrix-rate=high";
        assert_refused(wrong, "matrix-rate=high: invalid float literal");
    }

    #[test]
    fn a_run_sets_for_it_what_it_sets_for_normalised_gradients() {
        let mut expected = for_run::<BlockMethod>("blockllm-sgd");
        let own = whitened("blockllm-sgd");
        (expected.inactive, expected.groups) = (own.inactive, own.groups);
        assert_eq!(for_run::<BlockMethod>("blockllm-whitened"), expected);
    }

    #[test]
    fn fine_tuning_it_has_one_rate_for_all_groups_unless_the_name_says_otherwise() {
        let parts = FineTuning::encoder(Vec::new());
        let tuned = |text: &str| fine_tuned::<BlockMethod>(text, &parts);
        let expected = BlockMethod {
            groups: Groups::default(),
            ..whitened("blockllm-sgd")
        };
        assert_eq!(tuned("blockllm-whitened"), expected);
        let of_the_name = tuned("blockllm-whitened+matrix-rate=2").groups;
        let matrices = Groups {
            matrices: 2.0,
            ..Groups::default()
        };
        assert_eq!(of_the_name, matrices);
    }

    #[test]
    fn fine_tuning_a_language_model_the_rest_moves_slowly_along_whitened_gradients() {
        let parts = FineTuning::language_model();
        let mut expected = fine_tuned::<BlockMethod>("blockllm-sgd", &parts);
        expected.inactive.as_mut().unwrap().direction = Direction::Whitened;
        let found = fine_tuned::<BlockMethod>("blockllm-whitened", &parts);
        assert_eq!(found, expected);
        assert_eq!(rates("blockllm-whitened"), rates("blockllm-sgd"));
    }

    #[test]
    fn its_plan_has_room_to_whiten_each_matrix_of_attention_and_mlp_in() {
        let [whitened, normalised] = ["blockllm-whitened:0.9", "blockllm-sgd:0.9"]
            .map(|text| (text, planned_with(text, "lm_head.weight")));
        // Of 4 x 6 and of 4 x 8 entries in f32 three copies, and three squares of the shorter side.
        let [queries, up] = [24, 32].map(|entries| 3 * 4 * (entries + 4 * 4));
        let rest = [0, 2, 4, 5, 6].map(|param| (param, 0));
        let mut scratch: BTreeMap<usize, u64> = BTreeMap::from(rest);
        scratch.extend([(1, queries), (3, up)]);
        assert_eq!(whitened.1.scratch, scratch);
        let [found, expected] = [whitened, normalised].map(|(text, scheme)| state_bytes(text, &scheme));
        assert_eq!(found, expected);
    }

    #[test]
    fn its_optimizer_may_change_every_parameter() {
        let method = Method::parse("blockllm-whitened:0.8").unwrap();
        assert_eq!(trainable(&method).len(), 21);
    }

    #[test]
    fn a_momentum_of_nothing_is_refused_by_plan_and_optimizer() {
        assert_not_made(
            "blockllm-whitened+momentum=lmhead",
            "`inactive.momentum` is lmhead",
        );
    }
}
