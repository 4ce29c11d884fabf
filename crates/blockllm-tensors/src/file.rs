//! Reading a safetensors file: where each tensor lies, and one tensor at a time in the type and orientation that are wanted.

use crate::numbers::{Number, in_memory};
use crate::{PIECE, TensorFileError};
use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Headers above this size are taken for corruption, as the safetensors crate does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Rows and columns of the tiles in which a matrix is transposed, so that both sides stay in the cache.
const TILE: usize = 32;

/// A file whose header has been read and checked against its size; no tensor has been.
#[derive(Debug)]
pub struct TensorFile {
    path: Arc<Path>,
    tensors: BTreeMap<String, StoredTensor>,
}

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    path: Arc<Path>,
    name: Arc<str>,
    /// First byte in the file.
    start: u64,
    info: Arc<TensorInfo>,
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
            let stored = StoredTensor {
                path: Arc::clone(&path),
                name: name.as_str().into(),
                start: data_start + info.data_offsets.0 as u64,
                info: Arc::new(info.clone()),
            };
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

impl StoredTensor {
    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape in the file.
    pub fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    /// The number format in the file, if it is one that is read.
    pub fn dtype(&self) -> Option<DType> {
        in_memory(self.info.dtype)
    }

    /// The numbers as `dtype`, in the file's shape, or a matrix of `[rows, columns]` as `[columns, rows]` where
    /// `transposed`. The host holds the result and a piece of the file.
    ///
    /// # Errors
    /// When the file cannot be read, or its number format cannot be read as `dtype`: every float as every other, integers
    /// as themselves.
    pub fn read(&self, dtype: DType, transposed: bool) -> Result<TensorData, TensorFileError> {
        match dtype {
            DType::F32 => self.read_as::<f32>(transposed),
            DType::F16 => self.read_as::<f16>(transposed),
            DType::BF16 => self.read_as::<bf16>(transposed),
            DType::I32 => self.read_as::<i32>(transposed),
            DType::U8 => self.read_as::<u8>(transposed),
            _ => Err(self.unread()),
        }
    }

    fn read_as<N: Number>(&self, transposed: bool) -> Result<TensorData, TensorFileError> {
        let stored = self.dtype().ok_or_else(|| self.unread())?;
        let mut shape = self.info.shape.clone();
        let (rows, columns) = match *shape.as_slice() {
            [rows, columns] if transposed => (rows, columns),
            _ => (1, shape.iter().product()),
        };
        if transposed {
            shape.reverse();
        }
        let mut numbers = vec![N::default(); rows * columns];
        let mut source = Pieces::open(self)?;
        if rows == 1 {
            for piece in numbers.chunks_mut(PIECE / stored.size()) {
                if !N::decode(stored, source.next(piece.len() * stored.size())?, piece) {
                    return Err(self.unread());
                }
            }
        } else {
            let most = (PIECE / stored.size() / columns.max(1)).clamp(1, rows);
            let mut band = vec![N::default(); most * columns];
            for first in (0..rows).step_by(most) {
                let band = &mut band[..most.min(rows - first) * columns];
                if !N::decode(stored, source.next(band.len() * stored.size())?, band) {
                    return Err(self.unread());
                }
                scatter(band, columns, &mut numbers[first..], rows);
            }
        }
        Ok(TensorData::new(numbers, shape))
    }

    fn unread(&self) -> TensorFileError {
        TensorFileError::Dtype {
            path: self.path.to_path_buf(),
            tensor: self.name.to_string(),
            expected: "F32, F16 or BF16",
            found: format!("{:?}", self.info.dtype),
        }
    }
}

/// Puts the rows of `band` into columns: number `(row, column)` to `column * stride + row`.
fn scatter<N: Copy>(band: &[N], columns: usize, out: &mut [N], stride: usize) {
    let rows = band.len() / columns.max(1);
    for row_tile in (0..rows).step_by(TILE) {
        for column_tile in (0..columns).step_by(TILE) {
            for column in column_tile..columns.min(column_tile + TILE) {
                for row in row_tile..rows.min(row_tile + TILE) {
                    out[column * stride + row] = band[row * columns + column];
                }
            }
        }
    }
}

/// The bytes of a tensor, one piece after the other.
struct Pieces<'a> {
    tensor: &'a StoredTensor,
    file: File,
    buffer: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn open(tensor: &'a StoredTensor) -> Result<Self, TensorFileError> {
        let path = &tensor.path;
        let mut file = File::open(path).map_err(TensorFileError::io(path, "open"))?;
        file.seek(SeekFrom::Start(tensor.start))
            .map_err(TensorFileError::io(path, "read"))?;
        Ok(Self {
            tensor,
            file,
            buffer: Vec::new(),
        })
    }

    fn next(&mut self, length: usize) -> Result<&[u8], TensorFileError> {
        self.buffer.resize(length, 0);
        self.file
            .read_exact(&mut self.buffer)
            .map_err(TensorFileError::io(&self.tensor.path, "read"))?;
        Ok(&self.buffer)
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
