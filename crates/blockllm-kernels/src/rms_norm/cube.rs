//! Root-mean-square normalization on GPUs: a cube per row; for the weight a unit per column of a block of rows.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::RmsNormBackend;
use crate::composed::{cast, sum_of_rows};
use crate::device::reduce::cube_sum;
use crate::device::{ROW_UNITS, UNITS, contiguous, cubes, cubes_for, element, empty, units};
use crate::kernel_list::{List, buffer, settings};

/// Rows that one unit adds up for the weight's gradient.
const BLOCK_ROWS: usize = 64;

#[cube]
fn inverse_root<F: Float>(
    x: &[F],
    start: usize,
    width: usize,
    epsilon: f32,
    scratch: &mut Shared<[f32]>,
) -> f32 {
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = f32::cast_from(x[start + i]);
        squares += value * value;
        i += CUBE_DIM as usize;
    }
    let mean = cube_sum(squares, scratch) / f32::cast_from(width as u32);
    (mean + epsilon).sqrt().recip()
}

#[cube(launch)]
fn forward<F: Float>(
    x: &[F],
    weight: &[F],
    output: &mut [F],
    rows: usize,
    width: usize,
    epsilon: f32,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(ROW_UNITS as usize));
    let start = row * width;
    let root = inverse_root::<F>(x, start, width, epsilon, &mut scratch);
    let mut i = UNIT_POS as usize;
    while i < width {
        let normed = F::cast_from(f32::cast_from(x[start + i]) * root);
        output[start + i] = normed * weight[i];
        i += CUBE_DIM as usize;
    }
}

#[cube(launch)]
fn input_grad<F: Float>(
    x: &[F],
    weight: &[F],
    grad: &[F],
    output: &mut [F],
    rows: usize,
    width: usize,
    epsilon: f32,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(ROW_UNITS as usize));
    let start = row * width;
    let root = inverse_root::<F>(x, start, width, epsilon, &mut scratch);
    let mut product = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let scaled = f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
        product += scaled * f32::cast_from(x[start + i]);
        i += CUBE_DIM as usize;
    }
    let mean = cube_sum(product, &mut scratch) / f32::cast_from(width as u32);
    let along = mean * root * root;
    let mut i = UNIT_POS as usize;
    while i < width {
        let scaled = f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
        output[start + i] = F::cast_from((scaled - f32::cast_from(x[start + i]) * along) * root);
        i += CUBE_DIM as usize;
    }
}

/// `r` of every row.
#[cube(launch)]
fn roots<F: Float>(
    x: &[F],
    output: &mut [f32],
    rows: usize,
    width: usize,
    epsilon: f32,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(ROW_UNITS as usize));
    let root = inverse_root::<F>(x, row * width, width, epsilon, &mut scratch);
    if UNIT_POS == 0 {
        output[row] = root;
    }
}

/// Of every block of rows the sum of `g x r`.
#[cube(launch)]
fn weight_grad<F: Float>(
    x: &[F],
    roots: &[f32],
    grad: &[F],
    output: &mut [f32],
    rows: usize,
    width: usize,
    #[comptime] block_rows: usize,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= output.len() {
        terminate!();
    }
    let column = position % width;
    let first = position / width * block_rows;
    let mut sum = 0.0f32;
    let end = min(first + block_rows, rows);
    let mut row = first;
    while row < end {
        let at = row * width + column;
        sum += f32::cast_from(grad[at]) * f32::cast_from(x[at]) * roots[row];
        row += 1;
    }
    output[position] = sum;
}

/// Adds the kernels of this operation.
pub(crate) fn list_kernels(list: &mut List) {
    let (s, b) = (settings(ROW_UNITS), buffer);
    let devices = (list.device.clone(), list.target.clone());
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (d, t) = devices.clone();
        let kernel = forward::Forward::new(s.clone(), d, t, b(), b(), b(), (), (), (), dtype);
        list.add("rms_norm::forward", dtype, kernel);
        let (d, t) = devices.clone();
        let kernel = input_grad::InputGrad::new(s.clone(), d, t, b(), b(), b(), b(), (), (), (), dtype);
        list.add("rms_norm::input_grad", dtype, kernel);
        let (d, t) = devices.clone();
        let kernel = roots::Roots::new(s.clone(), d, t, b(), b(), (), (), (), dtype);
        list.add("rms_norm::roots", dtype, kernel);
        let ((d, t), s) = (devices.clone(), settings(UNITS));
        let kernel = weight_grad::WeightGrad::new(s, d, t, b(), b(), b(), b(), (), (), BLOCK_ROWS, dtype);
        list.add("rms_norm::weight_grad", dtype, kernel);
    }
}

impl RmsNormBackend for CubeBackend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let weight = contiguous(cast::<Self>(weight, x.dtype));
        let x = contiguous(x);
        let output = empty(&x, x.meta.shape().clone(), x.dtype);
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        forward::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        output
    }

    fn rms_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let weight = contiguous(cast::<Self>(weight, x.dtype));
        let x = contiguous(x);
        let grad = contiguous(grad);
        let output = empty(&x, x.meta.shape().clone(), x.dtype);
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        input_grad::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            grad.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        output
    }

    fn rms_norm_weight_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, grad) = (contiguous(x), contiguous(grad));
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        let root = empty(&x, [rows], DType::F32);
        roots::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.clone().into_buffer_arg(),
            root.clone().into_buffer_arg(),
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let partial = empty(&x, [blocks, width], DType::F32);
        weight_grad::launch(
            &client,
            cubes_for(blocks * width),
            units(UNITS),
            x.into_buffer_arg(),
            root.into_buffer_arg(),
            grad.into_buffer_arg(),
            partial.clone().into_buffer_arg(),
            rows,
            width,
            BLOCK_ROWS,
            dtype,
        );
        let sum = cast::<Self>(sum_of_rows::<Self>(partial), weight.dtype);
        Self::float_reshape(sum, [width].into())
    }
}
