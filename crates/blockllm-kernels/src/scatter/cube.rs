//! Values at indices on GPUs: a unit per index.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::ScatterBackend;
use crate::device::{UNITS, contiguous, cubes_for, element, owned, units};
use crate::kernel_list::{List, buffer};

#[cube(launch)]
fn write<F: Float>(
    into: &mut [F],
    indices: &[i32],
    values: &[F],
    count: usize,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= count {
        terminate!();
    }
    into[usize::cast_from(indices[position])] = values[position];
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "scatter::write",
            dtype,
            write::Write::new(s, d, t, b(), b(), b(), (), dtype),
        );
    }
}

impl ScatterBackend for CubeBackend {
    fn with_values_at(
        into: FloatTensor<Self>,
        indices: IntTensor<Self>,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (into, indices, values) = (owned(into), contiguous(indices), contiguous(values));
        let count = indices.meta.num_elements();
        if count > 0 {
            write::launch(
                &into.client,
                cubes_for(count),
                units(UNITS),
                into.clone().into_buffer_arg(),
                indices.into_buffer_arg(),
                values.into_buffer_arg(),
                count,
                element(&into),
            );
        }
        into
    }
}
