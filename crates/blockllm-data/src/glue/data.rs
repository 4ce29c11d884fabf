//! The splits of a task in a folder.
use super::example::Rows;
use super::{GlueExample, GlueTask, parquet_files, tsv};
use crate::DataError;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

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
    /// Rows of the training and validation files that everybody leaves out: without a gold label, or torn.
    pub left_out: usize,
    pub(super) tests: Tests,
}

/// Where the rows without labels are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tests {
    /// Below this folder, read when they are asked for.
    Folder(PathBuf),
    /// Here: the matched ones, and MNLI's mismatched.
    Rows([Vec<GlueExample>; 2]),
}

impl GlueData {
    /// Reads the task's files below `dir`: GLUE's own TSV files in a folder such as `MRPC`, or the hub's parquet files
    /// in one such as `mrpc`. Train and validation files must be there and hold rows; test files are read by
    /// [`test`](Self::test). The diagnostic set has a test alone, `diagnostic/diagnostic.tsv`.
    ///
    /// # Errors
    /// Names the file that is missing or empty, and for a broken row its line: a missing column, too few or too many
    /// of them, a label outside the task's set, bytes that are no UTF-8.
    pub fn open(dir: &Path, task: GlueTask) -> Result<Self, DataError> {
        let files = TaskFiles::find(dir, task).ok_or_else(|| DataError::NoTask {
            path: dir.to_owned(),
            task: task.name(),
        })?;
        let matched = if task == GlueTask::Mnli { "_matched" } else { "" };
        let has_train = task != GlueTask::Ax;
        let is_mnli = task == GlueTask::Mnli;
        let mut left_out = 0;
        let mut labelled = |wanted: bool, split: &str| {
            if !wanted {
                return Ok(Vec::new());
            }
            let rows = files.required(split, task)?;
            left_out += rows.left_out;
            Ok(rows.examples)
        };
        Ok(Self {
            task,
            train: labelled(has_train, "train")?,
            validation: labelled(has_train, &format!("validation{matched}"))?,
            validation_mismatched: labelled(is_mnli, "validation_mismatched")?,
            left_out,
            tests: Tests::Folder(dir.to_owned()),
        })
    }

    /// The rows without labels, in the order of their file; `mismatched` asks for those of MNLI's other genres. None where
    /// there is no such file.
    ///
    /// # Errors
    /// As [`open`](Self::open), for the test file.
    pub fn test(&self, mismatched: bool) -> Result<Vec<GlueExample>, DataError> {
        let task = self.task;
        let dir = match &self.tests {
            Tests::Rows(rows) => return Ok(rows[usize::from(mismatched)].clone()),
            Tests::Folder(dir) => dir,
        };
        let split = match (task, mismatched) {
            (GlueTask::Mnli, false) => "test_matched",
            (GlueTask::Mnli, true) => "test_mismatched",
            (_, false) => "test",
            (_, true) => return Ok(Vec::new()),
        };
        let files = TaskFiles::find(dir, task);
        files.map_or(Ok(Vec::new()), |files| files.unlabelled(split, task))
    }

    /// The SHA-256 of the training and validation rows, in hexadecimal. It takes its time: ask once.
    pub fn sha256(&self) -> String {
        let mut hasher = HashWriter(Sha256::new());
        let splits = [&self.train, &self.validation, &self.validation_mismatched];
        for (before, rows) in ["", "\n", "\n"].into_iter().zip(splits) {
            write!(hasher, "{before}{rows:?}").expect("a hasher takes all that is written to it");
        }
        hex::encode(hasher.0.finalize())
    }

    /// The tasks whose training and validation files are all below `dir`.
    pub fn available(dir: &Path) -> Vec<GlueTask> {
        let has_all = |task: &GlueTask| {
            let names: &[&str] = match task {
                GlueTask::Ax => return false,
                GlueTask::Mnli => &["train", "validation_matched", "validation_mismatched"],
                _ => &["train", "validation"],
            };
            TaskFiles::find(dir, *task).is_some_and(|files| names.iter().all(|split| files.has(split)))
        };
        GlueTask::ALL.into_iter().filter(has_all).collect()
    }
}

/// Hashes what is written to it.
struct HashWriter(Sha256);

impl fmt::Write for HashWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

/// The folder of a task, in either of the two layouts.
enum TaskFiles {
    Tsv(PathBuf),
    Parquet(PathBuf),
}

impl TaskFiles {
    fn find(dir: &Path, task: GlueTask) -> Option<Self> {
        let hub = dir.join(task.hub_name());
        let is_hub = ["train", "test"]
            .iter()
            .any(|split| !parquet_files::files(&hub, split).is_empty());
        if is_hub {
            return Some(Self::Parquet(hub));
        }
        let names: &[&str] = match task {
            // GLUE's own download has it beside the tasks, under this name.
            GlueTask::Ax => &["diagnostic", "AX"],
            _ => &[task.name()],
        };
        let mut folders = names.iter().map(|name| dir.join(name));
        folders.find(|folder| folder.is_dir()).map(Self::Tsv)
    }

    /// GLUE's own name of a split's file.
    fn tsv(folder: &Path, split: &str, task: GlueTask) -> PathBuf {
        let name = if task == GlueTask::Ax {
            "diagnostic".to_owned()
        } else {
            split.replace("validation", "dev")
        };
        folder.join(format!("{name}.tsv"))
    }

    fn has(&self, split: &str) -> bool {
        match self {
            Self::Tsv(folder) => Self::tsv(folder, split, GlueTask::Mnli).is_file(),
            Self::Parquet(folder) => !parquet_files::files(folder, split).is_empty(),
        }
    }

    fn required(&self, split: &str, task: GlueTask) -> Result<Rows, DataError> {
        match self {
            Self::Tsv(folder) => tsv::read(&Self::tsv(folder, split, task), task, true),
            Self::Parquet(folder) => match parquet_files::read(folder, split, task, true)? {
                examples if examples.is_empty() => Err(DataError::NoTask {
                    path: folder.clone(),
                    task: task.name(),
                }),
                examples => Ok(Rows {
                    examples,
                    left_out: 0,
                }),
            },
        }
    }

    /// Empty when there is no such file.
    fn unlabelled(&self, split: &str, task: GlueTask) -> Result<Vec<GlueExample>, DataError> {
        match self {
            Self::Tsv(folder) => {
                let path = Self::tsv(folder, split, task);
                if path.is_file() {
                    Ok(tsv::read(&path, task, false)?.examples)
                } else {
                    Ok(Vec::new())
                }
            }
            Self::Parquet(folder) => parquet_files::read(folder, split, task, false),
        }
    }
}
