//! The one error type of this crate: every variant says where, what was expected, what was found, what to do.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong while describing, loading, saving or running a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused to read or write a file.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A JSON file does not parse.
    #[error("{} is not valid JSON of the expected kind: {message}; {mend}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        message: String,
        /// What to do.
        mend: String,
    },
    /// A field of a configuration has a value this crate cannot use.
    #[error("{origin}: `{field}` is {found}, expected {expected}; {mend}")]
    Config {
        /// The file, or the name of the value in memory.
        origin: String,
        /// The field.
        field: String,
        /// What the field may be.
        expected: String,
        /// What it is.
        found: String,
        /// What to do.
        mend: String,
    },
    /// No preset has this name.
    #[error("no model preset is named `{found}`; use one of {expected}")]
    UnknownPreset {
        /// The names there are.
        expected: String,
        /// The name asked for.
        found: String,
    },
    /// A file that the folder should hold is not there.
    #[error("{} is missing ({expected}); {mend}", path.display())]
    MissingFile {
        /// The missing file.
        path: PathBuf,
        /// Why it is expected.
        expected: String,
        /// What to do.
        mend: String,
    },
    /// A file of tensors could not be read or written.
    #[error(transparent)]
    Tensors(#[from] blockllm_tensors::TensorFileError),
    /// A tensor that the model needs is in none of the files.
    #[error("{} holds no tensor `{tensor}`; check that the configuration (config.json) belongs to these weights", path.display())]
    MissingTensor {
        /// The folder or file searched.
        path: PathBuf,
        /// The tensor's Hugging Face key.
        tensor: String,
    },
    /// The files hold tensors that the model has no place for.
    #[error("{} holds tensors that the model has no place for: {tensors}; check that the configuration (config.json) belongs to these weights", path.display())]
    UnexpectedTensor {
        /// The folder.
        path: PathBuf,
        /// Their keys, separated by commas.
        tensors: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}; check that the configuration (config.json) belongs to these weights", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's key.
        tensor: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// The folder has a head for another number of classes.
    #[error("{}: the head `{tensor}` tells {found} classes, the task has {expected}; name the checkpoint it was fine-tuned from, or a task of {found}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// The key of the head's matrix.
        tensor: String,
        /// Classes of the task.
        expected: usize,
        /// Classes in the file.
        found: usize,
    },
    /// A tokenizer file is damaged, or none.
    #[error("{} is no tokenizer of llama2.c: {found}; export it again, or name a tokenizer.json", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A sequence does not fit into the model's positions.
    #[error(
        "the sequence needs {found} positions, the model has {expected} (`max_position_embeddings`); shorten the prompt or `max_new_tokens`"
    )]
    TooLong {
        /// Positions there are.
        expected: usize,
        /// Positions asked for.
        found: usize,
    },
}

impl ModelError {
    /// An I/O error at `path` while doing `action`, for `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    /// A refused configuration value.
    pub(crate) fn config(
        origin: &str,
        field: &str,
        expected: impl Into<String>,
        found: impl Display,
        mend: impl Into<String>,
    ) -> Self {
        Self::Config {
            origin: origin.to_owned(),
            field: field.to_owned(),
            expected: expected.into(),
            found: found.to_string(),
            mend: mend.into(),
        }
    }
}
