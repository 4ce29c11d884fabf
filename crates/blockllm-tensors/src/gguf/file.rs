//! A GGUF file whose header has been read and checked against its size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::DType;

use super::cursor::Cursor;
use super::metadata::Metadata;
use crate::blocks::Blocks;
use crate::numbers::Format;
use crate::{StoredTensor, TensorFileError};

/// A key or a tensor takes at least so many bytes: lengths, kinds and places.
const LEAST_ENTRY: u64 = 12;

/// No tensor has more sides.
const MAX_SIDES: u32 = 4;

/// A GGUF file; no tensor has been read.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    metadata: Metadata,
    tensors: BTreeMap<String, StoredTensor>,
}

impl GgufFile {
    /// Reads the header of `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is no GGUF file of version 2 or 3, or its header does not fit its size.
    pub fn open(path: &Path) -> Result<Self, TensorFileError> {
        let mut cursor = Cursor::open(path)?;
        if cursor.array("the mark")? != *b"GGUF" {
            return Err(cursor.refuse("no mark `GGUF`"));
        }
        match u32::from_le_bytes(cursor.array("the version")?) {
            2 | 3 => {}
            other => {
                let reading = "versions 2 and 3 in little-endian order are read";
                return Err(cursor.refuse(format!("version {other}, where {reading}")));
            }
        }
        let tensor_count = cursor.count("tensors", LEAST_ENTRY)?;
        let key_count = cursor.count("keys", LEAST_ENTRY)?;
        let metadata = Metadata::read(path, &mut cursor, key_count)?;
        let alignment = match metadata.whole("general.alignment")? {
            None => 32,
            Some(bytes) if bytes.is_power_of_two() && bytes <= 1 << 20 => bytes,
            Some(_) => return Err(metadata.refuse("general.alignment", "a power of two up to 1 MiB")),
        };
        let places = (0..tensor_count).map(|_| Place::read(&mut cursor));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let first = cursor.at().next_multiple_of(alignment);
        let shared: Arc<Path> = path.into();
        let mut tensors = BTreeMap::new();
        for place in places {
            let start = place.start(&cursor, first)?;
            let stored = StoredTensor::new(&shared, &place.name, start, place.shape, place.format);
            if tensors.contains_key(&place.name) {
                return Err(cursor.refuse(format!("two tensors `{}`", place.name)));
            }
            tensors.insert(place.name, stored);
        }
        Ok(Self {
            path: path.to_path_buf(),
            metadata,
            tensors,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of model and tokenizer.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors by name. Shapes are by rows, as everywhere but in the file.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }
}

/// What the header says of a tensor.
struct Place {
    name: String,
    shape: Vec<usize>,
    format: Format,
    /// From where the first tensor may begin.
    offset: u64,
}

impl Place {
    fn read(cursor: &mut Cursor) -> Result<Self, TensorFileError> {
        let name = cursor.text("a tensor's name")?;
        let sides = u32::from_le_bytes(cursor.array(&name)?);
        if sides > MAX_SIDES {
            return Err(cursor.refuse(format!(
                "tensor `{name}` of {sides} sides, where {MAX_SIDES} are most"
            )));
        }
        let mut shape = Vec::new();
        for _ in 0..sides {
            let side = u64::from_le_bytes(cursor.array(&name)?);
            let fits = usize::try_from(side).ok();
            shape.push(fits.ok_or_else(|| cursor.refuse(format!("tensor `{name}` with a side of {side}")))?);
        }
        // The fastest side is first in the file.
        shape.reverse();
        let kind = u32::from_le_bytes(cursor.array(&name)?);
        Ok(Self {
            name,
            shape,
            format: format_of(kind),
            offset: u64::from_le_bytes(cursor.array("a tensor's place")?),
        })
    }

    /// The tensor's first byte in the file, when all of it lies there.
    fn start(&self, cursor: &Cursor, first: u64) -> Result<u64, TensorFileError> {
        let (name, shape) = (&self.name, &self.shape);
        let (together, bytes) = self.format.unit();
        if !shape.last().unwrap_or(&1).is_multiple_of(together) {
            return Err(cursor.refuse(format!("tensor `{name}` of {shape:?} in blocks of {together}")));
        }
        let count = shape
            .iter()
            .try_fold(1_u64, |count, side| count.checked_mul(*side as u64));
        let bytes = count.and_then(|count| (count / together as u64).checked_mul(bytes as u64));
        let start = first.checked_add(self.offset);
        match start
            .zip(bytes)
            .and_then(|(start, bytes)| start.checked_add(bytes))
        {
            Some(end) if end <= cursor.size => Ok(end - bytes.unwrap_or(0)),
            _ => Err(cursor.refuse(format!(
                "tensor `{name}` of {shape:?} at {}, beyond the {} bytes of the file",
                self.offset, cursor.size
            ))),
        }
    }
}

/// How a tensor of that kind is kept.
fn format_of(kind: u32) -> Format {
    let name = match kind {
        0 => return Format::Plain(DType::F32),
        1 => return Format::Plain(DType::F16),
        2 => return Format::Blocks(Blocks::Q4_0),
        3 => return Format::Blocks(Blocks::Q4_1),
        6 => return Format::Blocks(Blocks::Q5_0),
        7 => return Format::Blocks(Blocks::Q5_1),
        8 => return Format::Blocks(Blocks::Q8_0),
        10 => return Format::Blocks(Blocks::Q2K),
        11 => return Format::Blocks(Blocks::Q3K),
        12 => return Format::Blocks(Blocks::Q4K),
        13 => return Format::Blocks(Blocks::Q5K),
        14 => return Format::Blocks(Blocks::Q6K),
        26 => return Format::Plain(DType::I32),
        30 => return Format::Plain(DType::BF16),
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return Format::Unread(format!("GGUF's kind {kind}")),
    };
    Format::Unread(name.to_owned())
}
