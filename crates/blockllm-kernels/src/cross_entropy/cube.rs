//! Cross entropy on GPUs: a cube per row reads it once for the loss, with a running maximum per unit, and once more for
//! the gradient, which takes its memory.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::ir::IntKind;
use cubecl::prelude::*;

use super::CrossEntropyBackend;
use crate::composed::in_f32;
use crate::device::reduce::{cube_max, cube_sum};
use crate::device::{contiguous, cubes, empty, in_place_or_new, units};
use crate::kernel_list::{List, buffer, either_place};

/// Units of a cube: rows are as wide as the vocabulary.
const VOCABULARY_UNITS: u32 = 256;

/// The loss of a label that is no word of the vocabulary: it reaches whoever reads the loss. Given to kernels, since WGSL
/// knows no such literal.
const BROKEN: f32 = f32::NAN;

/// Below every logit, yet finite: WGSL knows no infinite literals.
const LOWEST: f32 = -3.0e38;

/// The maximum of the row that begins at `start` and the sum of `exp(z - max)`, known to all units.
#[cube]
fn max_and_sum(logits: &[f32], start: usize, width: usize, scratch: &mut Shared<[f32]>) -> (f32, f32) {
    let mut largest = comptime!(LOWEST).runtime();
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = logits[start + i];
        if value > largest {
            sum *= (largest - value).exp();
            largest = value;
        }
        sum += (value - largest).exp();
        i += CUBE_DIM as usize;
    }
    let max = cube_max(largest, scratch);
    let sum = cube_sum(sum * (largest - max).exp(), scratch);
    (max, sum)
}

#[cube(launch)]
fn losses<I: Int>(
    logits: &[f32],
    labels: &[I],
    losses: &mut [f32],
    rows: usize,
    width: usize,
    broken: f32,
    #[define(I)] _label: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(VOCABULARY_UNITS as usize));
    let start = row * width;
    let (max, sum) = max_and_sum(logits, start, width, &mut scratch);
    let label = i32::cast_from(labels[row]);
    if UNIT_POS == 0 {
        let mut loss = 0.0f32;
        if label >= 0i32 {
            loss = broken;
            if (label as usize) < width {
                loss = sum.ln() + (max - logits[start + label as usize]);
            }
        }
        losses[row] = loss;
    }
}

#[cube(launch)]
fn losses_and_grad<I: Int>(
    logits: &[f32],
    labels: &[I],
    losses: &mut [f32],
    grad: &mut [f32],
    rows: usize,
    width: usize,
    scale: f32,
    broken: f32,
    #[define(I)] _label: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(VOCABULARY_UNITS as usize));
    let start = row * width;
    let (max, sum) = max_and_sum(logits, start, width, &mut scratch);
    let label = i32::cast_from(labels[row]);
    let counts = label >= 0i32;
    if UNIT_POS == 0 {
        let mut loss = 0.0f32;
        if counts {
            loss = broken;
            if (label as usize) < width {
                loss = sum.ln() + (max - logits[start + label as usize]);
            }
        }
        losses[row] = loss;
    }
    // The label's logit has been read before its place is written.
    sync_cube();
    let mut i = UNIT_POS as usize;
    while i < width {
        let mut entry = 0.0f32;
        if counts {
            entry = (logits[start + i] - max).exp() * (scale / sum);
            if i == label as usize {
                entry -= scale;
            }
        }
        grad[start + i] = entry;
        i += CUBE_DIM as usize;
    }
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let (b, dtype) = (buffer, ElemType::Int(IntKind::I32));
    let (s, d, t) = list.beside(VOCABULARY_UNITS);
    list.add(
        "cross_entropy::losses",
        dtype,
        losses::Losses::new(s, d, t, b(), b(), b(), (), (), (), dtype),
    );
    for (grad, form) in either_place(0) {
        let (s, d, t) = list.beside(VOCABULARY_UNITS);
        let kernel = losses_and_grad::LossesAndGrad::new(s, d, t, b(), b(), b(), grad, (), (), (), (), dtype);
        list.add(&format!("cross_entropy::losses_and_grad{form}"), dtype, kernel);
    }
}

impl CrossEntropyBackend for CubeBackend {
    fn cross_entropy_losses(logits: FloatTensor<Self>, labels: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, labels) = (contiguous(in_f32::<Self>(logits)), contiguous(labels));
        let (rows, width) = (logits.meta.shape()[0], logits.meta.shape()[1]);
        let output = empty(&logits, [rows], DType::F32);
        let (client, label_type) = (logits.client.clone(), dtype_to_storage_type(labels.dtype));
        losses::launch(
            &client,
            cubes(rows),
            units(VOCABULARY_UNITS),
            logits.into_buffer_arg(),
            labels.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            rows,
            width,
            BROKEN,
            label_type,
        );
        output
    }

    fn cross_entropy_losses_and_grad(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (logits, labels) = (contiguous(in_f32::<Self>(logits)), contiguous(labels));
        let (rows, width) = (logits.meta.shape()[0], logits.meta.shape()[1]);
        let output = empty(&logits, [rows], DType::F32);
        let (client, label_type) = (logits.client.clone(), dtype_to_storage_type(labels.dtype));
        let (grad, grad_arg) = in_place_or_new(&logits, 0);
        losses_and_grad::launch(
            &client,
            cubes(rows),
            units(VOCABULARY_UNITS),
            logits.into_buffer_arg(),
            labels.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            grad_arg,
            rows,
            width,
            scale,
            BROKEN,
            label_type,
        );
        (output, grad)
    }
}
