//! `scale`: SCALE (arXiv 2506.16659), normalised SGD on all matrices, the head along a momentum, Adam on norms and biases.
use super::{BlockMethod, NamedMethod, preset_paths};
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
        method.always = preset_paths::vectors();
        method.inactive = Some(InactiveRule::normalised().with_momentum([InactiveRule::HEAD]));
        method
    }
}
