//! Scaling by a number that is on the device, in place.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::GivenGradientBackend;
use crate::device::{UNITS, contiguous, cubes_for, element, own, units};

#[cube(launch)]
fn scale<F: Float, G: Float>(numbers: &mut [F], factor: &[G], #[define(F, G)] _dtypes: [ElemType; 2]) {
    if ABSOLUTE_POS >= numbers.len() {
        terminate!();
    }
    numbers[ABSOLUTE_POS] = F::cast_from(f32::cast_from(numbers[ABSOLUTE_POS]) * f32::cast_from(factor[0]));
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
