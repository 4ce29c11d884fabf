//! Where a task's files are: the one that is named, or those of a split in a folder.

use std::path::{Path, PathBuf};

use super::fault::TaskFault;
use super::task::EvalTask;

const MEND: &str = "Name the file itself, or give a folder as the hub has it";
/// Names of files that are read.
const ENDINGS: [&str; 5] = [".parquet", ".jsonl", ".json", ".jsonl.gz", ".json.gz"];

/// The files to measure on: `path` itself, or those of the harness' split below it.
pub(super) fn measured(task: EvalTask, path: &Path) -> Result<Vec<PathBuf>, TaskFault> {
    of_split(task, path, task.splits())
}

/// The files of solved examples.
pub(super) fn solved(task: EvalTask, path: &Path) -> Result<Vec<PathBuf>, TaskFault> {
    of_split(task, path, task.shot_splits())
}

/// The files of the first of `splits` that a folder has; the folder that the hub has for the task is looked into as well.
fn of_split(task: EvalTask, path: &Path, splits: &[&str]) -> Result<Vec<PathBuf>, TaskFault> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let inner = task.folders().iter().map(|name| path.join(name));
    let folders: Vec<PathBuf> = [path.to_owned()].into_iter().chain(inner).collect();
    for split in splits {
        for folder in &folders {
            let mut found = files(folder);
            found.retain(|file| words(file).any(|word| word == *split));
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    let there: Vec<String> = folders
        .iter()
        .flat_map(|folder| files(folder))
        .map(|file| name(&file))
        .collect();
    let found = match there.as_slice() {
        [] if path.is_dir() => "no file of JSON or parquet".to_owned(),
        [] => "no such file or folder".to_owned(),
        names => names.join(", "),
    };
    let endings = ENDINGS.join(", ");
    let expected = format!(
        "files of {task} with the word {} in their names ({endings})",
        splits.join(" or ")
    );
    Err(TaskFault::of_path(path, expected, found, MEND))
}

/// The files of a folder that may be read, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_data = |path: &PathBuf| {
        let name = name(path).to_lowercase();
        path.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_data)
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What stands between signs in a file's name.
fn words(path: &Path) -> impl Iterator<Item = String> + use<> {
    let words: Vec<String> = name(path)
        .to_lowercase()
        .split(|sign: char| !sign.is_alphanumeric())
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_split_is_taken_from_a_folder_or_from_the_hub_s_folder_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let hub = folder.path().join("ARC-Easy");
        std::fs::create_dir(&hub).unwrap();
        for name in [
            "test-00001-of-00002.parquet",
            "test-00000-of-00002.parquet",
            "train.jsonl",
            "latest.json",
        ] {
            std::fs::write(hub.join(name), "").unwrap();
        }
        let names = |found: Result<Vec<PathBuf>, TaskFault>| -> Vec<String> {
            found.unwrap().iter().map(|path| name(path)).collect()
        };
        let expected = ["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"];
        assert_eq!(names(measured(EvalTask::ArcEasy, folder.path())), expected);
        assert_eq!(names(measured(EvalTask::ArcEasy, &hub)), expected);
        assert_eq!(names(solved(EvalTask::ArcEasy, &hub)), ["train.jsonl"]);
        let error = measured(EvalTask::HellaSwag, &hub).unwrap_err().to_string();
        assert!(
            error.contains("validation or val") && error.contains("latest.json"),
            "{error}"
        );
        let error = measured(EvalTask::Mmlu, Path::new("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("nowhere: expected files of mmlu") && error.contains("no such"),
            "{error}"
        );
    }
}
