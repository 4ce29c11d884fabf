//! Files of instruction data given by name, each with its weight, told apart into train, validation and test.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{DataError, FileRole};

/// A file and its weight in the mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// The file: `.json`, `.jsonl`, or these with `.gz`.
    pub path: PathBuf,
    /// Its share of the examples beside the other files' weights; without one, as many as it has.
    pub weight: Option<f64>,
}

impl DataFile {
    /// A file without a weight of its own.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            weight: None,
        }
    }

    fn role(&self) -> Result<FileRole, DataError> {
        let name = self
            .path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        match FileRole::named(name).as_slice() {
            [] => Ok(FileRole::Train),
            [role] => Ok(*role),
            several => Err(DataError::AmbiguousRole {
                path: self.path.clone(),
                found: several
                    .iter()
                    .map(|role| role.name())
                    .collect::<Vec<_>>()
                    .join(" and "),
            }),
        }
    }
}

impl FromStr for DataFile {
    type Err = String;

    /// `PATH` or `PATH=WEIGHT`, the weight a number above 0. What stands behind the last `=` and is no number is part of the
    /// path.
    fn from_str(text: &str) -> Result<Self, String> {
        let weighted = text
            .rsplit_once('=')
            .and_then(|(path, weight)| Some((path, weight.parse::<f64>().ok()?)));
        match weighted {
            _ if text.is_empty() => Err("a file needs a name".to_owned()),
            Some(("", _)) => Err(format!("`{text}` has no path before its weight")),
            Some((path, weight)) if is_weight(weight) => Ok(Self {
                path: path.into(),
                weight: Some(weight),
            }),
            Some((_, weight)) => Err(format!("the weight {weight} of `{text}` is not above 0")),
            None => Ok(Self::new(text)),
        }
    }
}

fn is_weight(weight: f64) -> bool {
    weight.is_finite() && weight > 0.0
}

/// Files by what they are for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataFiles {
    /// To train on: at least one.
    pub train: Vec<DataFile>,
    /// To validate on; with none, a part of the train examples is held out.
    pub validation: Vec<DataFile>,
    /// For a test.
    pub test: Vec<DataFile>,
}

impl DataFiles {
    /// Sorts files by the words of their names, as [`FileRole::named`] knows them; one without such a word is trained on.
    ///
    /// # Errors
    /// [`DataError::AmbiguousRole`] for a name with two such words; [`DataError::Config`] when there is no file to train on, a
    /// file is given twice, or a weight is not above 0 or of a file that is not trained on.
    pub fn sorted(files: &[DataFile]) -> Result<Self, DataError> {
        let refuse = |field, found: String, expected| {
            Err(DataError::Config {
                field,
                found,
                expected,
            })
        };
        let mut sorted = Self::default();
        for (at, file) in files.iter().enumerate() {
            if files[..at].iter().any(|other| is_same(&other.path, &file.path)) {
                return refuse(
                    "--data",
                    file.path.display().to_string(),
                    "every file once: give it a weight instead",
                );
            }
            if file.weight.is_some_and(|weight| !is_weight(weight)) {
                return refuse(
                    "weight",
                    format!("{:?} for {}", file.weight, file.path.display()),
                    "a number above 0",
                );
            }
            let role = file.role()?;
            if file.weight.is_some() && role != FileRole::Train {
                return refuse(
                    "weight",
                    format!("given for {}, which is for {}", file.path.display(), role.name()),
                    "weights of files to train on: every token of the others counts once",
                );
            }
            match role {
                FileRole::Train => sorted.train.push(file.clone()),
                FileRole::Validation => sorted.validation.push(file.clone()),
                FileRole::Test => sorted.test.push(file.clone()),
            }
        }
        if sorted.train.is_empty() {
            let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
            return refuse(
                "--data",
                format!("[{}]", names.join(", ")),
                "at least one file whose name does not say that it is for validation or test",
            );
        }
        Ok(sorted)
    }
}

/// Whether two paths lead to one file, however they are written.
fn is_same(one: &Path, other: &Path) -> bool {
    let found = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || found(one) == found(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> Result<DataFiles, DataError> {
        let files: Vec<DataFile> = names.iter().map(|name| name.parse().unwrap()).collect();
        DataFiles::sorted(&files)
    }

    #[test]
    fn names_tell_what_files_are_for_and_weights_are_read() {
        let files = sorted(&[
            "a/alpaca.json=0.5",
            "test/b-train.jsonl",
            "val.jsonl.gz",
            "x=y/b_TEST.json",
        ])
        .unwrap();
        let names = |files: &[DataFile]| {
            files
                .iter()
                .map(|file| file.path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&files.train), ["a/alpaca.json", "test/b-train.jsonl"]);
        assert_eq!((files.train[0].weight, files.train[1].weight), (Some(0.5), None));
        assert_eq!(
            (names(&files.validation), names(&files.test)),
            (
                vec!["val.jsonl.gz".to_owned()],
                vec!["x=y/b_TEST.json".to_owned()]
            )
        );
        for wrong in ["", "a=0", "a=-1", "=2", "a=inf", "a=nan"] {
            assert!(wrong.parse::<DataFile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_ambiguous_twice_or_not_to_train_on_is_refused_by_name() {
        let message = |names: &[&str]| sorted(names).unwrap_err().to_string();
        assert!(message(&["train-test.json"]).contains("train-test.json says both train and test"));
        assert!(message(&["a.json", "a.json"]).contains("every file once"));
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.json", "./a.json"].map(|name| folder.path().join(name).display().to_string());
        std::fs::write(&names[0], "").unwrap();
        assert!(message(&[&names[0], &names[1]]).contains("every file once"));
        assert!(message(&["dev.json", "test.json"]).contains("at least one file"));
        assert!(message(&["a.json", "dev.json=3"]).contains("dev.json, which is for validation"));
    }
}
