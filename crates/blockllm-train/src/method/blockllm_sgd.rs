//! `blockllm-sgd`: BlockLLM on its budget, and normalised SGD on all else, so that no weight stands still.
use super::number::share;
use super::{BlockMethod, NamedMethod};
use blockllm_optim::InactiveRule;
use blockllm_policy::{BlockLlmSettings, PolicyConfig};

/// The sparsity without a number.
const SPARSITY: f64 = 0.95;

/// Steps without a falling loss, until the run's scale sets its own.
const PATIENCE: usize = 100;

/// The preset `blockllm-sgd`, with a sparsity.
pub(super) enum BlockLlmSgd {}

impl NamedMethod for BlockLlmSgd {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["blockllm-sgd"]
    }

    fn example(name: &str) -> String {
        format!("{name}:0.8")
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        Ok(BlockMethod::blockllm_sgd(share("sparsity", number, SPARSITY)?))
    }
}

impl BlockMethod {
    /// BlockLLM at `sparsity`, and by normalised SGD (SCALE, arXiv 2506.16659) whatever it does not train: the other blocks and
    /// the masked-out entries of its own, the head along a momentum. Embeddings have thirty times the rate.
    /// In fine-tuning embeddings have no more than the others, and of a language model what is not trained a tenth, without a
    /// momentum.
    ///
    /// At each step all gradients exist, one layer's at a time where the backward pass goes layer by layer. State is that of
    /// the budget, and the head's momentum.
    pub fn blockllm_sgd(sparsity: f64) -> Self {
        let settings = BlockLlmSettings { patience: PATIENCE };
        let mut method = Self::new(PolicyConfig::BlockLlm(settings), sparsity);
        method.inactive = Some(InactiveRule::normalised().with_momentum([InactiveRule::HEAD]));
        method.groups.embeddings = 30.0;
        method
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{
        assert_not_made, assert_refused, assert_sparsities, fine_tuned, for_run, heeded, named, planned,
        planned_with, rates, state_bytes, trainable, with_patience,
    };
    use crate::method::{FineTuning, LearningRates, Method, TrainingMethod};
    use blockllm_optim::{Direction, Groups, NormKind, Reach};

    /// The method at `sparsity` with all that it brings.
    fn whole(sparsity: f64, patience: usize) -> BlockMethod {
        let policy = PolicyConfig::BlockLlm(BlockLlmSettings { patience });
        BlockMethod {
            inactive: Some(InactiveRule {
                direction: Direction::Normalised,
                scale: 1.0,
                reach: Reach::All,
                masked_out: true,
                momentum: vec!["head".into()],
            }),
            groups: Groups {
                embeddings: 30.0,
                ..Groups::default()
            },
            ..BlockMethod::new(policy, sparsity)
        }
    }

    #[test]
    fn the_number_is_the_sparsity_and_95_percent_without_one() {
        assert_eq!(named::<BlockMethod>("blockllm-sgd:0.5"), whole(0.5, 100));
        assert_eq!(named::<BlockMethod>("blockllm-sgd"), whole(0.95, 100));
        assert_sparsities("blockllm-sgd");
    }

    #[test]
    fn its_settings_are_read_over_what_it_brings_and_a_wrong_one_is_told() {
        let found = named::<BlockMethod>("blockllm-sgd+embedding-rate=7+inactive=0.5+momentum=none");
        let mut expected = whole(0.95, 100);
        expected.groups.embeddings = 7.0;
        expected.inactive = Some(InactiveRule {
            scale: 0.5,
            momentum: Vec::new(),
            ..expected.inactive.unwrap()
        });
        assert_eq!(found, expected);
        let wrong = "blockllm-sgd+embedding-rate=high";
        assert_refused(wrong, "embedding-rate=high: invalid float literal");
    }

    #[test]
    fn it_takes_what_a_run_sets_for_all_its_methods() {
        let all = ["always", "never", "norm", "partition", "probes"];
        assert_eq!(heeded("blockllm-sgd"), all);
        let expected = BlockMethod {
            partition: "module".into(),
            always: vec!["score".into()],
            never: vec!["model.norm".into()],
            norm: NormKind::Grad,
            probes: 7,
            ..whole(0.95, 40)
        };
        assert_eq!(for_run::<BlockMethod>("blockllm-sgd"), expected);
        assert_eq!(with_patience::<BlockMethod>("blockllm-sgd"), whole(0.95, 40));
    }

    #[test]
    fn fine_tuning_a_classifier_all_move_at_one_rate_unless_the_name_says_otherwise() {
        let expected = BlockMethod {
            groups: Groups::default(),
            ..whole(0.95, 100)
        };
        let fresh = vec!["classifier.out_proj.weight".to_owned()];
        let with_fresh = BlockMethod {
            always: fresh.clone(),
            ..expected.clone()
        };
        let tuned = |fresh: &[String]| {
            fine_tuned::<BlockMethod>("blockllm-sgd", &FineTuning::encoder(fresh.to_vec()))
        };
        assert_eq!((tuned(&[]), tuned(&fresh)), (expected, with_fresh));
        let parts = FineTuning::encoder(fresh);
        let of_the_name = fine_tuned::<BlockMethod>("blockllm-sgd+embedding-rate=7", &parts);
        assert_eq!(of_the_name.groups.embeddings.to_bits(), 7.0_f64.to_bits());
    }

    #[test]
    fn fine_tuning_a_language_model_the_rest_moves_slowly_unless_the_name_says_otherwise() {
        let tuned = |text: &str| fine_tuned::<BlockMethod>(text, &FineTuning::language_model());
        // What was measured under these words is what the name stands for (docs/method.md).
        let measured = "blockllm:0.95+inactive=0.1+direction=normalised+masked-out=move";
        assert_eq!(tuned("blockllm-sgd"), named::<BlockMethod>(measured));
        let rule = |text: &str| tuned(text).inactive.unwrap();
        let momentum = rule("blockllm-sgd+momentum=head").momentum;
        assert_eq!(momentum, [InactiveRule::HEAD]);
        let scales = ["blockllm-sgd+inactive=0.5", "blockllm-sgd:0.5"].map(|text| rule(text).scale);
        // Where half of all entries are trained, the others keep the rate.
        assert_eq!(scales.map(f64::to_bits), [0.5_f64, 1.0].map(f64::to_bits));
    }

    #[test]
    fn its_learning_rates_are_those_of_full_training_but_for_language_models() {
        let expected = LearningRates {
            language_models: 1e-4,
            ..rates("adamw")
        };
        assert_eq!(rates("blockllm-sgd"), expected);
        let tuned = fine_tuned::<BlockMethod>("blockllm-sgd", &FineTuning::language_model());
        assert_eq!(tuned.learning_rates(), expected);
        assert_eq!(rates("blockllm-sgd:0.5"), rates("adamw"));
    }

    #[test]
    fn its_plan_has_gradients_of_all_and_state_of_its_budget_and_of_the_head_s_momentum() {
        // A tenth of 164 entries is 17, all of them in the head.
        let scheme = planned_with("blockllm-sgd:0.9", "lm_head.weight");
        assert_eq!((&*scheme.selected, scheme.kept_entries()), (&[6][..], 17));
        assert_eq!(scheme.probed, [0, 1, 2, 3, 4, 5]);
        assert_eq!(scheme.momenta, 4 * 48);
        assert!(scheme.scratch.values().all(|bytes| *bytes == 0));
        // Two moments and an index for each.
        assert_eq!(state_bytes("blockllm-sgd:0.9", &scheme), 17 * (8 + 4) + 4 * 48);
        // What is always trained never moves by the rule.
        assert_eq!(planned("blockllm-sgd:0.5+always=lm_head").momenta, 0);
        assert_eq!(planned("blockllm-sgd:0.9+momentum=none").momenta, 0);
    }

    #[test]
    fn its_optimizer_may_change_every_parameter() {
        let method = Method::parse("blockllm-sgd:0.8").unwrap();
        assert_eq!(trainable(&method).len(), 21);
    }

    #[test]
    fn settings_that_do_not_go_together_or_are_out_of_range_are_refused() {
        assert_refused("blockllm-sgd+patience=0", "patience=0: use 1 or more");
        assert_refused("blockllm-sgd+inactive=0", "inactive=0: use a positive number");
        assert_not_made("blockllm-sgd+recovery=1.01", "moves masked-out entries already");
    }
}
