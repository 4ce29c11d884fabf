//! What to do where the operating system refuses a file or a folder.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// The files of a folder that are told, at most.
const TOLD: usize = 5;

/// What to do about `error` at `path`, as a sentence without its stop.
pub(crate) fn mend(path: &Path, error: &Error) -> String {
    match error.kind() {
        ErrorKind::IsADirectory => format!("It is a folder, and a file is wanted{}", files_in(path)),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "Free room there, and type the same line again".to_owned()
        }
        ErrorKind::NotFound if path.ends_with("tokenizer.json") => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).display();
            format!(
                "Check that the path exists; name another file by --tokenizer FILE, or let transformers write it: \
                 AutoTokenizer.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\")"
            )
        }
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
        assert_eq!(error(), "It is a folder, and a file is wanted");
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
    fn a_full_disk_and_a_missing_tokenizer_have_mends_of_their_own() {
        let told = |kind: ErrorKind, path: &str| {
            let error = DataError::io("write", path)(kind.into());
            error.to_string()
        };
        assert!(told(ErrorKind::StorageFull, "x").contains("Free room there"));
        let missing = told(ErrorKind::NotFound, "m/tokenizer.json");
        assert!(
            missing.contains("--tokenizer FILE") && missing.contains("from_pretrained(\"m\")"),
            "{missing}"
        );
        assert!(told(ErrorKind::NotFound, "m/x.json").contains("that its permissions allow it"));
    }
}
