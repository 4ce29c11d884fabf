//! The dictionary of a GGUF file: what it says of its model and tokenizer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use crate::TensorFileError;

/// A value of the dictionary. Integers and floats of every width are kept in the widest.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Whole numbers.
    Wholes(Vec<i64>),
    /// Numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// What a GGUF file says beside its tensors, by key.
#[derive(Clone, Debug)]
pub struct Metadata {
    path: PathBuf,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads `count` keys with their values.
    pub(super) fn read(path: &Path, cursor: &mut Cursor, count: usize) -> Result<Self, TensorFileError> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.text("a key")?;
            let kind = u32::from_le_bytes(cursor.array(&key)?);
            let value = match kind {
                ARRAY => read_array(cursor, &key)?,
                _ => read_value(cursor, &key, kind)?,
            };
            values.insert(key, value);
        }
        Ok(Self {
            path: path.to_path_buf(),
            values,
        })
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The text of `key`, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, TensorFileError> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The whole number of `key`, at least 0, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn whole(&self, key: &str) -> Result<Option<u64>, TensorFileError> {
        self.typed(key, "a whole number", |value| match value {
            Value::Whole(whole) => u64::try_from(*whole).ok(),
            _ => None,
        })
    }

    /// The number of `key`, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, TensorFileError> {
        self.typed(key, "a number", |value| match value {
            Value::Number(number) => Some(*number),
            Value::Whole(whole) => Some(*whole as f64),
            _ => None,
        })
    }

    /// The yes or no of `key`, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, TensorFileError> {
        self.typed(key, "yes or no", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// The texts of `key`, if they are there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, TensorFileError> {
        self.typed(key, "a list of texts", |value| match value {
            Value::Texts(texts) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// The whole numbers of `key`, if they are there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn wholes(&self, key: &str) -> Result<Option<&[i64]>, TensorFileError> {
        self.typed(key, "a list of whole numbers", |value| match value {
            Value::Wholes(wholes) => Some(wholes.as_slice()),
            _ => None,
        })
    }

    /// The numbers of `key`, if they are there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn numbers(&self, key: &str) -> Result<Option<&[f64]>, TensorFileError> {
        self.typed(key, "a list of numbers", |value| match value {
            Value::Numbers(numbers) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    /// An error that says that a key is another than it may be, or is not there.
    pub fn refuse(&self, key: &str, expected: impl Into<String>) -> TensorFileError {
        let found = self.get(key).map_or_else(|| "missing".to_owned(), describe);
        TensorFileError::Metadata {
            path: self.path.clone(),
            key: key.to_owned(),
            expected: expected.into(),
            found,
        }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        of: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TensorFileError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => of(value).map(Some).ok_or_else(|| self.refuse(key, expected)),
        }
    }
}

/// A value in an error: no list, and no long text.
fn describe(value: &Value) -> String {
    match value {
        Value::Whole(whole) => whole.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Wholes(list) => format!("a list of {} whole numbers", list.len()),
        Value::Numbers(list) => format!("a list of {} numbers", list.len()),
        Value::Texts(list) => format!("a list of {} texts", list.len()),
    }
}

const FLAG: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// One value of a kind that is no list.
fn read_value(cursor: &mut Cursor, key: &str, kind: u32) -> Result<Value, TensorFileError> {
    Ok(match kind {
        0 => Value::Whole(u8::from_le_bytes(cursor.array(key)?).into()),
        1 => Value::Whole(i8::from_le_bytes(cursor.array(key)?).into()),
        2 => Value::Whole(u16::from_le_bytes(cursor.array(key)?).into()),
        3 => Value::Whole(i16::from_le_bytes(cursor.array(key)?).into()),
        4 => Value::Whole(u32::from_le_bytes(cursor.array(key)?).into()),
        5 => Value::Whole(i32::from_le_bytes(cursor.array(key)?).into()),
        6 => Value::Number(f32::from_le_bytes(cursor.array(key)?).into()),
        FLAG => match cursor.array(key)? {
            [0] => Value::Flag(false),
            [1] => Value::Flag(true),
            [other] => return Err(cursor.refuse(format!("`{key}` of {other}, where 0 or 1 is"))),
        },
        TEXT => Value::Text(cursor.text(&format!("`{key}`"))?),
        10 => {
            let whole = u64::from_le_bytes(cursor.array(key)?);
            let fits = i64::try_from(whole);
            Value::Whole(fits.map_err(|_| cursor.refuse(format!("`{key}` of {whole}")))?)
        }
        11 => Value::Whole(i64::from_le_bytes(cursor.array(key)?)),
        12 => Value::Number(f64::from_le_bytes(cursor.array(key)?)),
        _ => return Err(cursor.refuse(format!("`{key}` of kind {kind}, where kinds end with 12"))),
    })
}

/// A list of values of one kind.
fn read_array(cursor: &mut Cursor, key: &str) -> Result<Value, TensorFileError> {
    let kind = u32::from_le_bytes(cursor.array(key)?);
    let least = match kind {
        0 | 1 | FLAG => 1,
        2 | 3 => 2,
        TEXT | 10..=12 => 8,
        ARRAY => return Err(cursor.refuse(format!("`{key}` is a list of lists, which no model has"))),
        _ => 4,
    };
    let count = cursor.count(&format!("values of `{key}`"), least)?;
    let mut list = match kind {
        TEXT => Value::Texts(Vec::with_capacity(count)),
        6 | 12 => Value::Numbers(Vec::with_capacity(count)),
        _ => Value::Wholes(Vec::with_capacity(count)),
    };
    for _ in 0..count {
        match (&mut list, read_value(cursor, key, kind)?) {
            (Value::Texts(list), Value::Text(text)) => list.push(text),
            (Value::Numbers(list), Value::Number(number)) => list.push(number),
            (Value::Wholes(list), Value::Whole(whole)) => list.push(whole),
            (Value::Wholes(list), Value::Flag(flag)) => list.push(flag.into()),
            _ => unreachable!("values of one kind are of one type"),
        }
    }
    Ok(list)
}
