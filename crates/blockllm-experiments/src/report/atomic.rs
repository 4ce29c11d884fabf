//! Writes a file of a report whole or not at all, as all other files are written.

use std::path::Path;

use blockllm_data::{DataError, atomic_file};

use super::ReportError;

/// Writes `text` to `path`, making its folder when it is missing. A reader sees the old file or the new one, never half.
///
/// # Errors
///
/// [`ReportError::Write`] with the path when the folder or the file cannot be written.
pub fn write_atomically(path: &Path, text: &str) -> Result<(), ReportError> {
    atomic_file::write_atomically(path, text.as_bytes()).map_err(|error| ReportError::Write {
        path: path.to_path_buf(),
        source: match error {
            DataError::Io { source, .. } => source,
            other => std::io::Error::other(other),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_old_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/report.md");
        write_atomically(&path, "old").unwrap();
        write_atomically(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let report = file.join("report.md");
        let error = write_atomically(&report, "text").unwrap_err();
        assert!(
            error.to_string().contains(&report.display().to_string()),
            "{error}"
        );
    }
}
