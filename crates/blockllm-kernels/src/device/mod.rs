//! What all GPU kernels share: contiguous arguments, fresh outputs, launch sizes, and sums over the units of a cube.

pub mod reduce;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::{BufferArg, CubeCount, CubeDim};

/// Units of a cube that works on one row.
pub const ROW_UNITS: u32 = 128;

/// Units of a cube of an elementwise kernel.
pub const UNITS: u32 = 256;

/// `tensor` with its numbers one behind the other.
pub fn contiguous(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor)
}

/// A tensor beside `like`, not filled yet.
pub fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_dtype(like.client.clone(), like.device.clone(), shape.into(), dtype)
}

/// `tensor` to be written in place: a copy where somebody else holds it.
pub fn own(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// Where a kernel puts a result as large as the contiguous `input`, which is its buffer number `position`: in the memory
/// of `input` if nobody else holds it.
pub fn in_place_or_new(input: &CubeTensor, position: usize) -> (CubeTensor, BufferArg) {
    if input.can_mut() {
        return (input.clone(), input.as_tensor_alias(position).into_buffer_arg());
    }
    let output = empty(input, input.meta.shape().clone(), input.dtype);
    (output.clone(), output.into_buffer_arg())
}

/// The type of a tensor's numbers, as kernels are told it.
pub fn element(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype)
}

/// One cube per row; a second dimension where one has no room for that many.
pub fn cubes(count: usize) -> CubeCount {
    const MOST: usize = 65_535;
    let count = count.max(1);
    let depth = count.div_ceil(MOST);
    CubeCount::Static(count.div_ceil(depth) as u32, depth as u32, 1)
}

/// Cubes of [`UNITS`] for one unit per number.
pub fn cubes_for(numbers: usize) -> CubeCount {
    cubes(numbers.div_ceil(UNITS as usize))
}

/// A cube of one dimension.
pub fn units(count: u32) -> CubeDim {
    CubeDim::new_1d(count)
}

/// `tensor` for a kernel to change: itself if it is contiguous and nobody else holds it, else a copy.
pub fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = contiguous(tensor);
    if tensor.can_mut() && tensor.is_nonoverlapping() {
        tensor
    } else {
        tensor.copy()
    }
}
