//! Reading the weights of a folder, one tensor at a time, so that the host never holds the whole file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};

use super::dtype::WeightDtype;
use super::index::{INDEX, SINGLE, ShardIndex};
use crate::ModelError;

/// Headers above this size are taken for corruption, as the safetensors crate does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The tensors of a folder: where each lies, and which have been read.
#[derive(Debug)]
pub struct WeightFolder {
    dir: PathBuf,
    tensors: BTreeMap<String, Place>,
    unread: BTreeSet<String>,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    /// First byte in the file.
    start: u64,
    info: TensorInfo,
}

impl WeightFolder {
    /// Opens `dir`, which holds `model.safetensors`, or shards and `model.safetensors.index.json`.
    ///
    /// # Errors
    ///
    /// When there are no weights, a shard is missing, or a header does not fit its file.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        let mut folder = Self {
            dir: dir.to_path_buf(),
            tensors: BTreeMap::new(),
            unread: BTreeSet::new(),
        };
        if single.is_file() {
            folder.add_file(&single)?;
        } else if index.is_file() {
            folder.add_shards(&index)?;
        } else {
            return Err(ModelError::MissingFile {
                path: single,
                expected: format!("a folder of weights holds it, or {INDEX} and shards"),
                mend: "name a folder that Hugging Face's `save_pretrained` has written, in safetensors"
                    .to_owned(),
            });
        }
        folder.unread = folder.tensors.keys().cloned().collect();
        Ok(folder)
    }

    /// The keys of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this key.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor and the file it lies in.
    pub fn shape(&self, name: &str) -> Option<(&[usize], &Path)> {
        let place = self.tensors.get(name)?;
        Some((place.info.shape.as_slice(), place.file.as_path()))
    }

    /// The numbers of one tensor, row by row, in f32.
    ///
    /// # Errors
    ///
    /// When the tensor is missing, has another shape, or is stored in a format that is not read.
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let missing = || ModelError::MissingTensor {
            path: self.dir.clone(),
            tensor: name.to_owned(),
        };
        let place = self.tensors.get(name).ok_or_else(missing)?;
        if place.info.shape != shape {
            return Err(ModelError::Shape {
                path: place.file.clone(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: place.info.shape.clone(),
            });
        }
        let dtype = WeightDtype::from_safetensors(place.info.dtype).ok_or_else(|| ModelError::Dtype {
            path: place.file.clone(),
            tensor: name.to_owned(),
            found: format!("{:?}", place.info.dtype),
        })?;
        let bytes = place.read_bytes()?;
        self.unread.remove(name);
        Ok(dtype.decode(&bytes))
    }

    /// Checks that every tensor was read, but for those that `tolerated` names.
    ///
    /// # Errors
    ///
    /// [`ModelError::UnexpectedTensor`] listing the others.
    pub fn finish(&self, tolerated: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        let unexpected: Vec<&str> = self
            .unread
            .iter()
            .map(String::as_str)
            .filter(|name| !tolerated(name))
            .collect();
        if unexpected.is_empty() {
            return Ok(());
        }
        Err(ModelError::UnexpectedTensor {
            path: self.dir.clone(),
            tensors: unexpected.join(", "),
        })
    }

    /// Adds the shards that the index names; each tensor must lie where the index says.
    fn add_shards(&mut self, index: &Path) -> Result<(), ModelError> {
        let shards = ShardIndex::read(index)?;
        let files: BTreeSet<&String> = shards.weight_map.values().collect();
        for file in files {
            let path = self.dir.join(file);
            if !path.is_file() {
                return Err(ModelError::MissingFile {
                    path,
                    expected: format!("a shard that {} names", index.display()),
                    mend: "fetch the shard, or save the model again".to_owned(),
                });
            }
            self.add_file(&path)?;
        }
        for (tensor, file) in &shards.weight_map {
            let path = self.dir.join(file);
            if self.tensors.get(tensor).is_none_or(|place| place.file != path) {
                return Err(ModelError::MissingTensor {
                    path,
                    tensor: tensor.clone(),
                });
            }
        }
        Ok(())
    }

    /// Adds the tensors of one file, after checking its header and its size.
    fn add_file(&mut self, path: &Path) -> Result<(), ModelError> {
        let (metadata, data_start) = read_header(path)?;
        let expected = data_start + metadata.data_len() as u64;
        let found = fs::metadata(path).map_err(ModelError::io(path, "look up"))?.len();
        if found != expected {
            return Err(ModelError::FileSize {
                path: path.to_path_buf(),
                expected,
                found,
            });
        }
        for name in metadata.offset_keys() {
            let info = metadata
                .info(&name)
                .expect("the name was listed by the same header")
                .clone();
            let start = data_start + info.data_offsets.0 as u64;
            self.tensors.insert(
                name,
                Place {
                    file: path.to_path_buf(),
                    start,
                    info,
                },
            );
        }
        Ok(())
    }
}

impl Place {
    /// The bytes of this tensor alone.
    fn read_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let (begin, end) = self.info.data_offsets;
        let mut bytes = vec![0; end - begin];
        let mut read = || {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(self.start))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(ModelError::io(&self.file, "read"))?;
        Ok(bytes)
    }
}

/// The header of a safetensors file, and the offset at which the data begin.
fn read_header(path: &Path) -> Result<(Metadata, u64), ModelError> {
    let corrupt = |found: String| ModelError::CorruptHeader {
        path: path.to_path_buf(),
        found,
    };
    let mut file = File::open(path).map_err(ModelError::io(path, "open"))?;
    let size = file.metadata().map_err(ModelError::io(path, "look up"))?.len();
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
        .map_err(ModelError::io(path, "read"))?;
    let metadata = serde_json::from_slice(&header).map_err(|error| corrupt(error.to_string()))?;
    Ok((metadata, length + 8))
}
