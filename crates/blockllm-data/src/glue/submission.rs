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
/// When the file cannot be written.
pub fn write_submission(
    dir: &Path,
    task: GlueTask,
    mismatched: bool,
    predictions: &[GlueLabel],
) -> Result<PathBuf, DataError> {
    let mut text = String::from("index\tprediction\n");
    for (index, prediction) in predictions.iter().enumerate() {
        let word = match prediction {
            GlueLabel::Class(class) => (*task.labels().get(*class).unwrap_or(&"")).to_owned(),
            GlueLabel::Score(score) => format!("{:.3}", score.clamp(0.0, 5.0)),
        };
        writeln!(text, "{index}\t{word}").expect("a string takes all that is written to it");
    }
    let path = dir.join(format!("{}.tsv", file_name(task, mismatched)));
    write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

fn file_name(task: GlueTask, mismatched: bool) -> &'static str {
    match (task, mismatched) {
        (GlueTask::Mnli, false) => "MNLI-m",
        (GlueTask::Mnli, true) => "MNLI-mm",
        _ => task.name(),
    }
}
