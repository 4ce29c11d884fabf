//! One shard read line by line, plain or gzip, never whole in memory.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReadingConfig;
use super::gzip_members::GzipMembers;
use super::json_line::parse;
use super::lines::{Line, Lines};
use super::shard_hashes::{HashedFile, ShardHashes};
use crate::DataError;

const BUFFER_BYTES: usize = 256 * 1024;

/// The texts of a shard in C4's format: one JSON object a line, the document in its field `text`.
///
/// Blank lines are passed over. The file is opened by the first call of `next`. After a line that is no document the
/// reader goes on; after an error of the file itself it ends.
pub struct ShardReader {
    path: PathBuf,
    config: ReadingConfig,
    hashes: Arc<ShardHashes>,
    lines: Option<Lines<Box<dyn BufRead + Send>>>,
    documents: u64,
    finished: bool,
}

impl ShardReader {
    /// A reader of the shard at `path`; a name ending in `.gz` is decompressed, all gzip members of it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with(path.into(), ReadingConfig::default(), Arc::default())
    }

    /// The same, bounded as `config` says, hashed into `hashes` while it is read.
    pub(crate) fn with(path: PathBuf, config: ReadingConfig, hashes: Arc<ShardHashes>) -> Self {
        Self {
            path,
            config,
            hashes,
            lines: None,
            documents: 0,
            finished: false,
        }
    }

    /// The documents that were read or passed over, broken ones counted.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Passes over `count` documents without parsing them; gives how many there were.
    ///
    /// # Errors
    /// What opening or decompressing fails with.
    pub fn pass_over(&mut self, count: u64) -> Result<u64, DataError> {
        let before = self.documents;
        while self.documents - before < count {
            let lines = self.lines()?;
            let passed = lines.pass();
            let number = lines.number();
            match passed.map_err(|source| read_error(&self.path, number, source))? {
                None => break,
                Some(is_document) => self.documents += u64::from(is_document),
            }
        }
        Ok(self.documents - before)
    }

    fn lines(&mut self) -> Result<&mut Lines<Box<dyn BufRead + Send>>, DataError> {
        if self.lines.is_none() {
            let input = open(&self.path, &self.hashes)?;
            self.lines = Some(Lines::new(input, self.config.max_line_bytes));
        }
        Ok(self.lines.as_mut().expect("opened above"))
    }

    fn next_text(&mut self) -> Result<Option<String>, DataError> {
        loop {
            let lines = self.lines()?;
            let read = lines.read();
            let number = lines.number();
            match read.map_err(|source| read_error(&self.path, number, source))? {
                Line::End if self.documents == 0 => {
                    return Err(DataError::EmptyShard {
                        path: self.path.clone(),
                    });
                }
                Line::End => return Ok(None),
                Line::Whole if self.lines()?.text().is_empty() => {}
                line => {
                    self.documents += 1;
                    return self.document(line, number).map(Some);
                }
            }
        }
    }

    fn document(&mut self, line: Line, number: u64) -> Result<String, DataError> {
        if line == Line::TooLong {
            return Err(DataError::LineTooLong {
                path: self.path.clone(),
                line: number,
                expected: self.config.max_line_bytes,
            });
        }
        parse(self.lines()?.text()).map_err(|refusal| refusal.at(&self.path, number))
    }
}

impl Iterator for ShardReader {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.next_text().transpose();
        let goes_on = match &next {
            None => false,
            Some(Ok(_)) => true,
            Some(Err(error)) => error.is_about_a_document(),
        };
        if !goes_on {
            self.finished = true;
            self.lines = None;
        }
        next
    }
}

/// The bytes of a file, decompressed where its name ends in `.gz`.
pub(super) fn open(path: &Path, hashes: &Arc<ShardHashes>) -> Result<Box<dyn BufRead + Send>, DataError> {
    let file = BufReader::with_capacity(BUFFER_BYTES, HashedFile::open(path, hashes)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let members = GzipMembers::new(file);
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, members)));
    }
    Ok(Box::new(file))
}

/// What an error of reading says about the file.
pub(super) fn read_error(path: &Path, line: u64, source: io::Error) -> DataError {
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

    fn reader(name: &str, bytes: &[u8]) -> (tempfile::TempDir, ShardReader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, ShardReader::new(path))
    }

    fn read(name: &str, bytes: &[u8]) -> Vec<Result<String, DataError>> {
        let (_folder, reader) = reader(name, bytes);
        reader.collect()
    }

    fn last_error(name: &str, bytes: &[u8]) -> DataError {
        read(name, bytes).pop().unwrap().unwrap_err()
    }

    #[test]
    fn a_plain_and_a_gzip_shard_give_the_same_texts_and_all_gzip_members_are_read() {
        let (one, two) = (
            "\u{feff}{\"text\":\"a\\nb\",\"url\":\"u\"}\n\n",
            "{\"text\":\"c\"}",
        );
        let members = [gzip(one), gzip(two), vec![0; 512]].concat();
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
    fn a_bad_line_is_named_by_its_number_and_the_lines_behind_it_can_be_read() {
        for (bad, is_json) in [
            ("{\"text\":\"b", false),
            ("[\"a\"]", false),
            ("{\"content\":\"b\"}", true),
            ("{\"text\":3}", true),
        ] {
            let text = format!("{{\"text\":\"a\"}}\n{bad}\n{{\"text\":\"c\"}}\n");
            let mut found = read("s.jsonl", text.as_bytes());
            assert_eq!(found.len(), 3, "{bad}");
            assert_eq!(found.pop().unwrap().unwrap(), "c");
            match found.pop().unwrap().unwrap_err() {
                DataError::NotJson { line: 2, .. } => assert!(!is_json, "{bad}"),
                DataError::NoText { line: 2, .. } => assert!(is_json, "{bad}"),
                error => panic!("{bad}: {error}"),
            }
        }
    }

    #[test]
    fn passing_over_documents_counts_bad_ones_and_no_blank_lines() {
        let text = "\u{feff}\n{\"text\":\"a\"}\n\n[]\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n";
        for (name, bytes) in [("s.jsonl", text.as_bytes().to_vec()), ("s.json.gz", gzip(text))] {
            let (_folder, mut reader) = reader(name, &bytes);
            assert_eq!(reader.pass_over(2).unwrap(), 2);
            assert_eq!(reader.next().unwrap().unwrap(), "c");
            assert_eq!(reader.documents(), 3);
            assert_eq!(reader.pass_over(u64::MAX).unwrap(), 1);
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_named_and_its_memory_is_not_asked_for() {
        let text = format!("{{\"text\":\"{}\"}}\n{{\"text\":\"b\"}}\n", "x".repeat(1 << 20));
        let (_folder, mut reader) = reader("s.json.gz", &gzip(&text));
        reader.config.max_line_bytes = 1000;
        let error = reader.next().unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                DataError::LineTooLong {
                    line: 1,
                    expected: 1000,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(reader.next().unwrap().unwrap(), "b");
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
