//! One array of optimizer state, in f32 or in 8-bit codes.
use crate::quantized::{Int8Blocks, coded_bytes};
use crate::{OptimError, OptimizerRecord};
use blockllm_kernels::{CODE_WORDS, Coding, StateArray, code_blocks};
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In what the moments of the trained entries are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MomentPrecision {
    /// 4 bytes per entry and array.
    #[default]
    F32,
    /// About 1 byte per entry and array, in blocks of 256 with a scale each. Parameters with fewer than 4096 trained
    /// entries stay in f32, as in other 8-bit optimizers: they cost little, and biases and norms suffer most.
    Int8,
}

impl MomentPrecision {
    /// Fewer entries stay in f32.
    const FEWEST_CODED: u64 = 4096;

    /// Whether arrays of `len` entries are coded.
    pub(crate) fn codes(self, len: u64) -> bool {
        self == Self::Int8 && len >= Self::FEWEST_CODED
    }

    /// Bytes of an array of `len` entries.
    pub(crate) fn bytes(self, len: u64) -> u64 {
        if self.codes(len) {
            coded_bytes(len)
        } else {
            len * 4
        }
    }
}

/// One array of state.
#[derive(Debug)]
pub(crate) enum Moments {
    F32(Box<Tensor<1>>),
    Int8(Box<Int8Blocks>),
}

impl Moments {
    /// Keeps `values`, `[len]`.
    pub fn store(values: Tensor<1>, precision: MomentPrecision, coding: Coding) -> Self {
        if precision.codes(values.dims()[0] as u64) {
            Self::Int8(Box::new(Int8Blocks::encode(values, coding)))
        } else {
            Self::F32(Box::new(values))
        }
    }

    /// `len` zeros.
    pub fn zeros(len: u64, precision: MomentPrecision, coding: Coding, device: &Device) -> Self {
        if precision.codes(len) {
            Self::Int8(Box::new(Int8Blocks::zeros(len as usize, coding, device)))
        } else {
            // `Tensor::zeros` of flex copies what it has made: for a moment there would be two.
            Self::F32(Box::new(Tensor::full([len as usize], 0.0, (device, DType::F32))))
        }
    }

    /// The values in f32.
    pub fn load(&self) -> Tensor<1> {
        match self {
            Self::F32(values) => Tensor::clone(values),
            Self::Int8(codes) => codes.decode(),
        }
    }

    /// The array as a kernel takes it.
    pub fn into_kernel(self) -> StateArray {
        match self {
            Self::F32(values) => StateArray::F32(*values),
            Self::Int8(codes) => StateArray::Int8 {
                words: codes.words,
                scales: codes.scales,
            },
        }
    }

    /// The array of `len` entries as a kernel leaves it.
    pub fn from_kernel(array: StateArray, len: usize, coding: Coding) -> Self {
        match array {
            StateArray::F32(values) => Self::F32(Box::new(values)),
            StateArray::Int8 { words, scales } => Self::Int8(Box::new(Int8Blocks {
                words,
                scales,
                len,
                non_negative: coding.is_of_fourth_roots(),
                excluding: coding.excluding,
            })),
        }
    }

    /// Bytes of the tensors held, counted from their shapes and types.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::F32(values) => bytes_of(values.dims()[0], values.dtype()),
            Self::Int8(codes) => {
                bytes_of(codes.words.dims()[0], codes.words.dtype())
                    + bytes_of(codes.scales.dims()[0], codes.scales.dtype())
            }
        }
    }

    /// Puts the tensors under names that begin with `name`.
    pub fn record(&self, name: &str, tensors: &mut BTreeMap<String, HeldTensor>) {
        match self {
            Self::F32(values) => {
                tensors.insert(name.to_owned(), HeldTensor::float(Tensor::clone(values)));
            }
            Self::Int8(codes) => {
                let (scales, words) = (codes.scales.clone(), codes.words.clone());
                tensors.insert(format!("{name}.scales"), HeldTensor::float(scales));
                tensors.insert(format!("{name}.words"), HeldTensor::ints(words));
            }
        }
    }

    /// An array of `len` entries from a record.
    pub fn from_record(
        name: &str,
        len: u64,
        precision: MomentPrecision,
        coding: Coding,
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<Self, OptimError> {
        // Earlier versions kept some arrays in f32 that are coded now.
        if !precision.codes(len) || record.tensors.contains_key(name) {
            let values = Tensor::from_data(record.take(name, len)?, (device, DType::F32));
            return Ok(Self::store(values, precision, coding));
        }
        let len = len as usize;
        let scales = record.take(&format!("{name}.scales"), code_blocks(len) as u64)?;
        let words = record.take(&format!("{name}.words"), (code_blocks(len) * CODE_WORDS) as u64)?;
        Ok(Self::Int8(Box::new(Int8Blocks {
            words: Tensor::from_data(words, (device, DType::I32)),
            scales: Tensor::from_data(scales, (device, DType::F32)),
            len,
            non_negative: coding.is_of_fourth_roots(),
            excluding: coding.excluding,
        })))
    }
}

/// Bytes of `len` elements.
pub(crate) fn bytes_of(len: usize, dtype: DType) -> u64 {
    len as u64 * dtype.size() as u64
}
