//! Writing a delta: a header of sections whose sizes are known, and two places at which they are filled at once.
//!
//! The header goes first, with zeros for all hashes, and once more when the sections are filled and their hashes known.

use crate::dtype::width;
use crate::seal::{self, blank};
use crate::{DeltaError, delta_file};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
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
            name: delta_file::entry(kind, name),
            dtype,
            count,
        }
    }

    fn bytes(&self) -> u64 {
        self.count * width(self.dtype) as u64
    }
}

/// The header of a file that is being written.
pub(crate) struct Head {
    path: PathBuf,
    notes: Map<String, Value>,
    first: Vec<Section>,
    behind: Vec<Section>,
}

/// Begins the file at `path` with `notes`, and gives a writer for the sections `first` and one for those `behind` them.
pub(crate) fn create(
    path: &Path,
    notes: Map<String, Value>,
    first: Vec<Section>,
    behind: Vec<Section>,
) -> Result<(Head, [Writer; 2]), DeltaError> {
    let head = Head {
        path: path.to_path_buf(),
        notes,
        first,
        behind,
    };
    let json = head.json(&[], &blank());
    let mut file = File::create(path).map_err(DeltaError::io(path, "create"))?;
    file.write_all(&(json.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(&json))
        .map_err(DeltaError::io(path, "write"))?;
    let start = 8 + json.len() as u64;
    let middle = start + head.first.iter().map(Section::bytes).sum::<u64>();
    let writers = [
        Writer::at(path, start, &head.first)?,
        Writer::at(path, middle, &head.behind)?,
    ];
    Ok((head, writers))
}

impl Head {
    /// Ends the file: writes the hashes of the sections, which `writers` have filled, and the header's own.
    pub(crate) fn finish(self, writers: [Writer; 2]) -> Result<(), DeltaError> {
        let mut hashes = Vec::new();
        for writer in writers {
            hashes.extend(writer.finish()?);
        }
        let digits = seal::of_header(&self.json(&hashes, &blank()), &blank());
        let path = &self.path;
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(DeltaError::io(path, "open"))?;
        file.seek(SeekFrom::Start(8))
            .and_then(|_| file.write_all(&self.json(&hashes, &digits)))
            .map_err(DeltaError::io(path, "write"))?;
        file.sync_all().map_err(DeltaError::io(path, "sync"))
    }

    /// The JSON with these hashes of the sections, zeros where there are none yet, and with this of itself; padded so that the
    /// numbers begin at a multiple of 8.
    fn json(&self, hashes: &[String], own: &str) -> Vec<u8> {
        let mut notes = self.notes.clone();
        let mut infos = Map::new();
        let mut end = 0;
        for (place, section) in self.first.iter().chain(&self.behind).enumerate() {
            let start = end;
            end += section.bytes() as usize;
            let info = TensorInfo {
                dtype: section.dtype,
                shape: vec![section.count as usize],
                data_offsets: (start, end),
            };
            infos.insert(section.name.clone(), json!(info));
            let hash = hashes.get(place).cloned().unwrap_or_else(blank);
            notes.insert(seal::note_of(&section.name), hash.into());
        }
        notes.insert(seal::HEADER.to_owned(), own.into());
        infos.insert("__metadata__".to_owned(), notes.into());
        let mut json = Value::from(infos).to_string().into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        json
    }
}

/// Writes sections that lie one after the other, and takes the hash of each.
pub(crate) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    /// Bytes that the sections still lack, of the one that is being filled and of those behind it.
    open: VecDeque<u64>,
    /// Of what has come of the one that is being filled.
    hash: Sha256,
    /// Of those that are full.
    hashes: Vec<String>,
}

impl Writer {
    fn at(path: &Path, start: u64, sections: &[Section]) -> Result<Self, DeltaError> {
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(DeltaError::io(path, "open"))?;
        file.seek(SeekFrom::Start(start))
            .map_err(DeltaError::io(path, "write"))?;
        let mut writer = Self {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(BUFFER, file),
            open: sections.iter().map(Section::bytes).collect(),
            hash: Sha256::new(),
            hashes: Vec::new(),
        };
        writer.close_full();
        Ok(writer)
    }

    /// Writes `bytes`, for which there is room unless what is read has grown meanwhile.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DeltaError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(lacking) = self.open.front_mut() else {
                return Err(self.changed("it has become more"));
            };
            let count = usize::try_from(*lacking).map_or(rest.len(), |lacking| lacking.min(rest.len()));
            let (now, later) = rest.split_at(count);
            *lacking -= count as u64;
            self.hash.update(now);
            self.file
                .write_all(now)
                .map_err(DeltaError::io(&self.path, "write"))?;
            self.close_full();
            rest = later;
        }
        Ok(())
    }

    /// Keeps the hash of every section that lacks nothing.
    fn close_full(&mut self) {
        while self.open.front() == Some(&0) {
            self.open.pop_front();
            let hash = std::mem::take(&mut self.hash);
            self.hashes.push(hex::encode(hash.finalize()));
        }
    }

    /// Writes the file at `from`, which has `bytes`.
    pub(crate) fn copy(&mut self, from: &Path, bytes: u64) -> Result<(), DeltaError> {
        let mut file = File::open(from).map_err(DeltaError::io(from, "open"))?;
        let (mut copied, mut piece) = (0, Vec::new());
        while copied < bytes {
            piece.clear();
            let wanted = (bytes - copied).min(BUFFER as u64);
            let read = Read::by_ref(&mut file).take(wanted).read_to_end(&mut piece);
            read.map_err(DeltaError::io(from, "copy"))?;
            if piece.is_empty() {
                return Err(DeltaError::Changed {
                    path: from.to_path_buf(),
                    found: format!("it had {bytes} bytes, and then {copied}"),
                });
            }
            self.write(&piece)?;
            copied += piece.len() as u64;
        }
        Ok(())
    }

    /// The hashes of the sections, which are full.
    fn finish(self) -> Result<Vec<String>, DeltaError> {
        if !self.open.is_empty() {
            return Err(self.changed("it has become less"));
        }
        let path = self.path;
        let file = self
            .file
            .into_inner()
            .map_err(|error| DeltaError::io(&path, "write")(error.into_error()))?;
        file.sync_all().map_err(DeltaError::io(&path, "sync"))?;
        Ok(self.hashes)
    }

    fn changed(&self, found: &str) -> DeltaError {
        DeltaError::Changed {
            path: self.path.clone(),
            found: format!("{found} than was counted"),
        }
    }
}
