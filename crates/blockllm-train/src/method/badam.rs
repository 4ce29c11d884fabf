//! `BAdam` (arXiv 2404.02827): decoder layers in turn, whole; the block optimizer with a cyclic policy.
use super::number::count;
use super::{BlockMethod, NamedMethod};
use blockllm_policy::{CyclicOrder, CyclicSettings, PolicyConfig};

/// Steps between selections, until the run's scale sets its own.
const INTERVAL: u64 = 100;

/// The preset `badam`, with a number of layers.
pub(super) enum BAdam {}

impl NamedMethod for BAdam {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["badam"]
    }

    fn example(name: &str) -> String {
        format!("{name}:1")
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        Ok(BlockMethod::badam(
            INTERVAL,
            count("number of layers", number, 1)?,
        ))
    }
}

impl BlockMethod {
    /// `BAdam`: `blocks` decoder layers at a time, whole, in a new random order each cycle. Embeddings, last norm and head
    /// are blocks too, since they would stay random in pretraining.
    pub fn badam(interval: u64, blocks: usize) -> Self {
        let policy = PolicyConfig::Cyclic(CyclicSettings {
            interval,
            order: CyclicOrder::Random,
            blocks: Some(blocks),
        });
        Self {
            partition: "decoder-layer".into(),
            ..Self::new(policy, 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{
        assert_counts, assert_method_not_made, assert_refused, fine_tuned, for_run, heeded, named, optimizer,
        planned, planned_with, rates, state_bytes, with_patience,
    };
    use crate::method::{FineTuning, Method};

    /// `blocks` layers, selected every `interval` steps in this order.
    fn layers(interval: u64, order: CyclicOrder, blocks: usize) -> BlockMethod {
        let policy = PolicyConfig::Cyclic(CyclicSettings {
            interval,
            order,
            blocks: Some(blocks),
        });
        BlockMethod {
            partition: "decoder-layer".into(),
            ..BlockMethod::new(policy, 0.0)
        }
    }

    #[test]
    fn the_number_is_that_of_layers_and_1_without_one() {
        assert_eq!(
            named::<BlockMethod>("badam:2"),
            layers(100, CyclicOrder::Random, 2)
        );
        assert_eq!(named::<BlockMethod>("badam"), layers(100, CyclicOrder::Random, 1));
        assert_counts("badam", "number of layers");
    }

    #[test]
    fn the_settings_of_its_policy_are_read_and_a_wrong_one_is_told() {
        let found = named::<BlockMethod>("badam:2+patience=7+policy=order:descending");
        assert_eq!(found, layers(7, CyclicOrder::Descending, 2));
        assert_refused(
            "badam+policy=order:up",
            "`policy` is order:up: unknown variant `up`",
        );
        assert_refused("badam+policy=eta:1", "`policy` is eta:1: this policy has");
    }

    #[test]
    fn of_what_a_run_sets_it_takes_the_interval_and_what_is_never_trained() {
        assert_eq!(heeded("badam"), ["never"]);
        let expected = BlockMethod {
            never: vec!["model.norm".into()],
            ..layers(40, CyclicOrder::Random, 1)
        };
        assert_eq!(for_run::<BlockMethod>("badam"), expected);
        assert_eq!(
            with_patience::<BlockMethod>("badam"),
            layers(40, CyclicOrder::Random, 1)
        );
        let of_the_name = for_run::<BlockMethod>("badam+patience=7+never=bias");
        let expected = BlockMethod {
            never: vec!["bias".into()],
            ..layers(7, CyclicOrder::Random, 1)
        };
        assert_eq!(of_the_name, expected);
    }

    #[test]
    fn fine_tuning_changes_nothing_and_its_learning_rates_are_those_of_full_training() {
        let tuned = fine_tuned::<BlockMethod>("badam", &FineTuning::language_model());
        assert_eq!(tuned, layers(100, CyclicOrder::Random, 1));
        assert_eq!(rates("badam"), rates("adamw"));
    }

    #[test]
    fn its_plan_has_whole_layers_and_what_lies_around_them_as_blocks_too() {
        let layer = planned_with("badam", "model.layers.1");
        assert_eq!(layer.selected, [3, 4]);
        assert_eq!(layer.kept_entries(), 32 + 4);
        assert_eq!(state_bytes("badam", &layer), 8 * (32 + 4));
        // In a cycle all blocks are met, and the largest cost most: table and head, then the second layer.
        assert_eq!(planned("badam").selected, [0]);
        let three = planned("badam:3");
        assert_eq!(three.selected, [0, 3, 4, 6]);
        assert_eq!(state_bytes("badam:3", &three), 8 * (48 + 32 + 4 + 48));
        assert!(three.always.is_empty() && three.probed.is_empty() && three.sweep.is_empty());
    }

    #[test]
    fn its_optimizer_has_a_block_for_each_layer_and_for_each_part_around_them() {
        let made = optimizer(&Method::parse("badam").unwrap()).unwrap();
        let blocks = [
            "model.embed_tokens",
            "model.layers.0",
            "model.layers.1",
            "model.norm",
            "lm_head",
        ];
        assert_eq!(made.block_names(), blocks);
        assert_eq!(made.trainable_parameters().len(), 21);
    }

    #[test]
    fn an_interval_of_no_step_is_refused_by_name_plan_and_optimizer() {
        assert_refused("badam+patience=0", "patience=0: use 1 or more");
        let method = Method::of("badam", layers(0, CyclicOrder::Random, 1));
        assert_method_not_made(&method, "`interval` is 0: use 1 or more");
        assert_refused("badam+policy=blocks:0", "`blocks` is 0: use 1 or more");
    }
}
