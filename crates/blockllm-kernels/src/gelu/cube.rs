//! The GELU on GPUs: a unit per entry; in a backward pass in the memory of the gradient.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::{GeluBackend, INV_SQRT_2PI, RATIO, TAIL};
use crate::device::{UNITS, contiguous, cubes_for, element, in_place_or_new, units};
use crate::kernel_list::{List, buffer, either_place};

/// `exp(-x^2 / 2)`.
#[cube]
fn bell(x: f32) -> f32 {
    (-0.5f32 * x * x).exp()
}

/// `Phi(x)`, `bell` being that of `x`.
#[cube]
fn normal_cdf(x: f32, bell: f32) -> f32 {
    let scaled = comptime!(RATIO) * x.abs();
    let t = 1.0f32 / (1.0f32 + scaled);
    let u = -scaled * t;
    let mut tail = comptime!(TAIL[7]) * u + comptime!(TAIL[6]);
    tail = tail * u + comptime!(TAIL[5]);
    tail = tail * u + comptime!(TAIL[4]);
    tail = tail * u + comptime!(TAIL[3]);
    tail = tail * u + comptime!(TAIL[2]);
    tail = tail * u + comptime!(TAIL[1]);
    tail = tail * u + comptime!(TAIL[0]);
    let upper = 0.5f32 * bell * t * tail; // Phi(-|x|)
    select(x < 0.0f32, upper, 1.0f32 - upper)
}

#[cube(launch)]
fn forward<F: Float>(x: &[F], output: &mut [F], #[define(F)] _dtype: ElemType) {
    let position = ABSOLUTE_POS;
    if position >= output.len() {
        terminate!();
    }
    let x = f32::cast_from(x[position]);
    output[position] = F::cast_from(x * normal_cdf(x, bell(x)));
}

#[cube(launch)]
fn backward<F: Float>(x: &[F], grad: &[F], output: &mut [F], #[define(F)] _dtype: ElemType) {
    let position = ABSOLUTE_POS;
    if position >= output.len() {
        terminate!();
    }
    let x = f32::cast_from(x[position]);
    let bell = bell(x);
    let slope = normal_cdf(x, bell) + x * comptime!(INV_SQRT_2PI) * bell;
    output[position] = F::cast_from(f32::cast_from(grad[position]) * slope);
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        for (output, form) in either_place(0) {
            let (s, d, t) = list.beside(UNITS);
            let kernel = forward::Forward::new(s, d, t, b(), output, dtype);
            list.add(&format!("gelu::forward{form}"), dtype, kernel);
        }
        for (output, form) in either_place(1) {
            let (s, d, t) = list.beside(UNITS);
            let kernel = backward::Backward::new(s, d, t, b(), b(), output, dtype);
            list.add(&format!("gelu::backward{form}"), dtype, kernel);
        }
    }
}

impl GeluBackend for CubeBackend {
    fn gelu_exact(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = contiguous(x);
        let (client, dtype) = (x.client.clone(), element(&x));
        let cubes = cubes_for(x.meta.num_elements());
        let (output, output_arg) = in_place_or_new(&x, 0);
        forward::launch(
            &client,
            cubes,
            units(UNITS),
            x.into_buffer_arg(),
            output_arg,
            dtype,
        );
        output
    }

    fn gelu_exact_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, grad) = (contiguous(x), contiguous(grad));
        let (client, dtype) = (x.client.clone(), element(&x));
        let cubes = cubes_for(x.meta.num_elements());
        let (output, output_arg) = in_place_or_new(&grad, 1);
        backward::launch(
            &client,
            cubes,
            units(UNITS),
            x.into_buffer_arg(),
            grad.into_buffer_arg(),
            output_arg,
            dtype,
        );
        output
    }
}
