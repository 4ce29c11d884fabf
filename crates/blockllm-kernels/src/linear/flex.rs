//! Linear layers on the CPU: products on all cores into memory that is written once.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_flex::{Flex, FlexTensor};

use super::{LinearBackend, replaced_width, width};
use crate::host::gemm::{Matrix, new_product};
use crate::host::row_product::row_product;
use crate::host::{in_f32, numbers, sum_over_rows, tensor};

impl LinearBackend for Flex {
    fn linear_without_bias(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = replaced_width(x.layout().shape(), weight.layout().shape()[1]);
        match rows_times(&x, &weight, None) {
            Some(output) => tensor(output, shape, DType::F32),
            None => <Self as ModuleOps<Self>>::linear(x, weight, None),
        }
    }

    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = replaced_width(x.layout().shape(), weight.layout().shape()[1]);
        let added = in_f32(bias.clone());
        match rows_times(&x, &weight, Some(numbers(&added))) {
            Some(output) => tensor(output, shape, DType::F32),
            None => <Self as ModuleOps<Self>>::linear(x, weight, Some(bias)),
        }
    }

    fn linear_input_grad(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = replaced_width(grad.layout().shape(), weight.layout().shape()[0]);
        match rows_times(&grad, &weight.transpose(0, 1), None) {
            Some(output) => tensor(output, shape, DType::F32),
            None => <Self as ModuleOps<Self>>::linear_x_backward(weight, grad),
        }
    }

    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = [width(x.layout().shape()), width(grad.layout().shape())];
        let (rows, grads) = (as_rows(&x), as_rows(&grad));
        match (Matrix::of(&rows), Matrix::of(&grads)) {
            (Some(left), Some(right)) => {
                let depth = rows.layout().shape()[0];
                let output = new_product(left.transposed(), right, [shape[0], shape[1], depth], None);
                tensor(output, shape, DType::F32)
            }
            _ => <Self as ModuleOps<Self>>::linear_weight_backward(x, grad),
        }
    }

    fn plain_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = [left.layout().shape()[0], right.layout().shape()[1]];
        match rows_times(&left, &right, None) {
            Some(output) => tensor(output, shape, DType::F32),
            None => Self::float_matmul(left, right),
        }
    }

    fn linear_bias_grad(grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = grad.dtype();
        let outputs = width(grad.layout().shape());
        let grad = in_f32(grad);
        let grad = numbers(&grad);
        let sum = sum_over_rows(
            grad.len() / outputs,
            outputs,
            #[inline(always)]
            |row, sum| {
                for (sum, grad) in sum.iter_mut().zip(&grad[row * outputs..]) {
                    *sum += grad;
                }
            },
        );
        tensor(sum, [outputs], dtype)
    }
}

/// The rows of `x` times `weight`, and `bias` added to each; `None` for other types than f32.
fn rows_times(x: &FlexTensor, weight: &FlexTensor, bias: Option<&[f32]>) -> Option<Vec<f32>> {
    let rows = as_rows(x);
    let (left, right) = (Matrix::of(&rows)?, Matrix::of(weight)?);
    let ([count, depth], outputs) = (
        [rows.layout().shape()[0], rows.layout().shape()[1]],
        weight.layout().shape()[1],
    );
    if count == 1
        && left.column_stride == 1
        && let Some(output) = row_product(&left.data[..depth], right, outputs, bias)
    {
        return Some(output);
    }
    Some(new_product(left, right, [count, outputs, depth], bias))
}

/// `[.., D]` as `[N, D]`; a matrix keeps its strides.
fn as_rows(tensor: &FlexTensor) -> FlexTensor {
    let shape = tensor.layout().shape();
    if shape.num_dims() == 2 {
        return tensor.clone();
    }
    let width = width(shape);
    tensor.reshape(Shape::new([shape.num_elements() / width.max(1), width]))
}
