//! Values at indices on the CPU.

use burn::tensor::{DType, bf16, f16};
use burn_flex::{Flex, FlexTensor};

use super::ScatterBackend;
use crate::host::entries::{owned, small_integers};

impl ScatterBackend for Flex {
    fn with_values_at(into: FlexTensor, indices: FlexTensor, values: FlexTensor) -> FlexTensor {
        fn write<T: Copy>(into: &mut [T], indices: &[i32], values: &[T]) {
            for (index, value) in indices.iter().zip(values) {
                into[*index as usize] = *value;
            }
        }
        let (mut into, values) = (owned(into), owned(values));
        let indices = small_integers(&indices);
        match into.dtype() {
            DType::F32 => write(into.storage_mut::<f32>(), &indices, values.storage()),
            DType::F64 => write(into.storage_mut::<f64>(), &indices, values.storage()),
            DType::F16 => write(into.storage_mut::<f16>(), &indices, values.storage()),
            DType::BF16 => write(into.storage_mut::<bf16>(), &indices, values.storage()),
            other => unreachable!("a float tensor has no {other:?} entries"),
        }
        into
    }
}
