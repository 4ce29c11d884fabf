//! Bidirectional multi-head self-attention (Vaswani et al. 2017), with biases.

use burn::module::Module;
use burn::nn::{Dropout, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Int, Tensor};

use super::layer::ResidualOutput;
use crate::dropout::dropped;
use crate::llama::FORBIDDEN;

/// Attention, its output projection and the norm behind them.
#[derive(Module, Debug)]
pub struct EncoderAttention {
    /// Attention proper; its key says `self`, which Rust keeps for itself.
    pub self_attention: EncoderSelfAttention,
    /// Output projection, residual sum and norm.
    pub output: ResidualOutput,
}

impl EncoderAttention {
    /// Lets every token gather from all tokens that `bias` lets be seen.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - bias: `[B, 1, 1, T]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let gathered = self.self_attention.forward(hidden.clone(), bias);
        self.output.forward(gathered, hidden)
    }
}

/// Queries, keys and values of `H` heads.
#[derive(Module, Debug)]
pub struct EncoderSelfAttention {
    /// `[D, D]`.
    pub query: Linear,
    /// `[D, D]`.
    pub key: Linear,
    /// `[D, D]`.
    pub value: Linear,
    /// On the attention weights.
    pub dropout: Dropout,
    /// `H`.
    pub num_heads: usize,
}

impl EncoderSelfAttention {
    /// `softmax(q k^T / sqrt(D / H) + bias) v`, the softmax in f32.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, T, D]`
    /// - bias: `[B, 1, 1, T]`
    /// - output: `[B, T, D]`
    pub fn forward(&self, hidden: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, length, width] = hidden.dims();
        let dtype = hidden.dtype();
        // Scaling the queries instead of the scores touches `T * H / D` times fewer numbers.
        let scale = ((width / self.num_heads) as f64).powf(-0.5);
        let queries = self.split(self.query.forward(hidden.clone()) * scale);
        let keys = self.split(self.key.forward(hidden.clone()));
        let values = self.split(self.value.forward(hidden));
        let scores = queries.matmul(keys.transpose()); // [B, H, T, T]
        let scores = if dtype == DType::F32 {
            scores
        } else {
            scores.cast(DType::F32)
        };
        let scores = match bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let weights = softmax(scores, 3);
        let weights = if dtype == DType::F32 {
            weights
        } else {
            weights.cast(dtype)
        };
        let gathered = dropped(&self.dropout, weights).matmul(values); // [B, H, T, D / H]
        gathered.swap_dims(1, 2).reshape([batch, length, width])
    }

    /// Cuts a projection into heads: `[B, T, D]` to `[B, H, T, D / H]`.
    fn split(&self, projected: Tensor<3>) -> Tensor<4> {
        let [batch, length, width] = projected.dims();
        projected
            .reshape([batch, length, self.num_heads, width / self.num_heads])
            .swap_dims(1, 2)
    }
}

/// What is added to the scores so that padding is not seen; one serves all layers, heads and queries.
///
/// # Shapes
///
/// - `attention_mask`: `[B, T]`, 1 for tokens, 0 for padding
/// - output: `[B, 1, 1, T]`, in f32, outside autodiff
pub(super) fn padding_bias(attention_mask: Tensor<2, Int>) -> Tensor<4> {
    let [batch, length] = attention_mask.dims();
    let padding = attention_mask.inner().equal_elem(0);
    let zeros = Tensor::<2>::zeros([batch, length], (&padding.device(), DType::F32));
    zeros.mask_fill(padding, FORBIDDEN).reshape([batch, 1, 1, length])
}
