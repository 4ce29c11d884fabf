//! Writing a delta: a header of sections whose sizes are known, and two places at which they are filled at once.

use crate::DeltaError;
use crate::dtype::width;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Buffers single entries.
const BUFFER: usize = 1 << 20;

/// A list of numbers in the file.
pub(crate) struct Section {
    name: String,
    dtype: Dtype,
    count: u64,
}

impl Section {
    /// `kind/name` with `count` numbers.
    pub(crate) fn new(kind: &str, name: &str, dtype: Dtype, count: u64) -> Self {
        Self {
            name: format!("{kind}/{name}"),
            dtype,
            count,
        }
    }

    fn bytes(&self) -> u64 {
        self.count * width(self.dtype) as u64
    }
}

/// Writes the header of `path`, and gives a writer for the sections `first` and one for those behind them.
pub(crate) fn create(
    path: &Path,
    notes: Value,
    first: &[Section],
    behind: &[Section],
) -> Result<[Writer; 2], DeltaError> {
    let header = header(notes, first.iter().chain(behind));
    let mut file = File::create(path).map_err(DeltaError::io(path, "create"))?;
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(&header))
        .map_err(DeltaError::io(path, "write"))?;
    let start = 8 + header.len() as u64;
    let middle = start + first.iter().map(Section::bytes).sum::<u64>();
    let end = middle + behind.iter().map(Section::bytes).sum::<u64>();
    Ok([Writer::at(path, start, middle)?, Writer::at(path, middle, end)?])
}

/// The JSON, padded so that the numbers begin at a multiple of 8.
fn header<'a>(notes: Value, sections: impl Iterator<Item = &'a Section>) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), notes);
    let mut end = 0;
    for section in sections {
        let start = end;
        end += section.bytes() as usize;
        let info = TensorInfo {
            dtype: section.dtype,
            shape: vec![section.count as usize],
            data_offsets: (start, end),
        };
        header.insert(section.name.clone(), json!(info));
    }
    let mut header = Value::from(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// Writes from one place of a file to another.
pub(crate) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    left: u64,
}

impl Writer {
    fn at(path: &Path, start: u64, end: u64) -> Result<Self, DeltaError> {
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(DeltaError::io(path, "open"))?;
        file.seek(SeekFrom::Start(start))
            .map_err(DeltaError::io(path, "write"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(BUFFER, file),
            left: end - start,
        })
    }

    /// Writes `bytes`, for which there is room unless what is read has grown meanwhile.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DeltaError> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(self.changed("it has become more"));
        };
        self.left = left;
        self.file
            .write_all(bytes)
            .map_err(DeltaError::io(&self.path, "write"))
    }

    /// Writes the file at `from`, which has `bytes`.
    pub(crate) fn copy(&mut self, from: &Path, bytes: u64) -> Result<(), DeltaError> {
        let file = File::open(from).map_err(DeltaError::io(from, "open"))?;
        let copied = io::copy(&mut file.take(bytes), &mut self.file);
        let copied = copied.map_err(DeltaError::io(from, "copy"))?;
        if copied == bytes && self.left >= bytes {
            self.left -= bytes;
            return Ok(());
        }
        Err(DeltaError::Changed {
            path: from.to_path_buf(),
            found: format!("it had {bytes} bytes, and then {copied}"),
        })
    }

    /// Syncs the file, which is filled.
    pub(crate) fn finish(self) -> Result<(), DeltaError> {
        if self.left > 0 {
            return Err(self.changed("it has become less"));
        }
        let path = self.path;
        let file = self
            .file
            .into_inner()
            .map_err(|error| DeltaError::io(&path, "write")(error.into_error()))?;
        file.sync_all().map_err(DeltaError::io(&path, "sync"))
    }

    fn changed(&self, found: &str) -> DeltaError {
        DeltaError::Changed {
            path: self.path.clone(),
            found: format!("{found} than was counted"),
        }
    }
}
