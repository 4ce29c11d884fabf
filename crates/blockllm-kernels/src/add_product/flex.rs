//! Adding a product on the CPU, on all cores.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::Flex;

use super::{AddProductBackend, composed};
use crate::host::elementwise::{numbers_mut, owned_in_f32};
use crate::host::gemm::{Cores, Matrix, MatrixMut, Target, product_on};
use crate::host::in_f32;

impl AddProductBackend for Flex {
    fn add_product(
        sum: FloatTensor<Self>,
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if sum.dtype() != DType::F32 {
            return composed::<Self>(sum, left, right);
        }
        // The processor multiplies in f32 in any case.
        let (left, right) = (in_f32(left), in_f32(right));
        let (Some(first), Some(second)) = (Matrix::of(&left), Matrix::of(&right)) else {
            return composed::<Self>(sum, left, right);
        };
        let (rows, depth) = (left.layout().shape()[0], left.layout().shape()[1]);
        let columns = right.layout().shape()[1];
        let mut sum = owned_in_f32(sum);
        let mut target = MatrixMut::rows(numbers_mut(&mut sum), rows, columns);
        product_on(
            Cores::All,
            &mut target,
            first,
            second,
            [rows, columns, depth],
            Target::Add,
        );
        sum
    }
}
