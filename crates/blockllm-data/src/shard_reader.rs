//! One shard read line by line, plain or gzip, never whole in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::error::Category;

use crate::DataError;

const BUFFER_BYTES: usize = 256 * 1024;

/// The texts of a shard in C4's format: one JSON object a line, the document in its field `text`.
///
/// Blank lines are skipped. The file is opened by the first call of `next`; after an error the reader ends.
pub struct ShardReader {
    path: PathBuf,
    lines: Option<Box<dyn BufRead + Send>>,
    buffer: Vec<u8>,
    line: u64,
    documents: u64,
    finished: bool,
}

#[derive(Deserialize)]
struct C4Line {
    text: String,
}

impl ShardReader {
    /// A reader of the shard at `path`; a name ending in `.gz` is decompressed, all gzip members of it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            lines: None,
            buffer: Vec::new(),
            line: 0,
            documents: 0,
            finished: false,
        }
    }

    fn next_text(&mut self) -> Result<Option<String>, DataError> {
        if self.lines.is_none() {
            self.lines = Some(open(&self.path)?);
        }
        let lines = self.lines.as_mut().expect("opened above");
        loop {
            self.buffer.clear();
            let read = lines.read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|source| read_error(&self.path, self.line, source))?;
            if read == 0 && self.documents == 0 {
                return Err(DataError::EmptyShard {
                    path: self.path.clone(),
                });
            }
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = self.buffer.trim_ascii();
            if !line.is_empty() {
                self.documents += 1;
                return parse(line)
                    .map(Some)
                    .map_err(|refusal| refusal.at(&self.path, self.line));
            }
        }
    }
}

impl Iterator for ShardReader {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.next_text().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.finished = true;
            self.lines = None;
        }
        next
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, DataError> {
    let file = File::open(path).map_err(DataError::io("open", path))?;
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            MultiGzDecoder::new(file),
        )));
    }
    Ok(Box::new(file))
}

fn read_error(path: &Path, line: u64, source: io::Error) -> DataError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::UnexpectedEof => DataError::TruncatedShard { path, line },
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => DataError::CorruptShard {
            path,
            line,
            found: source.to_string(),
        },
        _ => DataError::Io {
            action: "read",
            path,
            source,
        },
    }
}

/// Why a line was refused, before its place is known.
enum Refusal {
    NotJson(String),
    NoText(String),
}

impl Refusal {
    fn at(self, path: &Path, line: u64) -> DataError {
        let path = path.to_path_buf();
        match self {
            Self::NotJson(found) => DataError::NotJson { path, line, found },
            Self::NoText(found) => DataError::NoText { path, line, found },
        }
    }
}

fn parse(line: &[u8]) -> Result<String, Refusal> {
    // serde would also read a struct out of an array.
    if line[0] != b'{' {
        let head = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
        return Err(Refusal::NotJson(format!("`{head}`")));
    }
    match serde_json::from_slice::<C4Line>(line) {
        Ok(line) => Ok(line.text),
        Err(error) if error.classify() == Category::Data => Err(Refusal::NoText(error.to_string())),
        Err(error) => Err(Refusal::NotJson(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(name: &str, bytes: &[u8]) -> Vec<Result<String, DataError>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        ShardReader::new(path).collect()
    }

    fn last_error(name: &str, bytes: &[u8]) -> DataError {
        read(name, bytes).pop().unwrap().unwrap_err()
    }

    #[test]
    fn a_plain_and_a_gzip_shard_give_the_same_texts_and_all_gzip_members_are_read() {
        let (one, two) = ("{\"text\":\"a\\nb\",\"url\":\"u\"}\n\n", "{\"text\":\"c\"}");
        let members = [gzip(one), gzip(two)].concat();
        for texts in [
            read("s.jsonl", format!("{one}{two}").as_bytes()),
            read("s.json.gz", &members),
        ] {
            let texts: Vec<String> = texts.into_iter().map(Result::unwrap).collect();
            assert_eq!(texts, ["a\nb", "c"]);
        }
    }

    #[test]
    fn a_truncated_gzip_is_named_with_the_last_whole_line() {
        let lines: Vec<String> = (0..2000)
            .map(|i| format!("{{\"text\":\"{}\"}}", i * 7919 % 1009))
            .collect();
        let bytes = gzip(&lines.join("\n"));
        let error = last_error("c4-train.00000-of-00001.json.gz", &bytes[..bytes.len() / 2]);
        assert!(
            matches!(error, DataError::TruncatedShard { line, .. } if line > 0),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("c4-train.00000-of-00001.json.gz, after line"),
            "{error}"
        );
    }

    #[test]
    fn a_gz_name_on_plain_text_is_reported_as_corrupt() {
        let error = last_error("s.json.gz", b"{\"text\":\"not compressed at all\"}\n");
        assert!(
            matches!(error, DataError::CorruptShard { line: 0, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let error = last_error("s.jsonl", b"{\"text\":\"a\"}\n{\"text\":\"b\n");
        assert!(matches!(error, DataError::NotJson { line: 2, .. }), "{error}");
        let error = last_error("s.jsonl", b"[\"a\"]\n");
        assert!(matches!(error, DataError::NotJson { line: 1, .. }), "{error}");
        let error = last_error("s.jsonl", b"{\"text\":\"a\"}\n{\"content\":\"b\"}\n");
        assert!(matches!(error, DataError::NoText { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("missing field `text`"), "{error}");
        let error = last_error("s.jsonl", b"{\"text\":3}\n");
        assert!(matches!(error, DataError::NoText { line: 1, .. }), "{error}");
    }

    #[test]
    fn an_empty_shard_is_an_error() {
        for (name, bytes) in [("s.jsonl", &b"\n\n"[..]), ("s.json.gz", &gzip(""))] {
            let error = last_error(name, bytes);
            assert!(matches!(error, DataError::EmptyShard { .. }), "{error}");
        }
        // A download that never began: no gzip header at all.
        let error = last_error("s.json.gz", b"");
        assert!(
            matches!(
                error,
                DataError::EmptyShard { .. } | DataError::TruncatedShard { .. }
            ),
            "{error}"
        );
    }
}
