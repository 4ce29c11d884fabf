//! Statistics are kept in f32, whatever the type of weights and gradients.
use burn::tensor::{DType, Tensor};

/// `tensor` in f32; itself if it is already.
pub(crate) fn in_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    cast_to(tensor, DType::F32)
}

/// `tensor` in `dtype`; itself if it is already.
pub(crate) fn cast_to<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        tensor.cast(dtype)
    }
}
