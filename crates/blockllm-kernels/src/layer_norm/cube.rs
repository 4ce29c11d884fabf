//! Layer normalization on GPUs: a cube per row; for the parameters a unit per column of a block of rows.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::LayerNormBackend;
use crate::composed::{cast, sum_of_rows};
use crate::device::reduce::cube_sum;
use crate::device::{ROW_UNITS, UNITS, contiguous, cubes, cubes_for, element, empty, in_place_or_new, units};
use crate::kernel_list::{List, buffer, either_place};

/// Rows that one unit adds up for the parameters' gradients.
const BLOCK_ROWS: usize = 64;

/// The mean of the row that begins at `start`.
#[cube]
fn mean_of_row<F: Float>(x: &[F], start: usize, width: usize, scratch: &mut Shared<[f32]>) -> f32 {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        sum += f32::cast_from(x[start + i]);
        i += CUBE_DIM as usize;
    }
    cube_sum(sum, scratch) / f32::cast_from(width as u32)
}

/// `r` of the row that begins at `start`.
#[cube]
fn inverse_root<F: Float>(
    x: &[F],
    start: usize,
    width: usize,
    mean: f32,
    epsilon: f32,
    scratch: &mut Shared<[f32]>,
) -> f32 {
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let centered = f32::cast_from(x[start + i]) - mean;
        squares += centered * centered;
        i += CUBE_DIM as usize;
    }
    let variance = cube_sum(squares, scratch) / f32::cast_from(width as u32);
    (variance + epsilon).sqrt().recip()
}

#[cube(launch)]
fn forward<F: Float>(
    x: &[F],
    weight: &[F],
    bias: &[F],
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
    let mean = mean_of_row::<F>(x, start, width, &mut scratch);
    let root = inverse_root::<F>(x, start, width, mean, epsilon, &mut scratch);
    let mut i = UNIT_POS as usize;
    while i < width {
        let normed = (f32::cast_from(x[start + i]) - mean) * root;
        output[start + i] = F::cast_from(normed * f32::cast_from(weight[i]) + f32::cast_from(bias[i]));
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
    let mean = mean_of_row::<F>(x, start, width, &mut scratch);
    let root = inverse_root::<F>(x, start, width, mean, epsilon, &mut scratch);
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let scaled = f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
        sum += scaled;
        product += scaled * (f32::cast_from(x[start + i]) - mean);
        i += CUBE_DIM as usize;
    }
    let grad_mean = cube_sum(sum, &mut scratch) / f32::cast_from(width as u32);
    let along = cube_sum(product, &mut scratch) / f32::cast_from(width as u32) * root * root;
    let mut i = UNIT_POS as usize;
    while i < width {
        let scaled = f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
        let centered = f32::cast_from(x[start + i]) - mean;
        output[start + i] = F::cast_from((scaled - grad_mean - centered * along) * root);
        i += CUBE_DIM as usize;
    }
}

/// Mean and `r` of every row, one behind the other.
#[cube(launch)]
fn statistics<F: Float>(
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
    let start = row * width;
    let mean = mean_of_row::<F>(x, start, width, &mut scratch);
    let root = inverse_root::<F>(x, start, width, mean, epsilon, &mut scratch);
    if UNIT_POS == 0 {
        output[2 * row] = mean;
        output[2 * row + 1] = root;
    }
}

/// Of every block of rows the sums of `g n` and of `g`.
#[cube(launch)]
fn parameter_grads<F: Float>(
    x: &[F],
    statistics: &[f32],
    grad: &[F],
    weight_sums: &mut [f32],
    bias_sums: &mut [f32],
    rows: usize,
    width: usize,
    #[comptime] block_rows: usize,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= weight_sums.len() {
        terminate!();
    }
    let column = position % width;
    let first = position / width * block_rows;
    let mut weight_sum = 0.0f32;
    let mut bias_sum = 0.0f32;
    for row in first..min(first + block_rows, rows) {
        let at = row * width + column;
        let grad = f32::cast_from(grad[at]);
        let normed = (f32::cast_from(x[at]) - statistics[2 * row]) * statistics[2 * row + 1];
        weight_sum += grad * normed;
        bias_sum += grad;
    }
    weight_sums[position] = weight_sum;
    bias_sums[position] = bias_sum;
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        for (output, form) in either_place(0) {
            let (s, d, t) = list.beside(ROW_UNITS);
            let kernel = forward::Forward::new(s, d, t, b(), b(), b(), output, (), (), (), dtype);
            list.add(&format!("layer_norm::forward{form}"), dtype, kernel);
        }
        for (output, form) in either_place(2) {
            let (s, d, t) = list.beside(ROW_UNITS);
            let kernel = input_grad::InputGrad::new(s, d, t, b(), b(), b(), output, (), (), (), dtype);
            list.add(&format!("layer_norm::input_grad{form}"), dtype, kernel);
        }
        let (s, d, t) = list.beside(ROW_UNITS);
        let kernel = statistics::Statistics::new(s, d, t, b(), b(), (), (), (), dtype);
        list.add("layer_norm::statistics", dtype, kernel);
        let (s, d, t) = list.beside(UNITS);
        let kernel =
            parameter_grads::ParameterGrads::new(s, d, t, b(), b(), b(), b(), b(), (), (), BLOCK_ROWS, dtype);
        list.add("layer_norm::parameter_grads", dtype, kernel);
    }
}

impl LayerNormBackend for CubeBackend {
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [weight, bias] = [weight, bias].map(|tensor| contiguous(cast::<Self>(tensor, x.dtype)));
        let x = contiguous(x);
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        let (output, output_arg) = in_place_or_new(&x, 0);
        forward::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            bias.into_buffer_arg(),
            output_arg,
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        output
    }

    fn layer_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let weight = contiguous(cast::<Self>(weight, x.dtype));
        let (x, grad) = (contiguous(x), contiguous(grad));
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        let (output, output_arg) = in_place_or_new(&grad, 2);
        input_grad::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            grad.into_buffer_arg(),
            output_arg,
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        output
    }

    fn layer_norm_parameter_grads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, grad) = (contiguous(x), contiguous(grad));
        let width = weight.meta.num_elements();
        let rows = x.meta.num_elements() / width;
        let (client, dtype) = (x.client.clone(), element(&x));
        let row_statistics = empty(&x, [rows, 2], DType::F32);
        statistics::launch(
            &client,
            cubes(rows),
            units(ROW_UNITS),
            x.clone().into_buffer_arg(),
            row_statistics.clone().into_buffer_arg(),
            rows,
            width,
            epsilon as f32,
            dtype,
        );
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let [weight_sums, bias_sums] = [0, 1].map(|_| empty(&x, [blocks, width], DType::F32));
        parameter_grads::launch(
            &client,
            cubes_for(blocks * width),
            units(UNITS),
            x.into_buffer_arg(),
            row_statistics.into_buffer_arg(),
            grad.into_buffer_arg(),
            weight_sums.clone().into_buffer_arg(),
            bias_sums.clone().into_buffer_arg(),
            rows,
            width,
            BLOCK_ROWS,
            dtype,
        );
        let parameter = |sums| {
            let sum = cast::<Self>(sum_of_rows::<Self>(sums), weight.dtype);
            Self::float_reshape(sum, [width].into())
        };
        (parameter(weight_sums), parameter(bias_sums))
    }
}
