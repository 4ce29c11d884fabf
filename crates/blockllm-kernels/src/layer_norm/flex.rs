//! Layer normalization on the CPU: the memory is read once, the statistics of a row while it is in the nearest cache.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::LayerNormBackend;
use crate::host::elementwise::{in_chunks_of, numbers_mut, owned_in_f32, whole_rows};
use crate::host::simd::sum_of;
use crate::host::{filled, in_dtype, in_f32, numbers, sum_over_rows, tensor};

impl LayerNormBackend for Flex {
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.layout().shape().clone());
        let (x, weight, bias) = (in_f32(x), in_f32(weight), in_f32(bias));
        let (x, weight, bias) = (numbers(&x), numbers(&weight), numbers(&bias));
        let width = weight.len();
        let output = filled(
            x.len() / width,
            width,
            #[inline(always)]
            |row, out| {
                let x = &x[row * width..][..width];
                let (mean, root) = statistics(x, epsilon);
                for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                    *out = (x - mean) * root * weight + bias;
                }
            },
        );
        tensor(output, shape, dtype)
    }

    fn layer_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let (x, weight, mut grad) = (in_f32(x), in_f32(weight), owned_in_f32(grad));
        let (x, weight) = (numbers(&x), numbers(&weight));
        let width = weight.len();
        in_chunks_of(
            whole_rows(width),
            numbers_mut(&mut grad),
            #[inline(always)]
            |start, grads| {
                let x = x[start..].chunks_exact(width);
                for (grad, x) in grads.chunks_exact_mut(width).zip(x) {
                    row_grad(x, weight, grad, epsilon);
                }
            },
        );
        in_dtype(grad, dtype)
    }

    fn layer_norm_parameter_grads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, grad) = (in_f32(x), in_f32(grad));
        let (x, grad) = (numbers(&x), numbers(&grad));
        let width = weight.layout().num_elements();
        let mut sums = sum_over_rows(
            x.len() / width,
            2 * width,
            #[inline(always)]
            |row, sums| {
                let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
                let (mean, root) = statistics(x, epsilon);
                let (weight_sums, bias_sums) = sums.split_at_mut(width);
                for (((weight, bias), x), grad) in weight_sums.iter_mut().zip(bias_sums).zip(x).zip(grad) {
                    *weight += grad * ((x - mean) * root);
                    *bias += grad;
                }
            },
        );
        let bias_sums = sums.split_off(width);
        let dtype = weight.dtype();
        (tensor(sums, [width], dtype), tensor(bias_sums, [width], dtype))
    }
}

/// `dx` of a row in the place of its `g`.
#[inline(always)]
fn row_grad(x: &[f32], weight: &[f32], grad: &mut [f32], epsilon: f64) {
    let width = grad.len();
    let (x, weight) = (&x[..width], &weight[..width]);
    let (mean, root) = statistics(x, epsilon);
    for (grad, weight) in grad.iter_mut().zip(weight) {
        *grad *= weight;
    }
    let (sum, product) = {
        let grad = &*grad;
        (
            sum_of(
                width,
                #[inline(always)]
                |i| grad[i],
            ),
            sum_of(
                width,
                #[inline(always)]
                |i| grad[i] * (x[i] - mean),
            ),
        )
    };
    let grad_mean = sum / width as f32;
    let along = product / width as f32 * root * root;
    for (grad, x) in grad.iter_mut().zip(x) {
        *grad = (*grad - grad_mean - (x - mean) * along) * root;
    }
}

/// The mean of a row and `1 / sqrt(variance + epsilon)`.
#[inline(always)]
fn statistics(x: &[f32], epsilon: f64) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum_of(
        x.len(),
        #[inline(always)]
        |i| x[i],
    ) / width;
    let squares = sum_of(
        x.len(),
        #[inline(always)]
        |i| (x[i] - mean) * (x[i] - mean),
    );
    (mean, 1.0 / (squares / width + epsilon as f32).sqrt())
}
