//! Part of a file, read from its beginning a piece at a time.

use crate::DeltaError;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Entries of a tensor that are read, compared and written at a time: a multiple of 8, so that bitmaps are cut between bytes.
pub(crate) const PIECE: usize = 1 << 18;

/// Buffers reads of single entries.
const BUFFER: usize = 1 << 18;

/// Bytes that lie one after the other in a file.
#[derive(Debug)]
pub(crate) struct Bytes {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
}

impl Bytes {
    /// `bytes` from `start` on of the file at `path`.
    pub(crate) fn open(path: &Path, start: u64, bytes: u64) -> Result<Self, DeltaError> {
        let mut file = File::open(path).map_err(DeltaError::io(path, "open"))?;
        file.seek(SeekFrom::Start(start))
            .map_err(DeltaError::io(path, "read"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufReader::with_capacity(BUFFER, file),
            left: bytes,
        })
    }

    /// How many have not been read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next byte, if there is one more.
    pub(crate) fn byte(&mut self) -> Result<Option<u8>, DeltaError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(Some(byte[0]))
    }

    /// The next `count` bytes, or those that are left where they are fewer.
    pub(crate) fn piece(&mut self, count: usize) -> Result<Vec<u8>, DeltaError> {
        let count = usize::try_from(self.left).map_or(count, |left| left.min(count));
        let mut piece = vec![0; count];
        self.fill(&mut piece)?;
        Ok(piece)
    }

    /// Fills `out`, which is no longer than what is left.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<(), DeltaError> {
        debug_assert!(
            out.len() as u64 <= self.left,
            "headers were checked against their files"
        );
        self.file
            .read_exact(out)
            .map_err(DeltaError::io(&self.path, "read"))?;
        self.left -= out.len() as u64;
        Ok(())
    }
}
