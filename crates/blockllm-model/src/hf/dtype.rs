//! The number formats of weights on disk.

use burn::tensor::FloatDType;
use half::{bf16, f16};
use safetensors::Dtype;

/// A number format that weights are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightDtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, IEEE 754.
    F16,
    /// 16 bits with the range of 32.
    BF16,
}

impl WeightDtype {
    /// The format with this name in a safetensors header, when it is read at all.
    pub(super) fn from_safetensors(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::BF16),
            _ => None,
        }
    }

    /// The name in a safetensors header.
    pub(super) fn to_safetensors(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::BF16 => Dtype::BF16,
        }
    }

    /// The name in `config.json`.
    pub(super) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }

    /// Bytes per number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Numbers from little-endian bytes.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F16 => decode(bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            Self::BF16 => decode(bytes, |pair| bf16::from_le_bytes(pair).to_f32()),
        }
    }

    /// Little-endian bytes of numbers, rounded to nearest.
    pub(super) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                .collect(),
            Self::BF16 => values
                .iter()
                .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                .collect(),
        }
    }
}

impl From<WeightDtype> for FloatDType {
    fn from(dtype: WeightDtype) -> Self {
        match dtype {
            WeightDtype::F32 => Self::F32,
            WeightDtype::F16 => Self::F16,
            WeightDtype::BF16 => Self::BF16,
        }
    }
}

/// Every `N` bytes through `number`.
fn decode<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| number(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_returns_what_it_can_hold() {
        for dtype in [WeightDtype::F32, WeightDtype::F16, WeightDtype::BF16] {
            let values = [0.0, -1.5, 0.25, 96.0];
            assert_eq!(dtype.decode(&dtype.encode(&values)), values);
            assert_eq!(dtype.encode(&values).len(), 4 * dtype.size());
        }
    }
}
