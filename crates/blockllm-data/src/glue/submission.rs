//! The files that GLUE's site takes: `index` and `prediction`, one per task.
use super::{GlueLabel, GlueTask};
use crate::DataError;
use crate::atomic_file::write_atomically;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Writes the predictions for a test file, in its order, under the name that GLUE wants, and returns the path.
/// `mismatched` names the file of MNLI's second test.
///
/// Classes are written as GLUE's words, scores with three decimals and kept from 0 to 5.
///
/// # Errors
/// When a prediction is none of the task's: a class that it does not have, a score for classes or no number; and when the
/// file cannot be written.
pub fn write_submission(
    dir: &Path,
    task: GlueTask,
    mismatched: bool,
    predictions: &[GlueLabel],
) -> Result<PathBuf, DataError> {
    let mut text = String::from("index\tprediction\n");
    for (index, prediction) in predictions.iter().enumerate() {
        let word = word(task, *prediction).ok_or_else(|| DataError::Prediction {
            task: task.name(),
            row: index,
            expected: if task.is_regression() {
                "a score".to_owned()
            } else {
                format!("one of {} classes", task.num_labels())
            },
            found: format!("{prediction:?}"),
        })?;
        writeln!(text, "{index}\t{word}").expect("a string takes all that is written to it");
    }
    let path = dir.join(format!("{}.tsv", file_name(task, mismatched)));
    write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

/// A prediction as GLUE writes it.
fn word(task: GlueTask, prediction: GlueLabel) -> Option<String> {
    match prediction {
        GlueLabel::Class(class) => task.labels().get(class).map(|&word| word.to_owned()),
        GlueLabel::Score(score) if task.is_regression() && !score.is_nan() => {
            Some(format!("{:.3}", score.clamp(0.0, 5.0)))
        }
        GlueLabel::Score(_) => None,
    }
}

fn file_name(task: GlueTask, mismatched: bool) -> &'static str {
    match (task, mismatched) {
        (GlueTask::Mnli, false) => "MNLI-m",
        (GlueTask::Mnli, true) => "MNLI-mm",
        _ => task.name(),
    }
}
