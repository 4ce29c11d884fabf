//! What Jinja templates see of Python: how values are printed, and `json.dumps`.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, Output, State};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Prints a value as Python's `str` does: `None`, `True` and `False`.
pub(super) fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let word = if value.is_none() {
        "None"
    } else {
        match value.kind() == minijinja::value::ValueKind::Bool {
            true if value.is_true() => "True",
            true => "False",
            false => return minijinja::escape_formatter(out, state, value),
        }
    };
    out.write_str(word).map_err(Error::from)
}

/// The filter `tojson` as transformers has it: `json.dumps(x, ensure_ascii=False)`, nothing escaped for HTML.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the library hands a filter its own arguments"
)]
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut out, Spaced)),
        Some(indent) => {
            let spaces = vec![b' '; indent.min(64)];
            let pretty = PrettyFormatter::with_indent(&spaces);
            value.serialize(&mut Serializer::with_formatter(&mut out, pretty))
        }
    };
    let refused = |found: String| Error::new(ErrorKind::BadSerialization, found);
    written.map_err(|error| refused(error.to_string()))?;
    String::from_utf8(out).map_err(|error| refused(error.to_string()))
}

/// Python's separators: `, ` and `: `.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
