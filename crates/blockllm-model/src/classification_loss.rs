//! Losses of sequence classification and regression, as transformers' heads compute them.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The mean cross entropy of classes.
///
/// # Shapes
///
/// - logits: `[B, C]`
/// - labels: `[B]`, each below `C`
/// - output: `[1]`
pub fn classification_loss(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let picked = log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)); // [B, 1]
    picked.mean().neg()
}

/// The mean squared error of scores.
///
/// # Shapes
///
/// - logits: `[B, 1]`
/// - scores: `[B]`
/// - output: `[1]`
pub fn regression_loss(logits: Tensor<2>, scores: Tensor<1>) -> Tensor<1> {
    (logits - scores.unsqueeze_dim(1)).square().mean()
}
