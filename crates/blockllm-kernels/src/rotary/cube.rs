//! Rotary embedding on GPUs: a unit per pair of entries, in the memory of its input.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::RotaryBackend;
use crate::composed::in_f32;
use crate::device::{UNITS, contiguous, cubes_for, element, in_place_or_new, units};
use crate::kernel_list::{List, buffer, either_place};

#[cube(launch)]
fn rotate<F: Float>(
    x: &[F],
    cos: &[f32],
    sin: &[f32],
    output: &mut [F],
    pairs: usize,
    positions: usize,
    heads: usize,
    half: usize,
    sign: f32,
    #[define(F)] _dtype: ElemType,
) {
    let pair = ABSOLUTE_POS;
    if pair >= pairs {
        terminate!();
    }
    let head = pair / half;
    let lane = pair % half;
    let at = head / heads % positions * half + lane;
    let cos = cos[at];
    let sin = sign * sin[at];
    let first = head * 2 * half + lane;
    let second = first + half;
    let a = f32::cast_from(x[first]);
    let b = f32::cast_from(x[second]);
    output[first] = F::cast_from(a * cos - b * sin);
    output[second] = F::cast_from(b * cos + a * sin);
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        for (output, form) in either_place(0) {
            let (s, d, t) = list.beside(UNITS);
            let kernel = rotate::Rotate::new(s, d, t, b(), b(), b(), output, (), (), (), (), (), dtype);
            list.add(&format!("rotary::rotate{form}"), dtype, kernel);
        }
    }
}

impl RotaryBackend for CubeBackend {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let x = contiguous(x);
        let [cos, sin] = [cos, sin].map(|table| contiguous(in_f32::<Self>(table)));
        let pairs = x.meta.num_elements() / 2;
        let (positions, heads) = (x.meta.shape()[1], x.meta.shape()[2]);
        let half = x.meta.shape()[3] / 2;
        let (client, dtype) = (x.client.clone(), element(&x));
        let (output, output_arg) = in_place_or_new(&x, 0);
        rotate::launch(
            &client,
            cubes_for(pairs),
            units(UNITS),
            x.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            output_arg,
            pairs,
            positions,
            heads,
            half,
            if inverse { -1.0 } else { 1.0 },
            dtype,
        );
        output
    }
}
