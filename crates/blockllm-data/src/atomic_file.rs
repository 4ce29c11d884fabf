//! Writing a file so that a reader sees the old content or the new, never a part, also after the power failed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::DataError;

/// Writes `bytes` to a temporary name beside `path`, syncs it, renames it and syncs the folder; missing folders are made.
///
/// # Errors
/// [`DataError::Io`] when the folder cannot be made or the file cannot be written, synced or renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(DataError::io("make the folder", folder))?;
    }
    let temporary = temporary_name(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new(""))))
        .map_err(|source| {
            // The half-written file is of no use to anybody; the error that matters is the first one.
            fs::remove_file(&temporary).ok();
            DataError::Io {
                action: "write",
                path: path.to_path_buf(),
                source,
            }
        })
}

/// Makes a rename in `folder` outlast a power failure. Only Unix can; a file system that cannot is no error.
///
/// # Errors
/// When the folder cannot be opened or synced.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, Unsupported};
    let here = Path::new(".");
    let folder = if folder.as_os_str().is_empty() {
        here
    } else {
        folder
    };
    match File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Elsewhere folders cannot be opened.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Beside the target, since a rename is atomic only within one file system.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_no_temporary_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.json");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_can_be_synced_by_every_path_to_it_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        sync_folder(folder.path()).unwrap();
        sync_folder(Path::new("")).unwrap();
        assert!(sync_folder(&folder.path().join("missing")).is_err());
    }
}
