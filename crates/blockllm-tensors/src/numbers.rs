//! The number formats of tensors in files, and how one becomes another.

use crate::blocks::Blocks;
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

/// How a file keeps the numbers of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One by one, in a type that tensors have.
    Plain(DType),
    /// In blocks that share scales.
    Blocks(Blocks),
    /// In a way that is not read: its name.
    Unread(String),
}

impl Format {
    /// The type that keeps what is there, if it is read at all.
    pub(crate) fn dtype(&self) -> Option<DType> {
        match self {
            Self::Plain(dtype) => Some(*dtype),
            Self::Blocks(_) => Some(DType::F32),
            Self::Unread(_) => None,
        }
    }

    /// Numbers that are kept together, and the bytes that they take: none are counted of what is not read.
    pub(crate) fn unit(&self) -> (usize, usize) {
        match self {
            Self::Plain(dtype) => (1, dtype.size()),
            Self::Blocks(blocks) => (blocks.count(), blocks.bytes()),
            Self::Unread(_) => (1, 0),
        }
    }

    /// The name for an error.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Plain(dtype) => format!("{dtype:?}"),
            Self::Blocks(blocks) => blocks.name().to_owned(),
            Self::Unread(name) => name.clone(),
        }
    }
}

/// A number that can be brought back from a file.
pub(crate) trait Number: Element + Copy + Default {
    /// Fills `out` from little-endian bytes of `stored`; whether that is possible.
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool;
}

/// Fills `out` from blocks, each number through `number`.
fn from_blocks<T>(blocks: Blocks, bytes: &[u8], out: &mut [T], number: impl Fn(f32) -> T) -> bool {
    blocks.decode(bytes, out, number);
    true
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
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            Format::Plain(DType::F32) => convert(bytes, out, Self::from_le_bytes),
            Format::Plain(DType::F16) => convert(bytes, out, |two| f16::from_le_bytes(two).to_f32()),
            Format::Plain(DType::BF16) => convert(bytes, out, |two| bf16::from_le_bytes(two).to_f32()),
            Format::Blocks(blocks) => from_blocks(*blocks, bytes, out, |number| number),
            _ => false,
        }
    }
}

impl Number for f16 {
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            Format::Plain(DType::F32) => convert(bytes, out, |four| Self::from_f32(f32::from_le_bytes(four))),
            Format::Plain(DType::F16) => convert(bytes, out, Self::from_le_bytes),
            Format::Plain(DType::BF16) => convert(bytes, out, |two| {
                Self::from_f32(bf16::from_le_bytes(two).to_f32())
            }),
            Format::Blocks(blocks) => from_blocks(*blocks, bytes, out, Self::from_f32),
            _ => false,
        }
    }
}

impl Number for bf16 {
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool {
        match stored {
            Format::Plain(DType::F32) => convert(bytes, out, |four| Self::from_f32(f32::from_le_bytes(four))),
            Format::Plain(DType::F16) => {
                convert(bytes, out, |two| Self::from_f32(f16::from_le_bytes(two).to_f32()))
            }
            Format::Plain(DType::BF16) => convert(bytes, out, Self::from_le_bytes),
            Format::Blocks(blocks) => from_blocks(*blocks, bytes, out, Self::from_f32),
            _ => false,
        }
    }
}

impl Number for i32 {
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool {
        *stored == Format::Plain(DType::I32) && convert(bytes, out, Self::from_le_bytes)
    }
}

impl Number for u8 {
    fn decode(stored: &Format, bytes: &[u8], out: &mut [Self]) -> bool {
        *stored == Format::Plain(DType::U8) && convert(bytes, out, Self::from_le_bytes)
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
            let stored = Format::Plain(stored);
            assert!(f32::decode(&stored, &bytes, &mut numbers));
            assert_eq!(numbers.map(f32::to_bits), values.map(f32::to_bits));
            let mut halves = [bf16::ZERO; 4];
            assert!(bf16::decode(&stored, &bytes, &mut halves));
            assert_eq!(halves, values.map(bf16::from_f32));
        }
    }

    #[test]
    fn integers_are_read_as_what_they_are_alone() {
        let bytes = 7_i32.to_le_bytes();
        let [whole, float] = [DType::I32, DType::F32].map(Format::Plain);
        assert!(i32::decode(&whole, &bytes, &mut [0]));
        assert!(!i32::decode(&float, &bytes, &mut [0]));
        assert!(!f32::decode(&whole, &bytes, &mut [0.0]));
    }
}
