//! Small pieces from which the default bodies compose burn's own operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, FloatDType, Shape};

/// `tensor` in `dtype`; itself if it is already.
pub(crate) fn cast<B: Backend>(tensor: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if tensor.dtype() == dtype {
        return tensor;
    }
    B::float_cast(tensor, float_dtype(dtype))
}

/// A float type as the operations take it.
pub(crate) fn float_dtype(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        DType::F32 => FloatDType::F32,
        DType::F16 => FloatDType::F16,
        DType::BF16 => FloatDType::BF16,
        other => unreachable!("a float tensor has no {other:?} entries"),
    }
}

/// `tensor` in f32.
pub(crate) fn in_f32<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    cast::<B>(tensor, DType::F32)
}

/// `[.., D]` as `[N, D]`.
pub(crate) fn rows_of<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    B::float_reshape(tensor, Shape::new([rows, width]))
}

/// The sum over the rows: `[N, D]` to `[1, D]`.
pub(crate) fn sum_of_rows<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum_dim(tensor, 0)
}
