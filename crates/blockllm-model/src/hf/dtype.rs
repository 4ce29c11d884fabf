//! The number formats of weights on disk.

use burn::tensor::{DType, FloatDType};

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
    /// The format that parameters of this type are written in, so that nothing is lost.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            _ => Self::F32,
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

impl From<WeightDtype> for DType {
    fn from(dtype: WeightDtype) -> Self {
        FloatDType::from(dtype).into()
    }
}
