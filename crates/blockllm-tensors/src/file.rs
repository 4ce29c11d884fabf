//! Reading a safetensors file: its header, and where each tensor lies.

use crate::numbers::{Format, in_memory};
use crate::{Header, StoredTensor, TensorFileError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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
        let header = Header::read(path)?;
        let (metadata, data_start) = (header.metadata(), header.data_start());
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
