//! The rows of a parquet file as JSON objects, of the columns that are asked for; nested columns too.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

use super::json_records::Record;
use crate::DataError;

/// Rows of a file: the largest of the data sets that are read so have 400,000.
const MAX_ROWS: i64 = 1 << 26;
/// Bytes of a file's columns when decompressed: the largest have 80 MB.
const MAX_BYTES: i64 = 1 << 31;

/// Hands every row to `take`, its place being `row N`, counted from 1, until that refuses. A column that is not there is left out
/// of the objects.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Parquet`], and what `take` says.
pub(crate) fn each_row(
    path: &Path,
    columns: &[&str],
    take: &mut dyn FnMut(Record) -> Result<(), DataError>,
) -> Result<(), DataError> {
    // The library panics on some files that are damaged.
    let read = catch_unwind(AssertUnwindSafe(|| read_rows(path, columns, take)));
    read.unwrap_or_else(|_| Err(broken(path, "it is damaged")))
}

fn read_rows(
    path: &Path,
    columns: &[&str],
    take: &mut dyn FnMut(Record) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let refuse = |error: ParquetError| broken(path, &error.to_string());
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(refuse)?;
    check_size(path, reader.metadata())?;
    let schema = reader.metadata().file_metadata().schema();
    let wanted = |field: &&Arc<Type>| columns.contains(&field.name());
    let fields = schema.get_fields().iter().filter(wanted).cloned().collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(fields);
    let projection = projection.build().map_err(refuse)?;
    for (row, number) in reader.get_row_iter(Some(projection)).map_err(refuse)?.zip(1u64..) {
        let row = row.map_err(refuse)?;
        take(Record {
            place: format!("row {number}"),
            value: object(&row),
        })?;
    }
    Ok(())
}

/// That a file cannot be read.
pub(crate) fn broken(path: &Path, found: &str) -> DataError {
    DataError::Parquet {
        path: path.to_owned(),
        found: found.to_owned(),
    }
}

/// A few bytes may claim any number of rows.
pub(crate) fn check_size(path: &Path, metadata: &ParquetMetaData) -> Result<(), DataError> {
    let groups = metadata.row_groups().iter();
    let bytes = groups.fold(0i64, |bytes, group| bytes.saturating_add(group.total_byte_size()));
    let rows = metadata.file_metadata().num_rows();
    if (0..=MAX_ROWS).contains(&rows) && bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(broken(
        path,
        &format!("it says that it has {rows} rows in {bytes} bytes"),
    ))
}

fn object(row: &Row) -> Value {
    let fields = row.get_column_iter();
    Value::Object(
        fields
            .map(|(name, field)| (name.clone(), value(field)))
            .collect::<Map<_, _>>(),
    )
}

/// A field as JSON has it; what JSON has no form for is told in words, which nobody who asks for a number or a list takes.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => (*truth).into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float(number) => float(f64::from(*number)),
        Field::Double(number) => float(*number),
        Field::Str(text) => text.clone().into(),
        // Written without the mark that says that it is text.
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into(),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => Value::String(other.to_string()),
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
