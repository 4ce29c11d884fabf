//! GLUE's own TSV files: tabs separate, nothing quotes, and some files have their oddities.
use super::{GlueExample, GlueLabel, GlueTask};
use crate::DataError;
use std::path::Path;

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
pub(super) fn read(path: &Path, task: GlueTask, labelled: bool) -> Result<Vec<GlueExample>, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
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
    let mut examples = Vec::new();
    for (index, (line, number)) in lines.filter(|(line, _)| !line.is_empty()).enumerate() {
        if let Some(example) = example(path, line, number, index, &columns, task)? {
            examples.push(example);
        }
    }
    if examples.is_empty() {
        return Err(DataError::EmptyTaskFile {
            path: path.to_owned(),
        });
    }
    Ok(examples)
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
