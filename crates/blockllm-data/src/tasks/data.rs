//! The items of a task from its files, with the solved examples before them, as the requests that the harness makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::fault::TaskFault;
use super::files;
use super::forms::item;
use super::item::{Answer, TaskItem};
use super::task::EvalTask;
use crate::DataError;
use crate::reading::ReadingConfig;
use crate::reading::json_records::{JsonRecords, Record};
use crate::reading::parquet_rows::each_row;

/// Between a question and its answer.
const TARGET_DELIMITER: &str = " ";
/// Between an example and what comes next.
const FEW_SHOT_DELIMITER: &str = "\n\n";

/// Which items of a task, and what is shown before each.
#[derive(Debug, Clone)]
pub struct TaskSource<'a> {
    /// A file, or a folder with the split in the names of its files.
    pub data: &'a Path,
    /// The same for solved examples; without it those of the folder `data`.
    pub few_shot: Option<&'a Path>,
    /// Solved examples before every question; without it as many as the harness' task has: 5 for GSM8K, else none.
    pub shots: Option<usize>,
    /// The first so many items only, of every subject where there are several, as the harness counts them.
    pub limit: Option<usize>,
}

/// The items of a task.
#[derive(Debug, Clone)]
pub struct TaskData {
    /// The task.
    pub task: EvalTask,
    /// What is measured.
    pub items: Vec<TaskItem>,
    /// Where it was read.
    pub files: Vec<PathBuf>,
    /// Where the solved examples were read; nowhere, if there are none.
    pub few_shot_files: Vec<PathBuf>,
    /// Solved examples before every question.
    pub shots: usize,
    solved: Vec<TaskItem>,
    /// Whether the examples come from the very files that are measured, so that none may show its own answer.
    is_same: bool,
}

/// What a model is asked about an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRequest {
    /// What it reads.
    pub context: String,
    /// What may come next, each with its delimiter; empty where the answer is generated.
    pub continuations: Vec<String>,
}

impl TaskData {
    /// Reads the items of `task`.
    ///
    /// Solved examples are the first ones of their file, of the item's own subject where there are several. That is how the
    /// harness takes MMLU's; those of the other tasks it draws at random, so its scores with examples differ a little from these.
    ///
    /// # Errors
    /// [`DataError::Task`] that names file, item and field for what is not as the data set has it, or for examples that are not
    /// there; and what reading says.
    pub fn open(task: EvalTask, source: &TaskSource) -> Result<Self, DataError> {
        let files = files::measured(task, source.data).map_err(refused)?;
        let mut items = read(task, &files)?;
        if let Some(limit) = source.limit {
            items = first_of_each(items, limit);
        }
        let shots = source.shots.unwrap_or(task.default_shots());
        let (mut solved, mut few_shot_files) = (Vec::new(), Vec::new());
        if shots > 0 {
            few_shot_files = examples_of(task, source).map_err(refused)?;
            solved = read(task, &few_shot_files)?;
        }
        let data = Self {
            task,
            items,
            is_same: few_shot_files == files,
            files,
            few_shot_files,
            shots,
            solved,
        };
        data.check_shots(source).map_err(refused)?;
        Ok(data)
    }

    /// What the harness asks about item `index`: the description of the subject, the solved examples, the question.
    ///
    /// # Panics
    /// When there is no such item.
    pub fn request(&self, index: usize) -> TaskRequest {
        let item = &self.items[index];
        let mut context = item.description();
        for example in self.examples(item) {
            context.push_str(&example.text);
            context.push_str(TARGET_DELIMITER);
            context.push_str(example.answer_text());
            context.push_str(FEW_SHOT_DELIMITER);
        }
        context.push_str(&item.text);
        let continuations = match &item.answer {
            Answer::Choice { choices, .. } => choices.as_slice(),
            Answer::Text(_) => &[],
        };
        let continuations = continuations.iter();
        TaskRequest {
            context,
            continuations: continuations
                .map(|choice| format!("{TARGET_DELIMITER}{choice}"))
                .collect(),
        }
    }

    /// The first examples of the item's subject.
    fn examples<'a>(&'a self, item: &'a TaskItem) -> impl Iterator<Item = &'a TaskItem> {
        let fits = move |example: &&TaskItem| {
            example.subject == item.subject && !(self.is_same && example.asks_as(item))
        };
        self.solved.iter().filter(fits).take(self.shots)
    }

    /// That every item has its examples.
    fn check_shots(&self, source: &TaskSource) -> Result<(), TaskFault> {
        let mut seen = BTreeSet::new();
        for item in &self.items {
            // Items of one subject have the same examples, unless an item may be one itself.
            if !seen.insert(&item.subject) && !self.is_same {
                continue;
            }
            let found = self.examples(item).count();
            if found < self.shots {
                let subject = item.subject.as_ref();
                let subject = subject.map_or(String::new(), |subject| format!(" of the subject {subject}"));
                return Err(TaskFault::of_path(
                    source.few_shot.unwrap_or(source.data),
                    format!("{} solved examples{subject}", self.shots),
                    found.to_string(),
                    "Ask for fewer with --shots, or give a file with more by --few-shot",
                ));
            }
        }
        Ok(())
    }
}

/// A fault as this crate's error.
fn refused(fault: TaskFault) -> DataError {
    DataError::Task(Box::new(fault))
}

/// The files of solved examples.
fn examples_of(task: EvalTask, source: &TaskSource) -> Result<Vec<PathBuf>, TaskFault> {
    match source.few_shot {
        Some(path) => files::solved(task, path),
        None if source.data.is_dir() => files::solved(task, source.data),
        None => Err(TaskFault::of_path(
            source.data,
            format!("a file of solved examples beside it, since {task} is asked with some"),
            "none".to_owned(),
            "Name one by --few-shot, or ask for none by --shots 0",
        )),
    }
}

/// All items of files.
fn read(task: EvalTask, files: &[PathBuf]) -> Result<Vec<TaskItem>, DataError> {
    let mut items = Vec::new();
    for path in files {
        let before = items.len();
        let mut take = |record: Record| {
            items.push(item(task, path, &record).map_err(refused)?);
            Ok(())
        };
        if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
        {
            each_row(path, task.fields(), &mut take)?;
        } else {
            match JsonRecords::new(path, ReadingConfig::default()).try_for_each(|record| take(record?)) {
                // What is missing is told in the task's own words.
                Err(DataError::EmptyShard { .. }) => {}
                read => read?,
            }
        }
        if items.len() == before {
            return Err(refused(no_item(task, path)));
        }
    }
    Ok(items)
}

/// The fault of a file without an item.
fn no_item(task: EvalTask, path: &Path) -> TaskFault {
    let fields: Vec<String> = task
        .fields()
        .iter()
        .map(|field| format!("\"{field}\": .."))
        .collect();
    let expected = format!("items of {task}, such as {{{}}}", fields.join(", "));
    TaskFault::of_path(
        path,
        expected,
        "none".to_owned(),
        "Get the file again, or name another",
    )
}

/// The first `limit` items of every subject, in their order.
fn first_of_each(items: Vec<TaskItem>, limit: usize) -> Vec<TaskItem> {
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let mut is_in = |item: &TaskItem| {
        let count = counts.entry(item.subject.clone()).or_default();
        *count += 1;
        *count <= limit
    };
    items.into_iter().filter(|item| is_in(item)).collect()
}
