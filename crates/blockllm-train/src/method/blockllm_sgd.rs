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
