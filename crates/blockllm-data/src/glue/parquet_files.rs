//! GLUE as the Hugging Face hub keeps it: a folder per configuration, parquet files per split.
use super::{GlueExample, GlueLabel, GlueTask};
use crate::DataError;
use crate::reading::parquet_rows::{broken, check_size};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of `split` in `folder`, in order: `train-00000-of-00001.parquet` and so on, or `train.parquet`.
pub(super) fn files(folder: &Path, split: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_of_split = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name.strip_prefix(split)
            .and_then(|rest| rest.strip_suffix(".parquet"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_of_split)
        .collect();
    files.sort();
    files
}

/// The rows of a split; `labelled` says whether they must have labels (the hub writes -1 where there is none).
///
/// # Errors
/// Names the file, and the row or column that is not as it should be.
pub(super) fn read(
    folder: &Path,
    split: &str,
    task: GlueTask,
    labelled: bool,
) -> Result<Vec<GlueExample>, DataError> {
    let mut examples = Vec::new();
    for path in files(folder, split) {
        let before = examples.len();
        read_file(&path, task, labelled, &mut examples)?;
        if examples.len() == before {
            return Err(DataError::EmptyTaskFile { path });
        }
    }
    Ok(examples)
}

fn read_file(
    path: &Path,
    task: GlueTask,
    labelled: bool,
    examples: &mut Vec<GlueExample>,
) -> Result<(), DataError> {
    // The library panics on some files that are damaged.
    let read = catch_unwind(AssertUnwindSafe(|| read_rows(path, task, labelled, examples)));
    read.unwrap_or_else(|_| Err(broken(path, "it is damaged")))
}

fn read_rows(
    path: &Path,
    task: GlueTask,
    labelled: bool,
    examples: &mut Vec<GlueExample>,
) -> Result<(), DataError> {
    let refuse = |error: parquet::errors::ParquetError| broken(path, &error.to_string());
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(refuse)?;
    check_size(path, reader.metadata())?;
    let columns = columns(path, reader.metadata(), task, labelled)?;
    for (row, number) in reader.get_row_iter(Some(columns)).map_err(refuse)?.zip(1u64..) {
        let row = row.map_err(refuse)?;
        examples.push(example(path, &row, number, examples.len(), task, labelled)?);
    }
    Ok(())
}

/// The columns that the task needs; others may hold what the row reader cannot read.
fn columns(
    path: &Path,
    metadata: &ParquetMetaData,
    task: GlueTask,
    labelled: bool,
) -> Result<Type, DataError> {
    let schema = metadata.file_metadata().schema();
    let all = schema.get_fields();
    let wanted = task
        .hub_columns()
        .iter()
        .copied()
        .chain(labelled.then_some("label"));
    let find = |wanted: &'static str| {
        let found = all
            .iter()
            .find(|field| field.name() == wanted && field.is_primitive());
        found.cloned().ok_or_else(|| DataError::MissingColumn {
            path: path.to_owned(),
            column: wanted,
            found: all
                .iter()
                .map(|field| field.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
    };
    let fields = wanted.map(find).collect::<Result<Vec<Arc<Type>>, _>>()?;
    let builder = Type::group_type_builder(schema.name()).with_fields(fields);
    builder.build().map_err(|error| broken(path, &error.to_string()))
}

fn example(
    path: &Path,
    row: &Row,
    number: u64,
    index: usize,
    task: GlueTask,
    labelled: bool,
) -> Result<GlueExample, DataError> {
    let column = |wanted: &'static str| {
        let found = row.get_column_iter().find(|(name, _)| name.as_str() == wanted);
        found
            .map(|(_, field)| field)
            .ok_or_else(|| DataError::MissingColumn {
                path: path.to_owned(),
                column: wanted,
                found: row
                    .get_column_iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    };
    let refuse = |expected: &str, field: &Field| DataError::TaskRow {
        path: path.to_owned(),
        line: number,
        expected: expected.to_owned(),
        found: format!("{field}"),
    };
    let text = |wanted| match column(wanted)? {
        Field::Str(text) => Ok(text.clone()),
        // Written without the mark that says that it is text.
        Field::Bytes(bytes) if std::str::from_utf8(bytes.data()).is_ok() => {
            Ok(String::from_utf8_lossy(bytes.data()).into_owned())
        }
        other => Err(refuse("a text", other)),
    };
    let columns = task.hub_columns();
    let label = if labelled {
        let field = column("label")?;
        Some(label(field, task).ok_or_else(|| {
            let expected = if task.is_regression() {
                "a score from 0 to 5".to_owned()
            } else {
                format!("the number of one of the labels {}", task.labels().join(", "))
            };
            refuse(&expected, field)
        })?)
    } else {
        None
    };
    Ok(GlueExample {
        sentence: text(columns[0])?,
        pair: columns.get(1).map(|name| text(name)).transpose()?,
        label,
        index,
    })
}

fn label(field: &Field, task: GlueTask) -> Option<GlueLabel> {
    #[allow(clippy::cast_possible_truncation, reason = "the hub keeps scores in f32")]
    let score = |score: f64| {
        (0.0..=5.0)
            .contains(&score)
            .then_some(GlueLabel::Score(score as f32))
    };
    let class = |class: i64| {
        let class = usize::try_from(class).ok()?;
        (class < task.num_labels()).then_some(GlueLabel::Class(class))
    };
    match (task.is_regression(), field) {
        (true, Field::Float(value)) => score(f64::from(*value)),
        (true, Field::Double(value)) => score(*value),
        (false, field) => class(integer(field)?),
        _ => None,
    }
}

/// An integer of any width.
fn integer(field: &Field) -> Option<i64> {
    Some(match field {
        Field::Byte(value) => i64::from(*value),
        Field::Short(value) => i64::from(*value),
        Field::Int(value) => i64::from(*value),
        Field::Long(value) => *value,
        Field::UByte(value) => i64::from(*value),
        Field::UShort(value) => i64::from(*value),
        Field::UInt(value) => i64::from(*value),
        Field::ULong(value) => i64::try_from(*value).ok()?,
        _ => return None,
    })
}
