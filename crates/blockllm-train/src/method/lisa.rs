//! LISA (arXiv 2403.17919): random decoder layers, whole, and what lies around them always; the block optimizer with a
//! random policy.
use super::number::count;
use super::{BlockMethod, NamedMethod, PresetPaths};
use blockllm_policy::{PolicyConfig, RandomSettings};

/// Steps between selections, until the run's scale sets its own.
const INTERVAL: u64 = 100;

/// The preset `lisa`, with a number of layers.
pub(super) enum Lisa {}

impl NamedMethod for Lisa {
    type Method = BlockMethod;

    fn names() -> Vec<&'static str> {
        vec!["lisa"]
    }

    fn example(name: &str) -> String {
        format!("{name}:1")
    }

    fn method(_: &str, number: Option<&str>) -> Result<BlockMethod, String> {
        Ok(BlockMethod::lisa(INTERVAL, count("number of layers", number, 2)?))
    }
}

impl BlockMethod {
    /// LISA: `blocks` random decoder layers at a time, whole; embeddings, last norm and head always. Fine-tuning, it trains
    /// embeddings and head always.
    pub fn lisa(interval: u64, blocks: usize) -> Self {
        let policy = PolicyConfig::Random(RandomSettings {
            unbiased: false,
            interval,
            blocks: Some(blocks),
        });
        Self {
            partition: "decoder-layer".into(),
            always_of_preset: PresetPaths::AroundLayers,
            ..Self::new(policy, 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainConfig;
    use crate::memory::plan::Assumed;
    use crate::method::testing::{
        assert_counts, assert_method_not_made, assert_not_made, assert_refused, fine_tuned, for_run, heeded,
        named, optimizer, parameters, plan, planned, planned_tied, planned_with, rates, state_bytes,
        with_patience,
    };
    use crate::method::{FineTuning, Method};
    use blockllm_model::llama::LlamaConfig;
    use blockllm_optim::BlockOptimizer;
    use blockllm_policy::Role;
    use burn::tensor::Device;

    /// The same beside what the preset always trains.
    fn preset(interval: u64, blocks: usize) -> BlockMethod {
        BlockMethod {
            always_of_preset: PresetPaths::AroundLayers,
            ..layers(interval, blocks, &[])
        }
    }

    /// `blocks` layers, drawn every `interval` steps, beside what is trained `always`.
    fn layers(interval: u64, blocks: usize, always: &[&str]) -> BlockMethod {
        let policy = PolicyConfig::Random(RandomSettings {
            interval,
            blocks: Some(blocks),
            unbiased: false,
        });
        BlockMethod {
            partition: "decoder-layer".into(),
            always: always.iter().copied().map(String::from).collect(),
            ..BlockMethod::new(policy, 0.0)
        }
    }

    #[test]
    fn the_number_is_that_of_layers_and_2_without_one() {
        assert_eq!(named::<BlockMethod>("lisa:1"), preset(100, 1));
        assert_eq!(named::<BlockMethod>("lisa"), preset(100, 2));
        assert_counts("lisa", "number of layers");
    }

    #[test]
    fn its_settings_are_read_and_a_wrong_one_is_told() {
        let found = named::<BlockMethod>("lisa:1+patience=7+always=lm_head");
        assert_eq!(found, layers(7, 1, &["lm_head"]));
        let unbiased = PolicyConfig::Random(RandomSettings {
            interval: 100,
            blocks: Some(2),
            unbiased: true,
        });
        let found = named::<BlockMethod>("lisa+policy=unbiased:true");
        assert_eq!(found.policy, unbiased);
        assert_refused("lisa+policy=unbiased:often", "`policy` is unbiased:often");
    }

    #[test]
    fn of_what_a_run_sets_it_takes_the_interval_and_what_is_never_trained() {
        assert_eq!(heeded("lisa"), ["never"]);
        let expected = BlockMethod {
            never: vec!["model.norm".into()],
            ..preset(40, 2)
        };
        assert_eq!(for_run::<BlockMethod>("lisa"), expected);
        assert_eq!(with_patience::<BlockMethod>("lisa"), preset(40, 2));
    }

    #[test]
    fn fine_tuning_it_always_trains_the_model_s_embeddings_unless_the_name_says_otherwise() {
        let encoder = FineTuning::encoder(Vec::new());
        let tuned = |text: &str, parts: &FineTuning| fine_tuned::<BlockMethod>(text, parts);
        assert_eq!(tuned("lisa", &encoder), layers(100, 2, &["embeddings"]));
        assert_eq!(
            tuned("lisa", &FineTuning::language_model()),
            layers(100, 2, &["embed_tokens", "model.norm"])
        );
        assert_eq!(tuned("lisa+always=pooler", &encoder), layers(100, 2, &["pooler"]));
        assert_eq!(rates("lisa"), rates("adamw"));
    }

    #[test]
    fn its_plan_has_whole_layers_beside_all_that_lies_around_them() {
        let scheme = planned_with("lisa:1", "model.layers.0");
        assert_eq!(
            (&*scheme.selected, &*scheme.always),
            (&[1, 2][..], &[0, 5, 6][..])
        );
        assert_eq!(scheme.kept_entries(), 24 + 4);
        assert_eq!(state_bytes("lisa:1", &scheme), 8 * (24 + 4 + 48 + 4 + 48));
        assert!(scheme.probed.is_empty() && scheme.sweep.is_empty());
        assert_eq!(planned("lisa:1").selected, [3, 4]);
        assert_eq!(planned("lisa").selected, [1, 2, 3, 4]);
    }

    #[test]
    fn a_head_that_is_not_there_is_left_out_of_its_own_list_and_refused_in_one_that_is_named() {
        let tied = planned_tied("lisa:1");
        assert_eq!((&*tied.selected, &*tied.always), (&[3, 4][..], &[0, 5][..]));
        assert_not_made("lisa+always=head", "the role pattern `head` matches none of the");
    }

    #[test]
    fn the_words_of_its_own_list_are_refused_in_one_that_is_named_where_a_model_has_not_all_of_them() {
        let by_name = Method::parse("lisa:1+always=embed_tokens/model.norm/lm_head").unwrap();
        let mut tied = parameters();
        tied.pop();
        let on_paper = plan(&by_name, tied, &Assumed::Typical).map(drop);
        let config = LlamaConfig::new(12, 8, 12, 2, 2).with_tie_word_embeddings(true);
        let model = config.init(0, &Device::flex().autodiff());
        let made = by_name.optimizer(&model, &TrainConfig::default()).map(drop);
        for refused in [on_paper, made] {
            let message = refused.unwrap_err().to_string();
            assert!(
                message.contains("the role pattern `lm_head` matches none of the"),
                "{message}"
            );
            assert!(
                message.contains("modules are called embed_tokens, q_proj"),
                "{message}"
            );
        }
        let of_preset = Method::parse("lisa:1").unwrap();
        assert!(of_preset.optimizer(&model, &TrainConfig::default()).is_ok());
        let told = |name: &str| named::<BlockMethod>(name).always_of_preset;
        assert_eq!(told("lisa+always=lm_head"), PresetPaths::None);
    }

    #[test]
    fn its_optimizer_has_a_block_for_each_layer_and_always_trains_the_others() {
        let made = optimizer(&Method::parse("lisa").unwrap()).unwrap();
        let found: &BlockOptimizer = made.get().unwrap();
        let names = |role: Role| -> Vec<&str> {
            let blocks = found.selector().blocks().iter();
            let of_role = blocks.filter(|block| block.role == role);
            of_role.map(|block| block.name.as_str()).collect()
        };
        assert_eq!(names(Role::Candidate), ["model.layers.0", "model.layers.1"]);
        let around = ["model.embed_tokens", "model.norm", "lm_head"];
        assert_eq!(names(Role::Always), around);
    }

    #[test]
    fn an_interval_of_no_step_is_refused_by_name_plan_and_optimizer() {
        assert_refused("lisa+patience=0", "patience=0: use 1 or more");
        let method = Method::of("lisa", layers(0, 2, &[]));
        assert_method_not_made(&method, "`interval` is 0: use 1 or more");
    }
}
