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
