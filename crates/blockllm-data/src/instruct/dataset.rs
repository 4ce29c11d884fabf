//! Instruction data read whole into memory: sources to train on, examples to validate and to test on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::default_set;
use super::example::Example;
use super::files::{DataFile, DataFiles};
use super::record;
use crate::dependency_docs::DependencyDocsConfig;
use crate::documents::HOLD_OUT_ONE_IN;
use crate::hashing::{sha256_hex, stable_hash};
use crate::reading::json_records::JsonRecords;
use crate::reading::{ReadingConfig, Skipped};
use crate::{DataError, FileRole};

/// An example and where it stands, for errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedExample {
    /// `line N`, `record N` or `example N`.
    pub place: String,
    /// What stands there.
    pub example: Example,
}

/// The examples of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct InstructSource {
    /// The file, or how the set is called.
    pub path: PathBuf,
    /// Its weight beside the others'.
    pub weight: Option<f64>,
    /// Its examples.
    pub examples: Vec<PlacedExample>,
}

/// Instruction data in three parts.
#[derive(Debug, Clone)]
pub struct InstructData {
    /// To train on: at least one source, each with at least one example.
    pub train: Vec<InstructSource>,
    /// To validate on.
    pub validation: Vec<InstructSource>,
    /// For a test; may be none.
    pub test: Vec<InstructSource>,
    /// How files were read.
    pub reading: ReadingConfig,
    /// What was left out while they were read.
    pub skipped: Skipped,
    /// Whether the validation examples are held out of the train files.
    pub holds_out: bool,
    /// The name for people.
    pub description: String,
}

impl InstructData {
    /// Reads `files`, or, where there are none, makes the embedded default as [`InstructData::embedded`] does.
    ///
    /// # Errors
    /// As [`InstructData::from_files`] and [`InstructData::embedded`].
    pub fn open(files: &[DataFile], workspace_dir: &Path, reading: ReadingConfig) -> Result<Self, DataError> {
        if files.is_empty() {
            return Self::embedded(workspace_dir, &DependencyDocsConfig::default());
        }
        Self::from_files(&DataFiles::sorted(files)?, reading)
    }

    /// Reads files whole. Where none is for validation, one train example in [`HOLD_OUT_ONE_IN`] is held out by its hash, and of
    /// few examples at least one.
    ///
    /// # Errors
    /// [`DataError::InstructRecord`] and others that name file and record where bad documents stop; what reading fails with;
    /// [`DataError::EmptySplit`] when they leave nothing to train on.
    pub fn from_files(files: &DataFiles, reading: ReadingConfig) -> Result<Self, DataError> {
        let mut skipped = Skipped::default();
        let mut read = |files: &[DataFile]| -> Result<Vec<InstructSource>, DataError> {
            let all = files.iter().map(|file| read_source(file, reading, &mut skipped));
            all.filter(|source| source.as_ref().map_or(true, |source| !source.examples.is_empty()))
                .collect()
        };
        let (train, validation, test) = (read(&files.train)?, read(&files.validation)?, read(&files.test)?);
        let count =
            |sources: &[InstructSource]| sources.iter().map(|source| source.examples.len()).sum::<usize>();
        let description = format!("{} instruction examples of {} files", count(&train), train.len());
        let mut data = Self {
            train,
            validation,
            test,
            reading,
            skipped,
            holds_out: files.validation.is_empty(),
            description,
        };
        data.hold_out();
        if data.train.is_empty() {
            return Err(data.empty(FileRole::Train, "Give files with more examples"));
        }
        Ok(data)
    }

    /// The embedded default: generated from the documentation of the dependencies that `workspace_dir`'s `Cargo.lock` pins. It
    /// is for trying out, and teaches nothing of worth.
    ///
    /// # Errors
    /// As [`dependency_docs::collect`](crate::dependency_docs::collect).
    pub fn embedded(workspace_dir: &Path, config: &DependencyDocsConfig) -> Result<Self, DataError> {
        let docs = crate::dependency_docs::collect(workspace_dir, config)?;
        let examples = default_set::examples(&docs);
        let placed = (1..)
            .zip(examples)
            .map(|(number, example): (u64, _)| PlacedExample {
                place: format!("example {number}"),
                example,
            });
        let mut data = Self {
            train: vec![InstructSource {
                path: PathBuf::from("embedded"),
                weight: None,
                examples: placed.collect(),
            }],
            validation: Vec::new(),
            test: Vec::new(),
            reading: ReadingConfig::default(),
            skipped: Skipped::default(),
            holds_out: true,
            description:
                "instructions generated from the documentation of the locked dependencies (embedded default)"
                    .to_owned(),
        };
        data.hold_out();
        if data.train.is_empty() {
            return Err(data.empty(FileRole::Train, "Give files of instruction data"));
        }
        Ok(data)
    }

    /// The sources of a part.
    pub fn part(&self, role: FileRole) -> &[InstructSource] {
        match role {
            FileRole::Train => &self.train,
            FileRole::Validation => &self.validation,
            FileRole::Test => &self.test,
        }
    }

    /// A hash of all train examples with their weights: another one when the data differ, wherever the files lie.
    pub fn identity(&self) -> String {
        let mut all = Vec::new();
        for source in &self.train {
            all.extend(format!("{:?} {}\n", source.weight, source.examples.len()).bytes());
            for placed in &source.examples {
                all.extend(hash(&placed.example).to_le_bytes());
            }
        }
        sha256_hex(&all)
    }

    pub(super) fn empty(&self, role: FileRole, mend: &'static str) -> DataError {
        DataError::EmptySplit {
            split: role.name(),
            corpus: self.description.clone(),
            mend,
        }
    }

    /// Moves the held-out part of each train source; equal examples stay together. Of few examples one is held out, whatever the
    /// hashes say.
    fn hold_out(&mut self) {
        if !self.holds_out {
            return;
        }
        let hashes = || {
            let examples = self.train.iter().flat_map(|source| &source.examples);
            examples.map(|placed| hash(&placed.example))
        };
        let is_one_sided = !hashes().any(is_drawn) || hashes().all(is_drawn);
        let lowest = if is_one_sided { hashes().min() } else { None };
        if lowest.is_some_and(|lowest| hashes().all(|hash| hash == lowest)) {
            // Equal examples are trained on.
            return;
        }
        for source in &mut self.train {
            let all = std::mem::take(&mut source.examples);
            let is_held_out = |placed: &PlacedExample| {
                let hash = hash(&placed.example);
                lowest.map_or_else(|| is_drawn(hash), |lowest| hash == lowest)
            };
            let (held_out, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_held_out);
            source.examples = kept;
            if !held_out.is_empty() {
                self.validation.push(InstructSource {
                    path: source.path.clone(),
                    weight: None,
                    examples: held_out,
                });
            }
        }
        self.train.retain(|source| !source.examples.is_empty());
    }
}

/// Whether an example of this hash is held out, of many.
fn is_drawn(hash: u64) -> bool {
    hash.is_multiple_of(HOLD_OUT_ONE_IN)
}

fn hash(example: &Example) -> u64 {
    stable_hash(&serde_json::to_vec(example).expect("the keys are strings"))
}

fn read_source(
    file: &DataFile,
    reading: ReadingConfig,
    skipped: &mut Skipped,
) -> Result<InstructSource, DataError> {
    let mut examples = Vec::new();
    for found in JsonRecords::new(&file.path, reading) {
        let example = found.and_then(|found| match record::example(&found.value) {
            Ok(example) => Ok(PlacedExample {
                place: found.place,
                example,
            }),
            Err(refusal) => Err(DataError::InstructRecord {
                path: file.path.clone(),
                place: found.place,
                expected: refusal.expected,
                found: refusal.found,
            }),
        });
        match example {
            Ok(example) => examples.push(example),
            Err(error) => reading.bad_documents.pass(error, skipped)?,
        }
    }
    Ok(InstructSource {
        path: file.path.clone(),
        weight: file.weight,
        examples,
    })
}
