//! What can go wrong between tensors and their files.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a file of tensors; it names the file, the tensor and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFileError {
    /// The operating system refused to read or write.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The header cannot be read.
    #[error("{} has a corrupt safetensors header: {found}; download or save the file again", path.display())]
    CorruptHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// The header of a GGUF file cannot be read.
    #[error("{} is no GGUF file that can be read: {found}, at byte {offset}; download or convert the file again", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        found: String,
    },
    /// A GGUF file says something of its model or tokenizer that is not understood, or lacks it.
    #[error("{}: `{key}` is {found}, expected {expected}; use another file of the model", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("{} has {found} bytes where its header asks for {expected}; download or save the file again", path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Size by the header, in bytes.
        expected: u64,
        /// Size on disk, in bytes.
        found: u64,
    },
    /// A tensor has a number format that is not read as what is wanted.
    #[error("{}: tensor `{tensor}` is stored as {found}, expected {expected}; convert the weights to one of these", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What can be read.
        expected: &'static str,
        /// The format in the file.
        found: String,
    },
    /// A tensor has a type that is not written.
    #[error("{}: tensor `{tensor}` is of {found}, which has no place in such a file", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// The device failed while a tensor was read from it.
    #[error("reading `{tensor}` from the device failed: {message}")]
    Device {
        /// The tensor's name.
        tensor: String,
        /// The device's message.
        message: String,
    },
}

impl TensorFileError {
    /// An I/O error at `path` while doing `action`, for `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }
}
