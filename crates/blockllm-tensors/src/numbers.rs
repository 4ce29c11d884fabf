//! The number formats of tensors in files, and how one becomes another.

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use std::borrow::Cow;

/// Every format that is read and written: in memory, in a file.
const FORMATS: [(DType, Dtype); 5] = [
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I32, Dtype::I32),
    (DType::U8, Dtype::U8),
];

/// The name in a header.
pub(crate) fn in_file(dtype: DType) -> Option<Dtype> {
    FORMATS
        .iter()
        .find(|(own, _)| *own == dtype)
        .map(|(_, stored)| *stored)
}

/// The type of a name in a header.
pub(crate) fn in_memory(dtype: Dtype) -> Option<DType> {
    FORMATS
        .iter()
        .find(|(_, stored)| *stored == dtype)
        .map(|(own, _)| *own)
}

/// A number that can be brought back from a file.
pub(crate) trait Number: Element + Copy + Default {
    /// Fills `out` from little-endian bytes of `stored`; whether that is possible.
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool;
}

/// Every `N` bytes through `number`.
fn convert<const N: usize, T>(bytes: &[u8], out: &mut [T], number: impl Fn([u8; N]) -> T) -> bool {
    let (chunks, rest) = bytes.as_chunks::<N>();
    debug_assert!(
        rest.is_empty() && chunks.len() == out.len(),
        "pieces hold whole numbers"
    );
    for (out, chunk) in out.iter_mut().zip(chunks) {
        *out = number(*chunk);
    }
    true
}

impl Number for f32 {
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            DType::F32 => convert(bytes, out, Self::from_le_bytes),
            DType::F16 => convert(bytes, out, |two| f16::from_le_bytes(two).to_f32()),
            DType::BF16 => convert(bytes, out, |two| bf16::from_le_bytes(two).to_f32()),
            _ => false,
        }
    }
}

impl Number for f16 {
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            DType::F32 => convert(bytes, out, |four| Self::from_f32(f32::from_le_bytes(four))),
            DType::F16 => convert(bytes, out, Self::from_le_bytes),
            DType::BF16 => convert(bytes, out, |two| {
                Self::from_f32(bf16::from_le_bytes(two).to_f32())
            }),
            _ => false,
        }
    }
}

impl Number for bf16 {
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            DType::F32 => convert(bytes, out, |four| Self::from_f32(f32::from_le_bytes(four))),
            DType::F16 => convert(bytes, out, |two| Self::from_f32(f16::from_le_bytes(two).to_f32())),
            DType::BF16 => convert(bytes, out, Self::from_le_bytes),
            _ => false,
        }
    }
}

impl Number for i32 {
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool {
        stored == DType::I32 && convert(bytes, out, Self::from_le_bytes)
    }
}

impl Number for u8 {
    fn decode(stored: DType, bytes: &[u8], out: &mut [Self]) -> bool {
        stored == DType::U8 && convert(bytes, out, Self::from_le_bytes)
    }
}

/// Little-endian bytes of `data` in the format `dtype`, rounded to nearest.
pub(crate) fn encode(data: &TensorData, dtype: DType) -> Cow<'_, [u8]> {
    if data.dtype() == dtype {
        return Cow::Borrowed(data.as_bytes());
    }
    let numbers = data.iter::<f32>();
    match dtype {
        DType::F16 => numbers
            .flat_map(|number| f16::from_f32(number).to_le_bytes())
            .collect(),
        DType::BF16 => numbers
            .flat_map(|number| bf16::from_f32(number).to_le_bytes())
            .collect(),
        _ => numbers.flat_map(f32::to_le_bytes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_returns_what_it_can_hold() {
        let values = [0.0_f32, -1.5, 0.25, 96.0];
        for stored in [DType::F32, DType::F16, DType::BF16] {
            let data = TensorData::new(values.to_vec(), [4]);
            let bytes = encode(&data, stored);
            assert_eq!(bytes.len(), 4 * stored.size());
            let mut numbers = [0.0_f32; 4];
            assert!(f32::decode(stored, &bytes, &mut numbers));
            assert_eq!(numbers.map(f32::to_bits), values.map(f32::to_bits));
            let mut halves = [bf16::ZERO; 4];
            assert!(bf16::decode(stored, &bytes, &mut halves));
            assert_eq!(halves, values.map(bf16::from_f32));
        }
    }

    #[test]
    fn integers_are_read_as_what_they_are_alone() {
        let bytes = 7_i32.to_le_bytes();
        assert!(i32::decode(DType::I32, &bytes, &mut [0]));
        assert!(!i32::decode(DType::F32, &bytes, &mut [0]));
        assert!(!f32::decode(DType::I32, &bytes, &mut [0.0]));
    }
}
