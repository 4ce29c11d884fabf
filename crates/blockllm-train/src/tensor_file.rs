//! Named tensors in a safetensors file, bit for bit.
use crate::TrainError;
use burn::tensor::{Bytes, DType, TensorData};
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes `tensors` to `path` and syncs it.
///
/// # Errors
/// When a tensor's type has no place in a safetensors file, or the file cannot be written.
pub(crate) fn write_tensors(path: &Path, tensors: BTreeMap<String, TensorData>) -> Result<(), TrainError> {
    let views = tensors
        .into_iter()
        .map(|(name, data)| Ok((name, Saved::new(data, path)?)))
        .collect::<Result<Vec<_>, TrainError>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| record_error(path, &error))?;
    let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| TrainError::File {
        path: path.to_owned(),
        source,
    })
}

/// All tensors of a file.
///
/// # Errors
/// When the file cannot be read or is not a whole safetensors file.
pub(crate) fn read_tensors(path: &Path) -> Result<BTreeMap<String, TensorData>, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::File {
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| record_error(path, &error))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = burn_dtype(view.dtype()).ok_or_else(|| record_error(path, &view.dtype()))?;
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        tensors.insert(
            name.to_owned(),
            TensorData::from_bytes(bytes, view.shape().to_vec(), dtype),
        );
    }
    Ok(tensors)
}

const DTYPES: [(DType, Dtype); 5] = [
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I32, Dtype::I32),
    (DType::U8, Dtype::U8),
];

fn burn_dtype(dtype: Dtype) -> Option<DType> {
    DTYPES
        .iter()
        .find(|(_, saved)| *saved == dtype)
        .map(|(burn, _)| *burn)
}

struct Saved {
    data: TensorData,
    dtype: Dtype,
}

impl Saved {
    fn new(data: TensorData, path: &Path) -> Result<Self, TrainError> {
        let dtype = DTYPES
            .iter()
            .find(|(burn, _)| *burn == data.dtype())
            .map(|(_, saved)| *saved);
        let dtype = dtype.ok_or_else(|| record_error(path, &format!("tensors of {:?}", data.dtype())))?;
        Ok(Self { data, dtype })
    }
}

impl View for Saved {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.data.shape().as_slice()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.data.as_bytes())
    }

    fn data_len(&self) -> usize {
        self.data.as_bytes().len()
    }
}

fn record_error(path: &Path, error: &dyn std::fmt::Debug) -> TrainError {
    TrainError::Record {
        path: path.to_owned(),
        message: format!("not a whole checkpoint file: {error:?}"),
    }
}
