//! The gated unit on GPUs: a unit per entry, the gradients in the memory of `gate` and `up`.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::SwigluBackend;
use crate::device::{UNITS, contiguous, cubes_for, element, in_place_or_new, units};
use crate::kernel_list::{List, buffer, in_place, settings};

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-x).exp())
}

#[cube(launch)]
fn forward<F: Float>(gate: &[F], up: &[F], output: &mut [F], #[define(F)] _dtype: ElemType) {
    let position = ABSOLUTE_POS;
    if position >= output.len() {
        terminate!();
    }
    let gate = f32::cast_from(gate[position]);
    output[position] = F::cast_from(gate * sigmoid(gate) * f32::cast_from(up[position]));
}

#[cube(launch)]
fn backward<F: Float>(
    gate: &[F],
    up: &[F],
    grad: &[F],
    gate_grad: &mut [F],
    up_grad: &mut [F],
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= gate_grad.len() {
        terminate!();
    }
    let gate = f32::cast_from(gate[position]);
    let up = f32::cast_from(up[position]);
    let sigmoid = sigmoid(gate);
    let through = f32::cast_from(grad[position]) * sigmoid;
    gate_grad[position] = F::cast_from(through * up * (1.0f32 + gate * (1.0f32 - sigmoid)));
    up_grad[position] = F::cast_from(through * gate);
}

/// Adds the kernels of this operation, with outputs of their own and in the memory of inputs.
pub(crate) fn list_kernels(list: &mut List) {
    let (s, b) = (settings(UNITS), buffer);
    let devices = (list.device.clone(), list.target.clone());
    for dtype in List::FLOATS.map(ElemType::Float) {
        for (gate, up, where_to) in [(b(), b(), ""), (in_place(0), in_place(1), " in place")] {
            let (d, t) = devices.clone();
            let kernel = forward::Forward::new(s.clone(), d, t, b(), b(), gate.clone(), dtype);
            list.add(&format!("swiglu::forward{where_to}"), dtype, kernel);
            let (d, t) = devices.clone();
            let kernel = backward::Backward::new(s.clone(), d, t, b(), b(), b(), gate, up, dtype);
            list.add(&format!("swiglu::backward{where_to}"), dtype, kernel);
        }
    }
}

impl SwigluBackend for CubeBackend {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let (client, dtype) = (gate.client.clone(), element(&gate));
        let cubes = cubes_for(gate.meta.num_elements());
        let (output, output_arg) = in_place_or_new(&gate, 0);
        forward::launch(
            &client,
            cubes,
            units(UNITS),
            gate.into_buffer_arg(),
            up.into_buffer_arg(),
            output_arg,
            dtype,
        );
        output
    }

    fn swiglu_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (gate, up, grad) = (contiguous(gate), contiguous(up), contiguous(grad));
        let (client, dtype) = (gate.client.clone(), element(&gate));
        let cubes = cubes_for(gate.meta.num_elements());
        let (gate_grad, gate_grad_arg) = in_place_or_new(&gate, 0);
        let (up_grad, up_grad_arg) = in_place_or_new(&up, 1);
        backward::launch(
            &client,
            cubes,
            units(UNITS),
            gate.into_buffer_arg(),
            up.into_buffer_arg(),
            grad.into_buffer_arg(),
            gate_grad_arg,
            up_grad_arg,
            dtype,
        );
        (gate_grad, up_grad)
    }
}
