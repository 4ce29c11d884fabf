//! The header of a safetensors file: what lies where, checked against the size of the file.

use crate::TensorFileError;
use safetensors::tensor::Metadata;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Headers above this size are taken for corruption, as the safetensors crate does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A header: its JSON as it is in the file, what that says, and where the numbers begin.
#[derive(Clone, Debug)]
pub struct Header {
    json: Vec<u8>,
    metadata: Metadata,
}

impl Header {
    /// Reads the header of `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is corrupt or does not fit its size.
    pub fn read(path: &Path) -> Result<Self, TensorFileError> {
        let header = Self::parse(path, read_json(path)?)?;
        let expected = header
            .data_start()
            .saturating_add(header.metadata.data_len() as u64);
        let found = fs::metadata(path)
            .map_err(TensorFileError::io(path, "look up"))?
            .len();
        if found == expected {
            return Ok(header);
        }
        Err(TensorFileError::FileSize {
            path: path.to_path_buf(),
            expected,
            found,
        })
    }

    /// Understands `json`, which is the header of a file at `path` or one that it carries.
    ///
    /// # Errors
    /// When it is no header, or its tensors do not lie one after the other.
    pub fn parse(path: &Path, json: Vec<u8>) -> Result<Self, TensorFileError> {
        let metadata = serde_json::from_slice(&json).map_err(|error| corrupt(path, error.to_string()))?;
        Ok(Self { json, metadata })
    }

    /// The JSON, with the spaces behind it.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// What it says.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The first byte of the numbers.
    pub fn data_start(&self) -> u64 {
        8 + self.json.len() as u64
    }
}

/// The JSON of the header of `path`.
fn read_json(path: &Path) -> Result<Vec<u8>, TensorFileError> {
    let mut file = File::open(path).map_err(TensorFileError::io(path, "open"))?;
    let size = file
        .metadata()
        .map_err(TensorFileError::io(path, "look up"))?
        .len();
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| corrupt(path, format!("the file has only {size} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length + 8 > size {
        return Err(corrupt(
            path,
            format!("it claims {length} bytes of header in a file of {size}"),
        ));
    }
    let mut json = vec![0; length as usize];
    file.read_exact(&mut json)
        .map_err(TensorFileError::io(path, "read"))?;
    Ok(json)
}

fn corrupt(path: &Path, found: String) -> TensorFileError {
    TensorFileError::CorruptHeader {
        path: path.to_path_buf(),
        found,
    }
}
