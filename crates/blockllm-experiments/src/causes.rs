//! An error and its causes in one line, none told twice.
use anyhow::Error;
use std::io;

/// `error` and its causes, with a colon before each; a cause that what stands before it says already is left out, since many of
/// our errors quote theirs. Where there is no room, what to do stands at the end: no error says it by itself.
pub fn told(error: &Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
    }
    if is_without_room(error) {
        told.push_str("; free room there, and type the same line again");
    }
    told
}

/// Whether a disk without room is the cause.
fn is_without_room(error: &Error) -> bool {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        let refused = cause.downcast_ref::<io::Error>();
        refused.is_some_and(|refused| blockllm_data::is_without_room(refused.kind()))
    };
    error.chain().any(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportError;
    use blockllm_data::DataError;
    use blockllm_data::atomic_file::write_atomically;
    use blockllm_train::TrainError;
    use std::io::ErrorKind;
    use std::path::PathBuf;

    #[test]
    fn what_an_error_quotes_of_its_cause_is_not_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Error::new(write_atomically(&file.join("below"), b"").unwrap_err());
        let cause = error.root_cause().to_string();
        let told = told(&error.context("saving"));
        assert!(told.starts_with("saving: cannot "), "{told}");
        assert_eq!(told.matches(&cause).count(), 1, "{told}");
    }

    #[test]
    fn a_cause_that_is_not_quoted_is_told() {
        let error = Error::new(std::io::Error::from(ErrorKind::NotFound)).context("reading x");
        let cause = std::io::Error::from(ErrorKind::NotFound);
        assert_eq!(told(&error), format!("reading x: {cause}"));
    }

    #[test]
    fn a_full_disk_is_told_with_what_to_do_and_once() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        let path = PathBuf::from("x");
        let errors = [
            Error::new(full()).context("making x"),
            Error::new(DataError::Io {
                action: "write",
                path: path.clone(),
                source: full(),
            }),
            Error::new(TrainError::File {
                path: path.clone(),
                source: full(),
            }),
            Error::new(ReportError::Write { path, source: full() }),
        ];
        for error in errors {
            let told = told(&error);
            assert!(
                told.ends_with("; free room there, and type the same line again"),
                "{told}"
            );
            assert_eq!(told.matches("room").count(), 1, "{told}");
        }
    }
}
