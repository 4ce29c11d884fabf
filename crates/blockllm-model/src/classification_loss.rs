//! Losses of sequence classification and regression, as transformers' heads compute them.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The mean cross entropy of classes; no number where a label is none of them, as every row counts.
///
/// # Shapes
///
/// - logits: `[B, C]`
/// - labels: `[B]`, each below `C`
/// - output: `[1]`
pub fn classification_loss(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let last = logits.dims()[1] as i64 - 1;
    let labels: Tensor<2, Int> = labels.unsqueeze_dim(1); // [B, 1]
    // What a device reads behind a row is its own affair, so it is not asked to.
    let inside = labels.clone().clamp(0, last);
    let wrong = inside.clone().not_equal(labels);
    let picked = log_softmax(logits, 1).gather(1, inside); // [B, 1]
    picked.mask_fill(wrong, f32::NAN).mean().neg()
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
