//! LISA (arXiv 2403.17919): random decoder layers, whole, and what lies around them always; the block optimizer with a
//! random policy.
use super::number::count;
use super::{BlockMethod, NamedMethod, preset_paths};
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
            always: preset_paths::around_layers(),
            ..Self::new(policy, 0.0)
        }
    }
}
