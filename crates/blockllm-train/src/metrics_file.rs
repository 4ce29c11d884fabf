//! `metrics.jsonl`: one whole record a line, whatever stops the run or fills the disk.
use crate::{Record, TrainError};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file that a run appends its records to.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    whole: u64,
    /// Lines that found no room yet.
    waiting: String,
}

/// What a file was found to hold.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Numbers of the lines that are no records, from 1.
    pub damaged: Vec<usize>,
    /// Whether the last line was begun and not finished: what a power loss or a full disk leaves.
    pub torn: bool,
}

impl MetricsFile {
    /// A new file at `path` with the lines of `records`; an older one is replaced as a whole.
    pub(crate) fn with(path: PathBuf, records: &[Record]) -> Result<Self, TrainError> {
        let text: String = records.iter().map(line).collect();
        blockllm_data::atomic_file::write_atomically(&path, text.as_bytes())?;
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(error_at(&path))?;
        Ok(Self {
            path,
            file,
            whole: text.len() as u64,
            waiting: String::new(),
        })
    }

    /// Appends `record`; without room it waits, the file is cut back to its last whole line, and the error is told.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), TrainError> {
        self.waiting.push_str(&line(record));
        self.flush()
    }

    /// Writes the lines that wait.
    pub(crate) fn flush(&mut self) -> Result<(), TrainError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.file.write_all(self.waiting.as_bytes()) {
            Ok(()) => {
                self.whole += self.waiting.len() as u64;
                self.waiting.clear();
                Ok(())
            }
            Err(source) => {
                // Where even this fails, the next read drops the torn line.
                let _ = self.file.set_len(self.whole);
                Err(error_at(&self.path)(source))
            }
        }
    }
}

/// Reads the records at `path`. Lines that are none are passed over and told by their numbers.
pub(crate) fn read(path: &Path) -> Result<Read, TrainError> {
    let bytes = std::fs::read(path).map_err(error_at(path))?;
    let mut read = Read::default();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (place, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(record) if line.ends_with(b"\n") => read.records.push(record),
            _ if place + 1 == lines.len() => read.torn = true,
            _ => read.damaged.push(place + 1),
        }
    }
    Ok(read)
}

fn line(record: &Record) -> String {
    let mut line = serde_json::to_string(record).expect("run records have only string keys");
    line.push('\n');
    line
}

fn error_at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::File { path, source }
}
