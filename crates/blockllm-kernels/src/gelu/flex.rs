//! The GELU on the CPU: value and derivative in one loop that the compiler vectorizes; a scalar `erf` and `exp` for each
//! entry had been a sixth of a fine-tuning step.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::{GeluBackend, INV_SQRT_2PI, RATIO, TAIL};
use crate::host::elementwise::{filled_chunks, in_chunks, is_owned, numbers_mut, owned_in_f32};
use crate::host::simd::exp;
use crate::host::{in_dtype, in_f32, numbers, tensor};

impl GeluBackend for Flex {
    fn gelu_exact(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.layout().shape().clone());
        let mut x = in_f32(x);
        if is_owned(&mut x) {
            in_chunks(
                numbers_mut(&mut x),
                #[inline(always)]
                |_, x| {
                    for x in x {
                        *x = value_and_slope(*x).0;
                    }
                },
            );
            return in_dtype(x, dtype);
        }
        let x = numbers(&x);
        let output = filled_chunks(
            x.len(),
            #[inline(always)]
            |start, out| {
                for (out, x) in out.iter_mut().zip(&x[start..]) {
                    *out = value_and_slope(*x).0;
                }
            },
        );
        tensor(output, shape, dtype)
    }

    fn gelu_exact_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let (x, mut grad) = (in_f32(x), owned_in_f32(grad));
        let x = numbers(&x);
        in_chunks(
            numbers_mut(&mut grad),
            #[inline(always)]
            |start, grad| {
                for (grad, x) in grad.iter_mut().zip(&x[start..]) {
                    *grad *= value_and_slope(*x).1;
                }
            },
        );
        in_dtype(grad, dtype)
    }
}

/// `x Phi(x)` and `Phi(x) + x phi(x)`, without branches or calls.
#[inline(always)]
fn value_and_slope(x: f32) -> (f32, f32) {
    let bell = exp(-0.5 * x * x);
    let scaled = RATIO * x.abs();
    let t = 1.0 / (1.0 + scaled);
    let u = -scaled * t;
    let mut tail = 0.0_f32;
    for power in TAIL.into_iter().rev() {
        tail = tail * u + power;
    }
    let upper = 0.5 * bell * t * tail; // Phi(-|x|)
    let cdf = if x < 0.0 { upper } else { 1.0 - upper };
    (x * cdf, cdf + x * INV_SQRT_2PI * bell)
}

#[cfg(test)]
mod tests {
    use super::value_and_slope;

    #[test]
    fn what_is_not_a_number_stays_so() {
        assert!(value_and_slope(f32::NAN).0.is_nan() && value_and_slope(f32::NAN).1.is_nan());
    }
}
