//! Writing a safetensors file, a piece of a tensor at a time, with its hash as it goes.

use crate::numbers::{encode, in_file};
use crate::{HeldTensor, TensorFileError};
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Buffers what is small; pieces of tensors pass it by.
const BUFFER: usize = 1 << 20;

/// What a file became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of what was given to the disk, in hexadecimal.
    pub sha256: String,
}

/// Writes `tensors` to `path`, in this order, and syncs the file. `note` is put into the header's metadata.
///
/// # Errors
/// When a tensor's type has no place in such a file, the device fails, or the file cannot be written; what is there then
/// is part of a file, so give a temporary name and rename it.
pub fn write_tensors(
    path: &Path,
    tensors: &[(String, HeldTensor)],
    note: Option<(&str, &str)>,
) -> Result<Written, TensorFileError> {
    let header = header(path, tensors, note)?;
    let file = File::create(path).map_err(TensorFileError::io(path, "create"))?;
    let mut out = Hashed {
        path,
        out: BufWriter::with_capacity(BUFFER, file),
        hash: Sha256::new(),
        bytes: 0,
    };
    out.write(&(header.len() as u64).to_le_bytes())?;
    out.write(&header)?;
    for (name, tensor) in tensors {
        tensor.in_pieces(name, &mut |piece| out.write(&encode(piece, tensor.dtype())))?;
    }
    out.finish()
}

/// The SHA-256 of a tensor's numbers as they would be written, in hexadecimal.
///
/// # Errors
/// When the device fails.
pub fn digest(name: &str, tensor: &HeldTensor) -> Result<String, TensorFileError> {
    let mut hash = Sha256::new();
    tensor.in_pieces(name, &mut |piece| {
        hash.update(encode(piece, tensor.dtype()));
        Ok(())
    })?;
    Ok(hex::encode(hash.finalize()))
}

/// The JSON header, padded so that the numbers begin at a multiple of 8.
fn header(
    path: &Path,
    tensors: &[(String, HeldTensor)],
    note: Option<(&str, &str)>,
) -> Result<Vec<u8>, TensorFileError> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let dtype = in_file(tensor.dtype()).ok_or_else(|| TensorFileError::NotWritten {
            path: path.to_path_buf(),
            tensor: name.clone(),
            found: format!("{:?}", tensor.dtype()),
        })?;
        let start = end;
        end += tensor.bytes() as usize;
        let info = TensorInfo {
            dtype,
            shape: tensor.shape().to_vec(),
            data_offsets: (start, end),
        };
        Ok((name.clone(), info))
    });
    let infos = infos.collect::<Result<Vec<_>, TensorFileError>>()?;
    let note = note.map(|(key, value)| HashMap::from([(key.to_owned(), value.to_owned())]));
    let metadata = Metadata::new(note, infos).map_err(|error| TensorFileError::NotWritten {
        path: path.to_path_buf(),
        tensor: "all tensors together".to_owned(),
        found: error.to_string(),
    })?;
    let mut header = serde_json::to_vec(&metadata).expect("a header has only string keys");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// A file that is hashed as it is written.
struct Hashed<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TensorFileError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(TensorFileError::io(self.path, "write"))
    }

    /// Syncs the handle that wrote, which every system allows.
    fn finish(self) -> Result<Written, TensorFileError> {
        let file = self
            .out
            .into_inner()
            .map_err(|error| TensorFileError::io(self.path, "write")(error.into_error()))?;
        file.sync_all().map_err(TensorFileError::io(self.path, "sync"))?;
        Ok(Written {
            bytes: self.bytes,
            sha256: hex::encode(self.hash.finalize()),
        })
    }
}
