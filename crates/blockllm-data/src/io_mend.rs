//! What to do where the operating system refuses a file or a folder.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// The files of a folder that are told, at most.
const TOLD: usize = 5;

/// Whether `kind` says that there is no room: a full disk, a quota that is used up, or a file that grew too large.
///
/// What to do about it is the same wherever it happens, and so is left to the program that tells the error.
pub fn is_without_room(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// What to do about `error` at `path`, as a sentence without its stop, behind the stop of the one before; nothing where there is
/// [no room](is_without_room).
pub(crate) fn mend(path: &Path, error: &Error) -> String {
    if is_without_room(error.kind()) {
        return String::new();
    }
    format!(". {}", sentence(path, error))
}

fn sentence(path: &Path, error: &Error) -> String {
    match error.kind() {
        ErrorKind::IsADirectory => format!("It is a folder, and a file is wanted{}", files_in(path)),
        _ => "Check that the path exists and that its permissions allow it".to_owned(),
    }
}

/// The first files of a folder, in words; nothing where there is none.
fn files_in(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > TOLD { ", .." } else { "" };
    names.truncate(TOLD);
    format!(": in it lie {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataError;

    #[test]
    fn a_folder_in_place_of_a_file_is_told_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let error = || mend(folder.path(), &Error::from(ErrorKind::IsADirectory));
        assert_eq!(error(), ". It is a folder, and a file is wanted");
        for name in ["b.json", "a.json", "c", "d", "e", "f"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(
            error().ends_with(": in it lie a.json, b.json, c, d, e, .."),
            "{}",
            error()
        );
        #[cfg(unix)]
        {
            let read = crate::bounded_file::bounded(folder.path(), 1 << 20);
            let read = read.unwrap_err().to_string();
            assert!(read.contains("a file is wanted: in it lie a.json"), "{read}");
        }
    }

    #[test]
    fn a_full_disk_has_no_mend_here_and_a_missing_file_one_whatever_its_name() {
        let told = |kind: ErrorKind, path: &str| {
            let error = DataError::io("write", path)(kind.into());
            error.to_string()
        };
        let full = std::io::Error::from(ErrorKind::StorageFull);
        assert_eq!(
            told(ErrorKind::StorageFull, "x"),
            format!("cannot write x: {full}")
        );
        for path in ["m/x.json", "m/tokenizer.json"] {
            assert!(told(ErrorKind::NotFound, path).contains("that its permissions allow it"));
        }
    }
}
