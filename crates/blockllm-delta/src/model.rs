//! The tensors of a model and how they lie in files: of a folder, or of the result that a delta describes.

use crate::dtype::width;
use crate::{DeltaError, folder};
use blockllm_tensors::Header;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// The number format.
    pub dtype: Dtype,
    /// The shape.
    pub shape: Vec<usize>,
    /// The name of the file.
    pub file: String,
    /// The first byte in the file.
    pub start: u64,
    /// All bytes.
    pub bytes: u64,
}

impl Tensor {
    /// Entries, in the sense of [`width`].
    pub(crate) fn entries(&self) -> u64 {
        self.bytes / width(self.dtype) as u64
    }
}

/// Files of weights by name, and all their tensors.
#[derive(Debug)]
pub(crate) struct Model {
    /// The folder, or the delta that describes the model.
    pub path: PathBuf,
    /// Headers by the names of files.
    pub files: BTreeMap<String, Header>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Model {
    /// Reads the headers of the folder `dir`: of one file, or of shards and their index.
    pub(crate) fn open(dir: &Path) -> Result<Self, DeltaError> {
        let mut files = BTreeMap::new();
        let shards = folder::shards(dir)?;
        for name in shards.files {
            let header = Header::read(&dir.join(&name))?;
            files.insert(name, header);
        }
        let model = Self::of_headers(dir, files)?;
        for (tensor, file) in &shards.weight_map {
            if model.tensors.get(tensor).is_none_or(|found| found.file != *file) {
                return Err(DeltaError::Folder {
                    path: dir.join(file),
                    found: format!("the index says that `{tensor}` is in it, and it is not"),
                });
            }
        }
        Ok(model)
    }

    /// The model whose files have these headers.
    pub(crate) fn of_headers(path: &Path, files: BTreeMap<String, Header>) -> Result<Self, DeltaError> {
        let mut tensors = BTreeMap::new();
        for (file, header) in &files {
            for name in names(header) {
                let tensor = tensor(file, header, &name);
                if let Some(other) = tensors.insert(name.clone(), tensor) {
                    let other: Tensor = other;
                    return Err(DeltaError::Folder {
                        path: path.to_path_buf(),
                        found: format!("tensor `{name}` is both in {} and in {file}", other.file),
                    });
                }
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            files,
            tensors,
        })
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> u64 {
        self.tensors
            .values()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.bytes))
    }

    /// Checks that `other` is made of the tensors of this one, in formats that come from its.
    pub(crate) fn check_like(&self, other: &Self) -> Result<(), DeltaError> {
        self.check_names(other)?;
        for (name, tensor) in &self.tensors {
            let found = &other.tensors[name];
            if tensor.shape != found.shape {
                return Err(DeltaError::Shape {
                    tensor: name.clone(),
                    base: self.path.as_path().into(),
                    base_shape: tensor.shape.clone(),
                    other: other.path.as_path().into(),
                    other_shape: found.shape.clone(),
                });
            }
            if !crate::dtype::is_cast(tensor.dtype, found.dtype) {
                return Err(DeltaError::Dtype {
                    tensor: name.clone(),
                    base: self.path.as_path().into(),
                    expected: tensor.dtype.to_string(),
                    other: other.path.as_path().into(),
                    found: found.dtype.to_string(),
                });
            }
        }
        Ok(())
    }

    fn check_names(&self, other: &Self) -> Result<(), DeltaError> {
        let missing = listed(
            self.tensors
                .keys()
                .filter(|name| !other.tensors.contains_key(*name)),
        );
        let more = listed(
            other
                .tensors
                .keys()
                .filter(|name| !self.tensors.contains_key(*name)),
        );
        let found = match (missing, more) {
            (None, None) => return Ok(()),
            (Some(missing), None) => format!("the latter lacks {missing}"),
            (None, Some(more)) => format!("the latter has {more} too"),
            (Some(missing), Some(more)) => format!("the latter lacks {missing} and has {more} too"),
        };
        Err(DeltaError::OtherTensors {
            base: self.path.clone(),
            other: other.path.clone(),
            found,
        })
    }
}

/// The names of a header's tensors, in the order of their bytes.
pub(crate) fn names(header: &Header) -> Vec<String> {
    header.metadata().offset_keys()
}

fn tensor(file: &str, header: &Header, name: &str) -> Tensor {
    let info = header
        .metadata()
        .info(name)
        .expect("the name was listed by the same header");
    let (start, end) = info.data_offsets;
    Tensor {
        dtype: info.dtype,
        shape: info.shape.clone(),
        file: file.to_owned(),
        start: header.data_start().saturating_add(start as u64),
        bytes: (end - start) as u64,
    }
}

/// The first names and how many there are, or nothing of nothing.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - rest].join(", ");
    match (names.len(), rest) {
        (0, _) => None,
        (_, 0) => Some(shown),
        _ => Some(format!("{shown} and {rest} others")),
    }
}
