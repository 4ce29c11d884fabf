//! An example, and the splits of a task in a folder.
use super::{GlueTask, tsv};
use crate::DataError;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GlueLabel {
    /// The index of a class in [`GlueTask::labels`].
    Class(usize),
    /// A score from 0 to 5.
    Score(f32),
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct GlueExample {
    /// The first sentence.
    pub sentence: String,
    /// The second, in tasks of pairs.
    pub pair: Option<String>,
    /// What is to be predicted; `None` in the test files.
    pub label: Option<GlueLabel>,
    /// The row's number in its file, from 0: what a submission calls `index`.
    pub index: usize,
}

/// The splits of a task. Those that GLUE has but the folder has not are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct GlueData {
    /// The task.
    pub task: GlueTask,
    /// To train on.
    pub train: Vec<GlueExample>,
    /// To judge by; MNLI's matched genres.
    pub validation: Vec<GlueExample>,
    /// MNLI's mismatched genres.
    pub validation_mismatched: Vec<GlueExample>,
    /// Without labels.
    pub test: Vec<GlueExample>,
    /// MNLI's mismatched genres, without labels.
    pub test_mismatched: Vec<GlueExample>,
}

impl GlueData {
    /// Reads the task's TSV files below `dir`, which holds a folder per task (`CoLA`, `MRPC`, ...). Train and
    /// validation files must be there and hold rows; test files may be missing. The diagnostic set has a test alone.
    ///
    /// # Errors
    /// Names the file that is missing or empty, and for a broken row its line: a missing column, too few or too many
    /// of them, a label outside the task's set, bytes that are no UTF-8.
    pub fn open(dir: &Path, task: GlueTask) -> Result<Self, DataError> {
        let folder = dir.join(task.name());
        if !folder.is_dir() {
            return Err(DataError::NoTask {
                path: dir.to_owned(),
                task: task.name(),
            });
        }
        let required = |name: &str| tsv::read(&folder.join(name), task, true);
        let optional = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                tsv::read(&path, task, false)
            } else {
                Ok(Vec::new())
            }
        };
        let mut data = Self {
            task,
            train: Vec::new(),
            validation: Vec::new(),
            validation_mismatched: Vec::new(),
            test: Vec::new(),
            test_mismatched: Vec::new(),
        };
        match task {
            GlueTask::Ax => data.test = tsv::read(&folder.join("diagnostic.tsv"), task, false)?,
            GlueTask::Mnli => {
                data.train = required("train.tsv")?;
                data.validation = required("dev_matched.tsv")?;
                data.validation_mismatched = required("dev_mismatched.tsv")?;
                data.test = optional("test_matched.tsv")?;
                data.test_mismatched = optional("test_mismatched.tsv")?;
            }
            _ => {
                data.train = required("train.tsv")?;
                data.validation = required("dev.tsv")?;
                data.test = optional("test.tsv")?;
            }
        }
        Ok(data)
    }

    /// The tasks whose training and validation files are all below `dir`.
    pub fn available(dir: &Path) -> Vec<GlueTask> {
        let has_all = |task: &GlueTask| {
            let names: &[&str] = match task {
                GlueTask::Ax => return false,
                GlueTask::Mnli => &["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"],
                _ => &["train.tsv", "dev.tsv"],
            };
            names
                .iter()
                .all(|name| dir.join(task.name()).join(name).is_file())
        };
        GlueTask::ALL.into_iter().filter(has_all).collect()
    }
}
