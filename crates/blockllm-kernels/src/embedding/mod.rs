//! Rows of a table by their ids: `y_n = W[id_n]`.
//!
//! For the gradient `g` of `y`: `dW[v] = sum of g_n over all n with id_n = v`, in the order of `n`. On GPUs burn's own adds
//! with one unit per column that goes through all ids; here the first token of each id adds up all tokens of that id, a unit
//! per column, so that the work is shared and the order fixed.
//!
//! Shapes: `B` batch, `T` sequence, `N = B T` tokens, `V` rows of the table, `D` width.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{IndexingUpdateOp, Int, Shape, Tensor};

use crate::composed::float_dtype;

#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

/// The rows of `table` that `ids` name.
///
/// # Shapes
///
/// - table: `[V, D]`
/// - ids: `[B, T]`, each below `V`
/// - output: `[B, T, D]`
///
/// # Panics
///
/// On the CPU when an id has no row.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, length], [_, width]) = (ids.dims(), table.dims());
    let ids = ids.inner().reshape([batch * length]);
    let rows = Tensor::<2>::from_dispatch(Dispatch::rows_by_id(table.into_dispatch(), ids.into_dispatch()));
    rows.reshape([batch, length, width])
}

/// Backends with embeddings; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait EmbeddingBackend: Backend {
    /// `y`, `[N, D]`.
    #[fusion(dtype = table, shape = Shape::new([ids[0], table[1]]))]
    fn rows_by_id(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Self::float_select(table, 0, ids)
    }

    /// `dW`, `[V, D]`, for `rows` rows.
    #[fusion(dtype = grad, shape = Shape::new([rows, grad[1]]))]
    fn rows_by_id_grad(grad: FloatTensor<Self>, ids: IntTensor<Self>, rows: usize) -> FloatTensor<Self> {
        let width = grad.shape()[1];
        let zeros = Self::float_zeros(
            Shape::new([rows, width]),
            &grad.device(),
            float_dtype(grad.dtype()),
        );
        Self::float_select_assign(zeros, 0, ids, grad, IndexingUpdateOp::Add)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::testing::assert_agreement;

    #[test]
    fn rows_and_gradients_are_those_of_burn() {
        for [rows, width, batch, length] in [[1, 1, 1, 1], [7, 5, 2, 3], [50, 33, 3, 40], [300, 64, 1, 700]] {
            // Some ids come often, some never.
            let ids: Vec<i64> = (0..batch * length)
                .map(|i| ((i * i * 7 + i) % rows) as i64)
                .collect();
            let ids = |like: &Tensor<2>| {
                let data = TensorData::new(ids.clone(), [batch, length]);
                Tensor::<2, Int>::from_data(data, &like.device().inner())
            };
            assert_agreement(
                "embedding",
                &[[rows, width]],
                &|inputs| embedding(inputs[0].clone(), ids(&inputs[0])).reshape([batch * length, width]),
                &|inputs| {
                    inputs[0]
                        .clone()
                        .select(0, ids(&inputs[0]).reshape([batch * length]))
                },
            );
        }
    }
}
