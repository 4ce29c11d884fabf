//! The header of a GGUF file, number by number, none read beyond its bound.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::TensorFileError;

/// A longer header is taken for damage: those of the largest vocabularies have 20 MB.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// A place in the header.
pub(super) struct Cursor {
    path: PathBuf,
    input: BufReader<File>,
    at: u64,
    /// Where the header must have ended.
    end: u64,
    /// The size of the file.
    pub(super) size: u64,
}

impl Cursor {
    /// The beginning of the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, TensorFileError> {
        let file = File::open(path).map_err(TensorFileError::io(path, "open"))?;
        let size = file
            .metadata()
            .map_err(TensorFileError::io(path, "look up"))?
            .len();
        Ok(Self {
            path: path.to_path_buf(),
            input: BufReader::new(file),
            at: 0,
            end: size.min(MAX_HEADER_BYTES),
            size,
        })
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// An error at this place.
    pub(super) fn refuse(&self, found: impl Into<String>) -> TensorFileError {
        TensorFileError::Gguf {
            path: self.path.clone(),
            offset: self.at,
            found: found.into(),
        }
    }

    /// A count of things that take at least `least` bytes each, as many as the header has room for.
    pub(super) fn count(&mut self, what: &str, least: u64) -> Result<usize, TensorFileError> {
        let count = u64::from_le_bytes(self.array(what)?);
        let room = (self.end - self.at) / least;
        if count > room {
            return Err(self.refuse(format!("{count} {what}, where there is room for {room}")));
        }
        Ok(count as usize)
    }

    /// A text of the file's own length.
    pub(super) fn text(&mut self, what: &str) -> Result<String, TensorFileError> {
        let mut bytes = vec![0; self.count(&format!("bytes of {what}"), 1)?];
        self.fill(what, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.refuse(format!("{what} that is no UTF-8")))
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], TensorFileError> {
        let mut bytes = [0; N];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, what: &str, bytes: &mut [u8]) -> Result<(), TensorFileError> {
        if bytes.len() as u64 > self.end - self.at {
            return Err(self.refuse(format!("the end of the header within {what}")));
        }
        self.input
            .read_exact(bytes)
            .map_err(TensorFileError::io(&self.path, "read"))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
