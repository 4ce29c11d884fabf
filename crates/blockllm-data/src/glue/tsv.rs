//! GLUE's own TSV files: tabs separate, nothing quotes, and some files have their oddities.
use super::example::Rows;
use super::{GlueExample, GlueLabel, GlueTask};
use crate::DataError;
use crate::bounded_file::bounded;
use std::path::Path;

/// GLUE's largest file has 78 MB.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Where the fields of a row are.
struct Columns {
    sentence: usize,
    pair: Option<usize>,
    label: Option<usize>,
    count: usize,
}

/// The rows of `path`; `labelled` says whether they must have labels.
///
/// Oddities that are handled: a byte-order mark before the header, CRLF, `CoLA`'s training and validation files without
/// a header, the few labelled lines of QQP that lost their fields (left out, as everybody does; in a test file they are
/// refused, since a submission counts rows), MNLI's rows on which the annotators agreed on nothing (`-`, left out).
/// Sentences stay as they are, spaces at their ends included: to some tokenizers those are tokens.
pub(super) fn read(path: &Path, task: GlueTask, labelled: bool) -> Result<Rows, DataError> {
    let bytes = bounded(path, MAX_FILE_BYTES)?;
    rows(path, &bytes, task, labelled)
}

/// The same of a file that is in memory.
fn rows(path: &Path, bytes: &[u8], task: GlueTask, labelled: bool) -> Result<Rows, DataError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = valid.split('\n').count() as u64;
        row_error(path, line, "UTF-8 text", "other bytes")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text
        .split('\n')
        .map(|line| line.trim_end_matches('\r'))
        .zip(1u64..)
        .peekable();
    let columns = if task == GlueTask::Cola && labelled {
        Columns {
            sentence: 3,
            pair: None,
            label: Some(1),
            count: 4,
        }
    } else {
        let (header, _) = lines.next().unwrap_or_default();
        named_columns(path, header, task, labelled)?
    };
    let mut rows = Rows::default();
    for (index, (line, number)) in lines.filter(|(line, _)| !line.is_empty()).enumerate() {
        match example(path, line, number, index, &columns, task)? {
            Some(example) => rows.examples.push(example),
            None => rows.left_out += 1,
        }
    }
    if rows.examples.is_empty() {
        return Err(DataError::EmptyTaskFile {
            path: path.to_owned(),
        });
    }
    Ok(rows)
}

fn named_columns(path: &Path, header: &str, task: GlueTask, labelled: bool) -> Result<Columns, DataError> {
    let names: Vec<&str> = header.split('\t').map(str::trim).collect();
    let place = |wanted: &str| names.iter().position(|name| *name == wanted);
    let required = |wanted: &'static str| {
        place(wanted).ok_or_else(|| DataError::MissingColumn {
            path: path.to_owned(),
            column: wanted,
            found: names.join(", "),
        })
    };
    let sentences = task.sentence_columns();
    Ok(Columns {
        sentence: required(sentences[0])?,
        pair: sentences.get(1).map(|name| required(name)).transpose()?,
        label: if labelled {
            Some(required(task.label_column())?)
        } else {
            None
        },
        count: names.len(),
    })
}

fn example(
    path: &Path,
    line: &str,
    number: u64,
    index: usize,
    columns: &Columns,
    task: GlueTask,
) -> Result<Option<GlueExample>, DataError> {
    let fields: Vec<&str> = line.split('\t').collect();
    if fields.len() != columns.count {
        if task == GlueTask::Qqp && columns.label.is_some() && fields.len() < columns.count {
            return Ok(None);
        }
        let found = format!("{}", fields.len());
        return Err(row_error(
            path,
            number,
            &format!("{} columns separated by tabs", columns.count),
            &found,
        ));
    }
    let label = match columns.label.map(|place| fields[place].trim()) {
        Some("-") if task == GlueTask::Mnli => return Ok(None),
        Some(text) => Some(label(path, number, text, task)?),
        None => None,
    };
    Ok(Some(GlueExample {
        sentence: fields[columns.sentence].to_owned(),
        pair: columns.pair.map(|place| fields[place].to_owned()),
        label,
        index,
    }))
}

fn label(path: &Path, number: u64, text: &str, task: GlueTask) -> Result<GlueLabel, DataError> {
    if task.is_regression() {
        let score = text.parse().ok().filter(|score| (0.0..=5.0).contains(score));
        return score
            .map(GlueLabel::Score)
            .ok_or_else(|| row_error(path, number, "a score from 0 to 5", &format!("`{text}`")));
    }
    let class = task.labels().iter().position(|label| *label == text);
    class.map(GlueLabel::Class).ok_or_else(|| {
        let expected = format!("one of the labels {}", task.labels().join(", "));
        row_error(path, number, &expected, &format!("`{text}`"))
    })
}

fn row_error(path: &Path, line: u64, expected: &str, found: &str) -> DataError {
    DataError::TaskRow {
        path: path.to_owned(),
        line,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    fn all_tasks() -> impl Strategy<Value = GlueTask> {
        select(GlueTask::ALL.to_vec())
    }

    /// Every field that a broken row is refused for is quoted, but never a whole file.
    fn is_told(found: Result<Rows, DataError>) -> bool {
        found.map_or_else(
            |error| error.to_string().len() < 2000,
            |rows| !rows.examples.is_empty(),
        )
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400), task in all_tasks(), labelled: bool,
        ) {
            prop_assert!(is_told(rows(Path::new("x.tsv"), &bytes, task, labelled)));
        }

        #[test]
        fn a_changed_or_cut_file_is_rows_or_an_error(
            task in all_tasks(), labelled: bool, at: Index, byte: u8, cut: Index,
        ) {
            let columns = [task.sentence_columns(), &[task.label_column()]].concat();
            let label = task.labels().first().unwrap_or(&"3.5");
            let row = if task.is_pair() { format!("A\tB\t{label}") } else { format!("A\t{label}") };
            let cola = "gj04\t1\t\tThe sailors rode.".to_owned();
            let lines = if task == GlueTask::Cola && labelled { [cola.clone(), cola] } else { [columns.join("\t"), row] };
            let mut bytes = lines.join("\n").into_bytes();
            prop_assert_eq!(rows(Path::new("x.tsv"), &bytes, task, labelled).is_ok(), task != GlueTask::Ax || !labelled || task.is_pair());
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(1 + cut.index(bytes.len()));
            prop_assert!(is_told(rows(Path::new("x.tsv"), &bytes, task, labelled)));
        }
    }
}
