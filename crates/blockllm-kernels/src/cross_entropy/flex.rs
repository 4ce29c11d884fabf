//! Cross entropy on the CPU: a row at a time, which the second cache holds from its maximum to its gradient.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::Flex;

use super::CrossEntropyBackend;
use crate::host::elementwise::{in_chunks_of, in_row_pairs, numbers_mut, owned_in_f32, task_rows};
use crate::host::simd::{exp, max_of, sum_of};
use crate::host::{in_f32, integers, numbers, tensor};

impl CrossEntropyBackend for Flex {
    fn cross_entropy_losses(logits: FloatTensor<Self>, labels: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, labels) = (in_f32(logits), integers(&labels));
        let logits = numbers(&logits);
        let width = logits.len() / labels.len().max(1);
        let mut losses = vec![0.0_f32; labels.len()];
        in_chunks_of(
            task_rows(width),
            &mut losses,
            #[inline(always)]
            |start, losses| {
                for (index, loss) in losses.iter_mut().enumerate() {
                    if let Some(label) = counted(labels[start + index], width) {
                        *loss = loss_of(&logits[(start + index) * width..][..width], label);
                    }
                }
            },
        );
        let rows = labels.len();
        tensor(losses, [rows], DType::F32)
    }

    fn cross_entropy_losses_and_grad(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (mut logits, labels) = (owned_in_f32(logits), integers(&labels));
        let rows = labels.len();
        let width = logits.layout().num_elements() / rows.max(1);
        let mut losses = vec![0.0_f32; rows];
        in_row_pairs(
            task_rows(width),
            [width, 1],
            numbers_mut(&mut logits),
            &mut losses,
            #[inline(always)]
            |start, logits, losses| {
                for (index, loss) in losses.iter_mut().enumerate() {
                    let row = &mut logits[index * width..][..width];
                    match counted(labels[start + index], width) {
                        Some(label) => *loss = loss_and_grad(row, label, scale),
                        None => row.fill(0.0),
                    }
                }
            },
        );
        (tensor(losses, [rows], DType::F32), logits)
    }
}

/// The label where it counts.
///
/// # Panics
///
/// When it is no word of the vocabulary.
#[inline(always)]
fn counted(label: i64, width: usize) -> Option<usize> {
    let label = usize::try_from(label).ok()?;
    assert!(
        label < width,
        "label {label} is no word of a vocabulary of {width}"
    );
    Some(label)
}

/// Exponentials that are added up before the next are computed: they stay in the nearest cache, and the two loops are
/// vectorized each for itself.
const BLOCK: usize = 1024;

/// The loss of a row of logits.
#[inline(always)]
fn loss_of(row: &[f32], label: usize) -> f32 {
    let max = max_of(row);
    let mut sum = 0.0_f32;
    for logits in row.chunks(BLOCK) {
        let mut exponentials = [0.0_f32; BLOCK];
        let exponentials = &mut exponentials[..logits.len()];
        for (exponential, logit) in exponentials.iter_mut().zip(logits) {
            *exponential = exp(logit - max);
        }
        sum += sum_of_block(exponentials);
    }
    sum.ln() + (max - row[label])
}

/// The loss of a row of logits, and its gradient in their place; the same loss to the bit.
#[inline(always)]
fn loss_and_grad(row: &mut [f32], label: usize, scale: f32) -> f32 {
    let max = max_of(row);
    let below = max - row[label];
    let mut sum = 0.0_f32;
    for block in row.chunks_mut(BLOCK) {
        for entry in block.iter_mut() {
            *entry = exp(*entry - max);
        }
        sum += sum_of_block(block);
    }
    let factor = scale / sum;
    for entry in row.iter_mut() {
        *entry *= factor;
    }
    row[label] -= scale;
    sum.ln() + below
}

#[inline(always)]
fn sum_of_block(block: &[f32]) -> f32 {
    sum_of(
        block.len(),
        #[inline(always)]
        |i| block[i],
    )
}
