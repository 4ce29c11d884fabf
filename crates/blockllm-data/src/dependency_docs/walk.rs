//! The files of a package that hold documentation, in the order of their paths.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// Larger files are generated tables.
const MAX_FILE_BYTES: u64 = 1 << 20;
const SKIPPED_FOLDERS: [&str; 6] = ["target", "tests", "benches", "fuzz", "node_modules", "vendor"];
const SKIPPED_FILES: [&str; 9] = [
    "license",
    "licence",
    "copying",
    "unlicense",
    "changelog",
    "changes",
    "history",
    "releases",
    "news",
];

/// Markdown and Rust files below `folder`, but no licences, change logs, tests, links or very large files.
pub(super) fn documentation_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    visit(folder, &mut files)?;
    files.sort();
    Ok(files)
}

fn visit(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        let entry = entry.map_err(DataError::io("list", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(DataError::io("read", &path))?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&&*name) {
            visit(&path, files)?;
        } else if kind.is_file() && is_documentation(&name) {
            let bytes = entry.metadata().map_err(DataError::io("read", &path))?.len();
            if bytes <= MAX_FILE_BYTES {
                files.push(path);
            }
        }
    }
    Ok(())
}

fn is_documentation(lower_case_name: &str) -> bool {
    match lower_case_name.rsplit_once('.') {
        Some((_, "rs")) => true,
        Some((stem, "md")) => !SKIPPED_FILES.iter().any(|skipped| stem.starts_with(skipped)),
        _ => false,
    }
}
