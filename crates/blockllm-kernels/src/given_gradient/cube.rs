//! Scaling by a number that is on the device, in place.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::GivenGradientBackend;
use crate::device::{UNITS, contiguous, cubes_for, element, own, units};
use crate::kernel_list::{List, buffer};

#[cube(launch)]
fn scale<F: Float, G: Float>(numbers: &mut [F], factor: &[G], #[define(F, G)] _dtypes: [ElemType; 2]) {
    if ABSOLUTE_POS >= numbers.len() {
        terminate!();
    }
    numbers[ABSOLUTE_POS] = F::cast_from(f32::cast_from(numbers[ABSOLUTE_POS]) * f32::cast_from(factor[0]));
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "given_gradient::scale",
            dtype,
            scale::Scale::new(s, d, t, b(), b(), [dtype, ElemType::Float(FloatKind::F32)]),
        );
    }
}

impl GivenGradientBackend for CubeBackend {
    fn scaled_by(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let tensor = own(contiguous(tensor));
        let dtypes = [element(&tensor), element(&factor)];
        scale::launch(
            &tensor.client,
            cubes_for(tensor.meta.num_elements()),
            units(UNITS),
            tensor.clone().into_buffer_arg(),
            factor.into_buffer_arg(),
            dtypes,
        );
        tensor
    }
}
