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
