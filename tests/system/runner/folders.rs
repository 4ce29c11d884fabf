//! Where a call of the runner has put its runs and reports.
use std::fs;
use std::path::{Path, PathBuf};

/// All folders of the run called `name` (method and seed) in `parent`, in the order of their names.
pub fn runs_in(parent: &Path, name: &str) -> Vec<PathBuf> {
    let is_of_it = |folder: &str| {
        let hash = folder.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        hash.is_some_and(|hash| {
            hash.len() >= 8 && hash.is_char_boundary(8) && hash[..8].chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| is_of_it(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// The only folder of a run.
pub fn run_in(parent: &Path, name: &str) -> PathBuf {
    let mut folders = runs_in(parent, name);
    assert_eq!(folders.len(), 1, "{name} in {}: {folders:?}", parent.display());
    folders.remove(0)
}

/// The folders of all reports of an experiment.
pub fn reports_in(out: &Path, experiment: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(out.join(experiment)).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("report-"))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// The only report of an experiment.
pub fn report_in(out: &Path, experiment: &str) -> PathBuf {
    let mut folders = reports_in(out, experiment);
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}
