//! One array of optimizer state, in f32 or in 8-bit codes.
use crate::quantized::{Coding, Int8Blocks, WORDS, blocks, coded_bytes};
use crate::{OptimError, OptimizerRecord};
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

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

    /// The values in f32.
    pub fn load(&self) -> Tensor<1> {
        match self {
            Self::F32(values) => Tensor::clone(values),
            Self::Int8(codes) => codes.decode(),
        }
    }

    /// Whether it is in codes.
    pub fn is_coded(&self) -> bool {
        matches!(self, Self::Int8(_))
    }

    /// The entries in `range`, which begins at a block of codes.
    pub fn piece(&self, range: &Range<usize>) -> Self {
        match self {
            Self::F32(values) => Self::F32(Box::new(Tensor::clone(values).slice(range.clone()))),
            Self::Int8(codes) => Self::Int8(Box::new(codes.piece(range.clone()))),
        }
    }

    /// Keeps `values` for the entries in `range`, in what the array is kept in.
    pub fn assign(&mut self, range: &Range<usize>, values: Tensor<1>, coding: Coding) {
        match self {
            Self::F32(whole) => {
                let nothing = Tensor::empty([0], (&values.device(), DType::F32));
                let taken = std::mem::replace(&mut **whole, nothing);
                **whole = taken.slice_assign(range.clone(), values);
            }
            Self::Int8(codes) => codes.assign(range, Int8Blocks::encode(values, coding)),
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
        // Earlier versions kept some arrays in f32 that are coded now; the next step codes them.
        if !precision.codes(len) || record.tensors.contains_key(name) {
            let values = record.take(name, len)?;
            return Ok(Self::F32(Box::new(Tensor::from_data(
                values,
                (device, DType::F32),
            ))));
        }
        let len = len as usize;
        let scales = record.take(&format!("{name}.scales"), blocks(len) as u64)?;
        let words = record.take(&format!("{name}.words"), (blocks(len) * WORDS) as u64)?;
        Ok(Self::Int8(Box::new(Int8Blocks {
            words: Tensor::from_data(words, (device, DType::I32)),
            scales: Tensor::from_data(scales, (device, DType::F32)),
            len,
            non_negative: coding.non_negative,
            excluding: coding.excluding,
        })))
    }
}

/// Bytes of `len` elements.
pub(crate) fn bytes_of(len: usize, dtype: DType) -> u64 {
    len as u64 * dtype.size() as u64
}
