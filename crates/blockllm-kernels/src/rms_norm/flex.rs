//! Root-mean-square normalization on the CPU.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::RmsNormBackend;
use crate::host::simd::sum_of;
use crate::host::{filled, in_f32, numbers, sum_over_rows, tensor};

impl RmsNormBackend for Flex {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.layout().shape().clone());
        let (x, weight) = (in_f32(x), in_f32(weight));
        let (numbers, weight) = (numbers(&x), numbers(&weight));
        let width = weight.len();
        let normed = filled(
            numbers.len() / width,
            width,
            #[inline(always)]
            |row, out| {
                let x = &numbers[row * width..][..width];
                let root = inverse_root(x, epsilon);
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    *out = x * root * weight;
                }
            },
        );
        tensor(normed, shape, dtype)
    }

    fn rms_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.layout().shape().clone());
        let (x, weight, grad) = (in_f32(x), in_f32(weight), in_f32(grad));
        let (x, weight, grad) = (numbers(&x), numbers(&weight), numbers(&grad));
        let width = weight.len();
        let result = filled(
            x.len() / width,
            width,
            #[inline(always)]
            |row, out| {
                let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
                let root = inverse_root(x, epsilon);
                let product = sum_of(
                    width,
                    #[inline(always)]
                    |i| grad[i] * weight[i] * x[i],
                );
                let along = product / width as f32 * root * root;
                for (i, out) in out.iter_mut().enumerate() {
                    *out = (grad[i] * weight[i] - x[i] * along) * root;
                }
            },
        );
        tensor(result, shape, dtype)
    }

    fn rms_norm_weight_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, grad) = (in_f32(x), in_f32(grad));
        let (x, grad) = (numbers(&x), numbers(&grad));
        let width = weight.layout().num_elements();
        let sum = sum_over_rows(
            x.len() / width,
            width,
            #[inline(always)]
            |row, sum| {
                let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
                let root = inverse_root(x, epsilon);
                for ((sum, x), grad) in sum.iter_mut().zip(x).zip(grad) {
                    *sum += grad * x * root;
                }
            },
        );
        let dtype = weight.dtype();
        tensor(sum, [width], dtype)
    }
}

/// `1 / sqrt(mean(x^2) + epsilon)`.
#[inline(always)]
fn inverse_root(x: &[f32], epsilon: f64) -> f32 {
    let squares = sum_of(
        x.len(),
        #[inline(always)]
        |i| x[i] * x[i],
    );
    1.0 / (squares / x.len() as f32 + epsilon as f32).sqrt()
}
