//! A tensor that lies in a file, read alone in the type, the orientation and the order of rows that are wanted.

use crate::numbers::{Format, Number};
use crate::{PIECE, TensorFileError};
use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Rows and columns of the tiles in which a matrix is transposed, so that both sides stay in the cache.
const TILE: usize = 32;

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    path: Arc<Path>,
    name: Arc<str>,
    /// First byte in the file.
    start: u64,
    shape: Vec<usize>,
    format: Arc<Format>,
    /// How many rows make a head whose two halves lie in pairs.
    paired_heads: Option<usize>,
}

impl StoredTensor {
    pub(crate) fn new(path: &Arc<Path>, name: &str, start: u64, shape: Vec<usize>, format: Format) -> Self {
        Self {
            path: Arc::clone(path),
            name: name.into(),
            start,
            shape,
            format: Arc::new(format),
            paired_heads: None,
        }
    }

    /// The same tensor, of which every `head_dim` rows lie in pairs: the first of one half of the head, the first of the other,
    /// the second of both, and so on. They are read half by half.
    #[must_use]
    pub fn with_paired_heads(mut self, head_dim: usize) -> Self {
        self.paired_heads = Some(head_dim);
        self
    }

    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape in the file.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number format that keeps what is in the file, if it is one that is read.
    pub fn dtype(&self) -> Option<DType> {
        self.format.dtype()
    }

    /// Whether its numbers can be read at all.
    ///
    /// # Errors
    /// When they are kept in a way that is not read; names it.
    pub fn check_read(&self) -> Result<(), TensorFileError> {
        self.dtype().map(drop).ok_or_else(|| self.unread())
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
        if let Format::Unread(_) = *self.format {
            return Err(self.unread());
        }
        let mut shape = self.shape.clone();
        let count = shape.iter().product();
        let (rows, columns) = match *shape.as_slice() {
            [rows, columns] if transposed || self.paired_heads.is_some() => (rows, columns),
            _ if self.paired_heads.is_some() => (count, 1),
            _ => (1, count),
        };
        if transposed {
            shape.reverse();
        }
        let mut numbers = vec![N::default(); count];
        let mut source = Pieces::open(self)?;
        let (together, bytes) = self.format.unit();
        let most = (PIECE / bytes).max(1) * together;
        if rows <= 1 || count == 0 {
            for piece in numbers.chunks_mut(most) {
                source.decode(piece)?;
            }
            return Ok(TensorData::new(numbers, shape));
        }
        let most = (most / columns.max(1)).clamp(1, rows);
        let mut band = vec![N::default(); most * columns];
        for first in (0..rows).step_by(most) {
            let band = &mut band[..most.min(rows - first) * columns];
            source.decode(band)?;
            let place = |row| self.place(first + row, rows);
            if transposed {
                scatter(band, columns, &mut numbers, rows, place);
            } else {
                for (row, values) in band.chunks_exact(columns).enumerate() {
                    numbers[place(row) * columns..][..columns].copy_from_slice(values);
                }
            }
        }
        Ok(TensorData::new(numbers, shape))
    }

    /// Where row `row` of `rows` in the file belongs.
    fn place(&self, row: usize, rows: usize) -> usize {
        match self.paired_heads {
            Some(width) if width > 1 && row - row % width + width <= rows => {
                let (head, within) = (row - row % width, row % width);
                head + within % 2 * (width / 2) + within / 2
            }
            _ => row,
        }
    }

    fn unread(&self) -> TensorFileError {
        TensorFileError::Dtype {
            path: self.path.to_path_buf(),
            tensor: self.name.to_string(),
            expected: "F32, F16 or BF16 (in a GGUF file also Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K)",
            found: self.format.name(),
        }
    }
}

/// Puts the rows of `band` into columns: number `(row, column)` to `column * stride + place(row)`.
fn scatter<N: Copy>(
    band: &[N],
    columns: usize,
    out: &mut [N],
    stride: usize,
    place: impl Fn(usize) -> usize,
) {
    let rows = band.len() / columns.max(1);
    for row_tile in (0..rows).step_by(TILE) {
        for column_tile in (0..columns).step_by(TILE) {
            for column in column_tile..columns.min(column_tile + TILE) {
                for row in row_tile..rows.min(row_tile + TILE) {
                    out[column * stride + place(row)] = band[row * columns + column];
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

    /// Fills `out`, which is whole blocks, with the numbers that follow.
    fn decode<N: Number>(&mut self, out: &mut [N]) -> Result<(), TensorFileError> {
        let tensor = self.tensor;
        let (together, bytes) = tensor.format.unit();
        self.buffer.resize(out.len() / together * bytes, 0);
        self.file
            .read_exact(&mut self.buffer)
            .map_err(TensorFileError::io(&tensor.path, "read"))?;
        if N::decode(&tensor.format, &self.buffer, out) {
            Ok(())
        } else {
            Err(tensor.unread())
        }
    }
}
