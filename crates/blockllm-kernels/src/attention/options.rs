//! How attention is computed: which keys a query sees, the scale, the order of tokens, dropout.

use burn::tensor::{Int, Tensor};

use crate::dropout::Mask;

/// Which keys a query sees, beside the order of tokens.
#[derive(Debug, Clone)]
pub enum Visibility {
    /// All.
    All,
    /// Those of its own segment; ids `[B, T]`, where queries and keys are the same tokens.
    Segments(Tensor<2, Int>),
    /// Those that are not padding: `[B, S]`, zero for padding.
    Keys(Tensor<2, Int>),
}

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionOptions {
    /// What scores are multiplied with; usually one over the root of `head_dim`.
    pub scale: f32,
    /// Whether a query sees no later key; query `t` is the key `past + t`.
    pub causal: bool,
    /// Keys that came before the first query.
    pub past: usize,
    /// Which weights are dropped, if any.
    pub dropout: Option<AttentionDropout>,
}

/// Dropout on the weights, as [`dropout`](crate::dropout) of `[B, H, T, S]` has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionDropout {
    /// The share of weights that is dropped.
    pub probability: f64,
    /// What decides which.
    pub seed: u64,
}

impl AttentionOptions {
    /// The mask on the weights.
    pub(crate) fn mask(self) -> Option<Mask> {
        self.dropout
            .map(|dropout| Mask::new(dropout.probability, dropout.seed))
    }
}
