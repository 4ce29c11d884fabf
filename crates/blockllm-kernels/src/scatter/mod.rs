//! Values written at given indices of a vector: a unit per index, where burn's `select_assign` on a vector has one unit
//! for all of them.
//!
//! Shape legend: `N` entries, `K` indices.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Int, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

/// `into` with `values` at `indices`, of which no two may be equal.
///
/// # Shapes
///
/// - into and output: `[N]`
/// - indices: `[K]`, i32
/// - values: `[K]`, in the type of `into`
pub fn with_values_at(into: Tensor<1>, indices: Tensor<1, Int>, values: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::with_values_at(
        into.into_dispatch(),
        indices.into_dispatch(),
        values.into_dispatch(),
    ))
}

/// Backends that write values at indices.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait ScatterBackend: Backend {
    /// `into` with `values` at `indices`.
    #[fusion(dtype = into, shape = into)]
    fn with_values_at(
        into: FloatTensor<Self>,
        indices: IntTensor<Self>,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, TensorData};

    use crate::testing::{devices, float_types, numbers};

    #[test]
    fn values_land_at_their_indices_and_the_rest_keeps_its_bits() {
        for device in devices() {
            for (dtype, _) in float_types(&device) {
                let into: Vec<f32> = (0..700).map(|i| i as f32 * 0.5 - 7.0).collect();
                let places: Vec<i32> = (0..233).map(|i| i * 3 + 1).collect();
                let mut expected = into.clone();
                for index in &places {
                    expected[*index as usize] = -*index as f32;
                }
                let values: Vec<f32> = places.iter().map(|index| -*index as f32).collect();
                let float = |numbers: Vec<f32>| {
                    let len = numbers.len();
                    Tensor::<1>::from_data(TensorData::new(numbers, [len]), (&device, DType::F32)).cast(dtype)
                };
                let data = TensorData::new(places, [233]);
                let indices = Tensor::from_data(data, (&device, DType::I32));
                let original = float(into.clone());
                let found = with_values_at(original.clone(), indices, float(values));
                assert_eq!(numbers(found), numbers(float(expected)));
                assert_eq!(numbers(original), numbers(float(into)), "a copy was changed");
            }
        }
    }
}
