//! The product of two matrices added to a third, in its memory: `C = C + A B`, for gradients that are summed over chunks.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

/// `sum + left right`, in the memory of `sum` where nobody else holds it; outside autodiff. A sum in f32 may be of factors in
/// half precision, so that nothing of many small products is lost.
///
/// # Shapes
///
/// - sum and output: `[M, N]`
/// - left: `[M, K]`, right: `[K, N]`, both of any strides
pub fn add_product(sum: Tensor<2>, left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    let ([rows, depth], [_, columns]) = (left.dims(), right.dims());
    assert_eq!(right.dims(), [depth, columns], "the factors fit together");
    assert_eq!(sum.dims(), [rows, columns], "the product fits into the sum");
    Tensor::from_dispatch(Dispatch::add_product(
        sum.into_dispatch(),
        left.into_dispatch(),
        right.into_dispatch(),
    ))
}

/// Backends that add products; the default composes burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait AddProductBackend: Backend {
    /// `sum + left right`, `[M, N]`, in the type of `sum`.
    #[fusion(dtype = sum, shape = sum)]
    fn add_product(
        sum: FloatTensor<Self>,
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::<Self>(sum, left, right)
    }
}

/// The composition of burn's operations.
fn composed<B: Backend>(sum: FloatTensor<B>, left: FloatTensor<B>, right: FloatTensor<B>) -> FloatTensor<B> {
    let product = B::float_matmul(left, right);
    let dtype = sum.dtype();
    if product.dtype() == dtype {
        return B::float_add(sum, product);
    }
    B::float_add(sum, B::float_cast(product, dtype.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, devices, float_types, numbers, random};
    use burn::tensor::DType;

    #[test]
    fn a_sum_in_f32_loses_nothing_of_products_in_half_precision() {
        for device in devices() {
            for (dtype, _) in float_types(&device) {
                // In bf16 a sum of ones would stop at 256.
                let factor = |shape: [usize; 2]| Tensor::<2>::ones(shape, (&device, DType::F32)).cast(dtype);
                let zeros = Tensor::zeros([2, 3], (&device, DType::F32));
                let sum = (0..600).fold(zeros, |sum, _| add_product(sum, factor([2, 1]), factor([1, 3])));
                assert_eq!(sum.dtype(), DType::F32);
                assert_eq!(numbers(sum), [600.0; 6], "{dtype:?} {device:?}");
            }
        }
    }

    #[test]
    fn sums_and_products_are_those_of_the_composition() {
        for device in devices() {
            for (dtype, allowed) in float_types(&device) {
                for [rows, depth, columns] in [[1, 1, 1], [3, 5, 2], [65, 130, 33]] {
                    let sum = random([rows, columns], 1, &device).cast(dtype);
                    let left = random([depth, rows], 2, &device).cast(dtype).transpose();
                    let right = random([depth, columns], 3, &device).cast(dtype);
                    let expected = sum.clone() + left.clone().matmul(right.clone());
                    let found = add_product(sum.clone(), left, right);
                    let what = format!("{rows} {depth} {columns} {dtype:?} {device:?}");
                    assert_close(&what, &numbers(found), &numbers(expected), allowed);
                    // What another holds stays as it was.
                    let unchanged = random([rows, columns], 1, &device).cast(dtype);
                    assert_eq!(numbers(sum), numbers(unchanged));
                }
            }
        }
    }
}
