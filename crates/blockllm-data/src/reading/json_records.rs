//! The records of a JSON file: one object a line, or one array of objects; plain or gzip, never whole in memory.

use std::io::{self, BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use super::ReadingConfig;
use super::json_line::{brief, shown};
use super::lines::{Line, Lines};
use super::shard_reader::{open, read_error};
use crate::DataError;

type Input = Box<dyn BufRead + Send>;

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// `line N` or `record N`, counted from 1.
    pub place: String,
    /// What stands there: an object.
    pub value: Value,
}

enum Form {
    Lines(Lines<Input>),
    Array(Input),
}

/// Reads a file's records. After a record that is no object it goes on; after an error of the file itself it ends.
pub(crate) struct JsonRecords {
    path: PathBuf,
    config: ReadingConfig,
    /// `None` before the first record is asked for.
    form: Option<Form>,
    records: u64,
    finished: bool,
}

impl JsonRecords {
    /// A reader of the file at `path`; a name ending in `.gz` is decompressed.
    pub fn new(path: &Path, config: ReadingConfig) -> Self {
        Self {
            path: path.to_path_buf(),
            config,
            form: None,
            records: 0,
            finished: false,
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>, DataError> {
        let form = match self.form.take() {
            Some(form) => form,
            None => self.begin()?,
        };
        match self.form.insert(form) {
            Form::Lines(_) => self.next_line(),
            Form::Array(_) => self.next_element(),
        }
    }

    /// Opens the file and looks at its first sign.
    fn begin(&self) -> Result<Form, DataError> {
        let mut input = open(&self.path, &Arc::default())?;
        let head = input
            .fill_buf()
            .map_err(|source| read_error(&self.path, 0, source))?;
        let mark = usize::from(head.starts_with(b"\xef\xbb\xbf")) * 3;
        let spaces = head[mark..].len() - head[mark..].trim_ascii_start().len();
        if head.get(mark + spaces) == Some(&b'[') {
            input.consume(mark + spaces + 1);
            return Ok(Form::Array(input));
        }
        Ok(Form::Lines(Lines::new(input, self.config.max_line_bytes)))
    }

    fn next_line(&mut self) -> Result<Option<Record>, DataError> {
        let Some(Form::Lines(lines)) = &mut self.form else {
            unreachable!("called for lines only");
        };
        loop {
            let read = lines.read();
            let (line, path) = (lines.number(), self.path.clone());
            match read.map_err(|source| read_error(&path, line, source))? {
                Line::End if self.records == 0 => return Err(DataError::EmptyShard { path }),
                Line::End => return Ok(None),
                Line::Whole if lines.text().is_empty() => {}
                Line::TooLong => {
                    self.records += 1;
                    let expected = self.config.max_line_bytes;
                    return Err(DataError::LineTooLong { path, line, expected });
                }
                Line::Whole => {
                    self.records += 1;
                    let text = lines.text();
                    let value = if text.first() == Some(&b'{') {
                        serde_json::from_slice(text).map_err(|error| brief(&error.to_string()))
                    } else {
                        Err(shown(text))
                    };
                    let place = format!("line {line}");
                    return match value {
                        Ok(value) => Ok(Some(Record { place, value })),
                        Err(found) => Err(DataError::NotJson { path, line, found }),
                    };
                }
            }
        }
    }

    fn next_element(&mut self) -> Result<Option<Record>, DataError> {
        let Some(Form::Array(input)) = &mut self.form else {
            unreachable!("called for arrays only");
        };
        let fault = |record: u64, error: &io::Error| match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => DataError::BrokenArray {
                path: self.path.clone(),
                record,
                found: brief(&error.to_string()),
            },
            kind => read_error(&self.path, record, io::Error::new(kind, error.to_string())),
        };
        let next = self.records + 1;
        if !to_element(input, self.records == 0).map_err(|error| fault(next, &error))? {
            if self.records == 0 {
                return Err(DataError::EmptyShard {
                    path: self.path.clone(),
                });
            }
            return Ok(None);
        }
        self.records = next;
        let place = format!("record {next}");
        match element(input, self.config.max_line_bytes).map_err(|error| fault(next, &error))? {
            Ok(value) => Ok(Some(Record { place, value })),
            Err(found) => Err(DataError::InstructRecord {
                path: self.path.clone(),
                place,
                expected: "an object".to_owned(),
                found,
            }),
        }
    }
}

impl Iterator for JsonRecords {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.next_record().transpose();
        self.finished = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.is_about_a_document(),
        };
        next
    }
}

/// The next byte that is no space, without taking it.
fn peek(input: &mut Input) -> io::Result<Option<u8>> {
    loop {
        let available = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            available => available?,
        };
        let spaces = available.len() - available.trim_ascii_start().len();
        let (byte, is_end) = (available.get(spaces).copied(), available.is_empty());
        input.consume(spaces);
        if byte.is_some() || is_end {
            return Ok(byte);
        }
    }
}

/// Passes over the comma before an element; `false` behind the last one, where nothing else may stand.
fn to_element(input: &mut Input, is_first: bool) -> io::Result<bool> {
    match (peek(input)?, is_first) {
        (Some(b']'), _) => {
            input.consume(1);
            match peek(input)? {
                None => Ok(false),
                Some(_) => Err(broken("expected nothing behind the array")),
            }
        }
        (Some(b','), false) => {
            input.consume(1);
            Ok(true)
        }
        (Some(_), true) => Ok(true),
        (Some(_), false) => Err(broken("expected `,` or `]`")),
        (None, _) => Err(broken("it ends without `]`")),
    }
}

/// The object that begins here, or what stands in its place; an error where nothing behind can be found.
fn element(input: &mut Input, max_bytes: usize) -> io::Result<Result<Value, String>> {
    let first = peek(input)?.ok_or_else(|| broken("it ends without `]`"))?;
    let mut bounded = input.take(max_bytes as u64);
    let parsed = match first {
        b'{' => Value::deserialize(&mut Deserializer::from_reader(&mut bounded)).map(Ok),
        b'[' | b'"' => IgnoredAny::deserialize(&mut Deserializer::from_reader(&mut bounded))
            .map(|_| Err(format!("`{}`", char::from(first)))),
        _ => return scalar(input).map(Err),
    };
    parsed.map_err(|error| match (error.is_io(), bounded.limit()) {
        (_, 0) => broken("a record is longer than `max_line_bytes`"),
        (true, _) => error.into(),
        _ => broken(&error.to_string()),
    })
}

/// Passes over what is no object, array or string.
fn scalar(input: &mut Input) -> io::Result<String> {
    let mut word = Vec::new();
    while let Some(byte) = peek(input)?.filter(|byte| !matches!(byte, b',' | b']')) {
        if word.len() >= 40 || !byte.is_ascii_graphic() {
            return Err(broken("expected an object"));
        }
        word.push(byte);
        input.consume(1);
    }
    Ok(shown(&word))
}

fn broken(found: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, max_line_bytes: usize) -> Vec<Result<Record, DataError>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::write(&path, text).unwrap();
        let config = ReadingConfig {
            max_line_bytes,
            ..ReadingConfig::default()
        };
        JsonRecords::new(&path, config).collect()
    }

    fn shown_as(records: &[Result<Record, DataError>]) -> Vec<String> {
        let show = |record: &Result<Record, DataError>| match record {
            Ok(record) => format!("{} {}", record.place, record.value),
            Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap().to_owned(),
        };
        records.iter().map(show).collect()
    }

    #[test]
    fn lines_and_an_array_give_the_same_records() {
        let lines = "\u{feff}{\"a\":1}\n\n{\"b\":[\"]\"]}\n";
        assert_eq!(
            shown_as(&read(lines, 1000)),
            ["line 1 {\"a\":1}", "line 3 {\"b\":[\"]\"]}"]
        );
        let array = "\u{feff} [\n {\"a\":1}\n,{\"b\":[\"]\"]} ]\n";
        assert_eq!(
            shown_as(&read(array, 1000)),
            ["record 1 {\"a\":1}", "record 2 {\"b\":[\"]\"]}"]
        );
    }

    #[test]
    fn what_is_no_object_is_named_and_the_records_behind_it_are_read() {
        let found = shown_as(&read("[1, \"x\", [2], null, {}]", 1000));
        assert_eq!(found[..4], ["InstructRecord"; 4]);
        assert_eq!(found[4], "record 5 {}");
        let found = shown_as(&read("1\n{}\n{\"a\":\n{}", 1000));
        assert_eq!(found, ["NotJson", "line 2 {}", "NotJson", "line 4 {}"]);
    }

    #[test]
    fn a_broken_array_ends_the_file_with_its_record_named() {
        for text in ["[{}", "[{} {}]", "[{}, {\"a\": }]", "[{}] {}", "[{},"] {
            let found = shown_as(&read(text, 1000));
            assert_eq!(found, ["record 1 {}", "BrokenArray"], "{text}");
        }
        let long = format!("[{{}}, {{\"a\": \"{}\"}}, {{}}]", "x".repeat(200));
        assert_eq!(shown_as(&read(&long, 100)), ["record 1 {}", "BrokenArray"]);
        assert_eq!(shown_as(&read("[ ]", 100)), ["EmptyShard"]);
        assert_eq!(shown_as(&read("", 100)), ["EmptyShard"]);
    }
}
