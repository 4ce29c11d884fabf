//! Reading a safetensors file: its header, and where each tensor lies.

use crate::numbers::{Format, in_memory};
use crate::{StoredTensor, TensorFileError};
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Headers above this size are taken for corruption, as the safetensors crate does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A file whose header has been read and checked against its size; no tensor has been.
#[derive(Debug)]
pub struct TensorFile {
    path: Arc<Path>,
    tensors: BTreeMap<String, StoredTensor>,
}

impl TensorFile {
    /// Reads the header of `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is corrupt or does not fit its size.
    pub fn open(path: &Path) -> Result<Self, TensorFileError> {
        let (metadata, data_start) = read_header(path)?;
        let expected = data_start + metadata.data_len() as u64;
        let found = fs::metadata(path)
            .map_err(TensorFileError::io(path, "look up"))?
            .len();
        if found != expected {
            let path = PathBuf::from(path);
            return Err(TensorFileError::FileSize {
                path,
                expected,
                found,
            });
        }
        let path: Arc<Path> = path.into();
        let tensors = metadata.offset_keys().into_iter().map(|name| {
            let info = metadata
                .info(&name)
                .expect("the name was listed by the same header");
            let start = data_start + info.data_offsets.0 as u64;
            let format = match in_memory(info.dtype) {
                Some(dtype) => Format::Plain(dtype),
                None => Format::Unread(format!("{:?}", info.dtype)),
            };
            let stored = StoredTensor::new(&path, &name, start, info.shape.clone(), format);
            (name, stored)
        });
        Ok(Self {
            tensors: tensors.collect(),
            path: Arc::clone(&path),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors by name.
    pub fn into_tensors(self) -> BTreeMap<String, StoredTensor> {
        self.tensors
    }
}

/// The header of a safetensors file, and the offset at which the data begin.
fn read_header(path: &Path) -> Result<(Metadata, u64), TensorFileError> {
    let corrupt = |found: String| TensorFileError::CorruptHeader {
        path: path.to_path_buf(),
        found,
    };
    let mut file = File::open(path).map_err(TensorFileError::io(path, "open"))?;
    let size = file
        .metadata()
        .map_err(TensorFileError::io(path, "look up"))?
        .len();
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| corrupt(format!("the file has only {size} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length + 8 > size {
        return Err(corrupt(format!(
            "it claims {length} bytes of header in a file of {size}"
        )));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)
        .map_err(TensorFileError::io(path, "read"))?;
    let metadata = serde_json::from_slice(&header).map_err(|error| corrupt(error.to_string()))?;
    Ok((metadata, length + 8))
}
