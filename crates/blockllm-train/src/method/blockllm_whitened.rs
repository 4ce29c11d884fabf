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
