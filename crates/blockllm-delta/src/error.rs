//! What can go wrong with a delta: every variant says where, what was expected, what was found, what to do.

use blockllm_tensors::TensorFileError;
use std::io;
use std::path::{Path, PathBuf};

/// An error of a delta or of the folders that it stands between.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The operating system refused to read or write.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A safetensors file could not be read.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// A folder is not that of a model.
    #[error("{} is not a whole model: {found}; name a folder with model.safetensors, or with its index and all shards", path.display())]
    Folder {
        /// The folder, or the file in it that is at fault.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// A safetensors file is no delta.
    #[error("{} is not a delta: {found}; `delta diff` makes one, and `--save delta` of a run", path.display())]
    NotDelta {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// What is to be a delta is a folder.
    #[error("{} is a folder, and a delta is one file: {mend}", path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
        /// Which file to name.
        mend: String,
    },
    /// A delta is of another version.
    #[error("{} is a delta of version {found}, this program reads version {expected}; {mend}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What is read here.
        expected: &'static str,
        /// What the file says.
        found: String,
        /// What to do.
        mend: &'static str,
    },
    /// A delta contradicts itself, or is not what its hashes say.
    #[error("{} is damaged: `{place}` {found}; fetch the delta again, or make it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The entry of the file.
        place: String,
        /// What is wrong with it.
        found: String,
    },
    /// Two models, or a model and a delta, do not have the same tensors.
    #[error("{} and {} do not have the same tensors: {found}; a delta is for models of one architecture, saved with the same names", base.display(), other.display())]
    OtherTensors {
        /// The base.
        base: PathBuf,
        /// The tuned model or the delta.
        other: PathBuf,
        /// Which are missing and which are more.
        found: String,
    },
    /// A tensor has two shapes.
    #[error("tensor `{tensor}` has shape {base_shape:?} in {} and {other_shape:?} in {}; a delta is for models of one size", base.display(), other.display())]
    Shape {
        /// The tensor.
        tensor: String,
        /// The base.
        base: Box<Path>,
        /// Its shape there.
        base_shape: Vec<usize>,
        /// The tuned model or the delta.
        other: Box<Path>,
        /// Its shape there.
        other_shape: Vec<usize>,
    },
    /// A tensor has two number formats, and one is not made from the other.
    #[error("tensor `{tensor}` is {expected} in {} and {found} in {}; only F32, F16 and BF16 are made from each other: save both in one format", base.display(), other.display())]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The base, or the first delta.
        base: Box<Path>,
        /// Its format there.
        expected: String,
        /// The tuned model, or another delta.
        other: Box<Path>,
        /// Its format there.
        found: String,
    },
    /// A tensor is of a number format that cannot be multiplied by a weight.
    #[error("{}: tensor `{tensor}` is {found}, which takes no weight but 1; only F64, F32, F16 and BF16 do", delta.display())]
    NoArithmetic {
        /// The delta.
        delta: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its format.
        found: String,
    },
    /// A delta was made against another base.
    #[error("{} was made against a model whose tensors have the SHA-256 {expected}; {} has {found}: {mend}", delta.display(), base.display())]
    WrongBase {
        /// The delta.
        delta: Box<Path>,
        /// The folder that was named.
        base: Box<Path>,
        /// The hash in the delta.
        expected: String,
        /// The folder's hash.
        found: String,
        /// What to do.
        mend: String,
    },
    /// Deltas do not follow on each other as they were named.
    #[error("{} does not go on from {}; {mend}", delta.display(), before.display())]
    WrongOrder {
        /// The delta that does not fit.
        delta: PathBuf,
        /// The delta or the base before it.
        before: PathBuf,
        /// What to do.
        mend: String,
    },
    /// The result is not what it was when the delta was made.
    #[error("with {} the tensors have the SHA-256 {found}, where it promises {expected}: the delta is damaged; fetch it again, or make it again", delta.display())]
    WrongResult {
        /// The delta.
        delta: PathBuf,
        /// The hash in the delta.
        expected: String,
        /// The hash of what was written.
        found: String,
    },
    /// Deltas that are to be stacked change the same entries.
    #[error(
        "the deltas change the same entries: {found}; `--allow-overlap` adds their changes up, or leave one of them out"
    )]
    Overlap {
        /// Tensors with the number of entries that several change.
        found: String,
    },
    /// A weight is not a number.
    #[error("{} has the weight {weight}; a weight is a finite number such as 1 or 0.5", delta.display())]
    Weight {
        /// The delta.
        delta: PathBuf,
        /// Its weight.
        weight: f64,
    },
    /// No delta was named.
    #[error("no delta was named; name at least one file that `delta diff` has made")]
    NoDelta,
    /// What would be written is there already.
    #[error("{} is there already, and nothing is written over; name another place, or move it away", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A model changed while it was read.
    #[error("{} changed while it was read: {found}; wait until nothing writes there, and start again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        found: String,
    },
}

impl DeltaError {
    /// An I/O error at `path` while doing `action`, for `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    /// A delta at `path` whose entry `place` is wrong.
    pub(crate) fn damaged(path: &Path, place: &str, found: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            place: place.to_owned(),
            found: found.into(),
        }
    }
}
