//! Adding a product on the CPU, on all cores.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::Flex;

use super::AddProductBackend;
use crate::host::elementwise::{numbers_mut, owned_in_f32};
use crate::host::gemm::{Cores, Matrix, MatrixMut, Target, product_on};

impl AddProductBackend for Flex {
    fn add_product(
        sum: FloatTensor<Self>,
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let matrices = (Matrix::of(&left), Matrix::of(&right));
        let (Some(first), Some(second), DType::F32) = (matrices.0, matrices.1, sum.dtype()) else {
            return Self::float_add(sum, Self::float_matmul(left, right));
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
