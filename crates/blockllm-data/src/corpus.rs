//! A corpus: where documents come from, and which of them are held out for validation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dependency_docs::{self, DependencyDocsConfig, PackageText};
use crate::documents::{Document, DocumentId, Documents, Split};
use crate::hashing::{sha256_hex, stable_hash};
use crate::shard_reader::ShardReader;
use crate::shards::ShardSet;
use crate::shuffle::{Purpose, epoch_rng, permutation};
use crate::{DataError, Tokenizer};

/// Where a corpus has no validation documents of its own, one document in this many is held out of training.
pub const HOLD_OUT_ONE_IN: u64 = 20;

/// What a corpus is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorpusKind {
    /// Shards of C4 in a local folder.
    C4,
    /// Other files of JSON lines in a local folder.
    JsonLines,
    /// The documentation of the workspace's locked dependencies: the embedded default.
    DependencyDocs,
    /// Documents that the program made.
    InMemory,
}

/// Documents in two splits. Cloning is cheap: the texts are shared, or on disk.
#[derive(Debug, Clone)]
pub struct Corpus {
    kind: CorpusKind,
    description: String,
    identity: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Shards(Arc<ShardSet>),
    Memory(Arc<MemorySource>),
}

#[derive(Debug)]
struct MemorySource {
    train: Vec<String>,
    validation: Vec<String>,
    packages: Vec<PackageText>,
}

impl Corpus {
    /// C4 (or other JSON lines) when a folder is given, else the documentation of the dependencies that
    /// `workspace_dir`'s `Cargo.lock` pins.
    ///
    /// # Errors
    /// [`DataError::NoShards`] when the folder has no shard; [`DataError::CargoMetadata`] when cargo cannot
    /// name the dependencies; [`DataError::Io`] when a file cannot be read.
    pub fn open(data_dir: Option<&Path>, workspace_dir: &Path) -> Result<Self, DataError> {
        match data_dir {
            Some(folder) => Self::from_folder(folder),
            None => Self::from_dependency_docs(workspace_dir, &DependencyDocsConfig::default()),
        }
    }

    /// The shards that [`ShardSet::find`] finds in a folder.
    ///
    /// # Errors
    /// As [`ShardSet::find`]; [`DataError::Io`] when a shard's size cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        let shards = ShardSet::find(folder)?;
        let mut sizes = Vec::new();
        for path in shards.train.iter().chain(&shards.validation) {
            let bytes = path.metadata().map_err(DataError::io("read", path))?.len();
            sizes.push(format!("{} {bytes}", shards.relative(path)));
        }
        Ok(Self {
            kind: if shards.is_c4 {
                CorpusKind::C4
            } else {
                CorpusKind::JsonLines
            },
            description: shards.describe(),
            identity: sha256_hex(sizes.join("\n").as_bytes()),
            source: Source::Shards(Arc::new(shards)),
        })
    }

    /// The embedded default corpus, with its limits.
    ///
    /// # Errors
    /// As [`dependency_docs::collect`].
    pub fn from_dependency_docs(
        workspace_dir: &Path,
        config: &DependencyDocsConfig,
    ) -> Result<Self, DataError> {
        let docs = dependency_docs::collect(workspace_dir, config)?;
        let memory = MemorySource {
            train: docs.documents,
            validation: Vec::new(),
            packages: docs.packages,
        };
        let description = "documentation of the locked dependencies (embedded default)";
        Ok(Self::in_memory(
            CorpusKind::DependencyDocs,
            description.to_owned(),
            memory,
        ))
    }

    /// Documents that are in memory already. With no validation documents, a part of `train` is held out.
    pub fn from_documents(description: &str, train: Vec<String>, validation: Vec<String>) -> Self {
        let memory = MemorySource {
            train,
            validation,
            packages: Vec::new(),
        };
        Self::in_memory(CorpusKind::InMemory, description.to_owned(), memory)
    }

    fn in_memory(kind: CorpusKind, description: String, memory: MemorySource) -> Self {
        let hashes: Vec<u8> = memory
            .train
            .iter()
            .chain(&memory.validation)
            .flat_map(|text| stable_hash(text.as_bytes()).to_be_bytes())
            .collect();
        let source = Source::Memory(Arc::new(memory));
        Self {
            kind,
            description,
            identity: sha256_hex(&hashes),
            source,
        }
    }

    /// What the corpus is made of.
    pub fn kind(&self) -> CorpusKind {
        self.kind
    }

    /// A short name for file names and tables: `c4`, `json-lines`, `dependency-docs` or `in-memory`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            CorpusKind::C4 => "c4",
            CorpusKind::JsonLines => "json-lines",
            CorpusKind::DependencyDocs => "dependency-docs",
            CorpusKind::InMemory => "in-memory",
        }
    }

    /// The name for people, such as `C4 (local, 2 train shards)`.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// A hash that tells this corpus from others without reading it all: shard names and sizes, or all texts
    /// in memory.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The shards, where the corpus lies on disk.
    pub fn shards(&self) -> Option<&ShardSet> {
        match &self.source {
            Source::Shards(shards) => Some(shards),
            Source::Memory(_) => None,
        }
    }

    /// What each package gave to the embedded default corpus; empty for other corpora.
    pub fn packages(&self) -> &[PackageText] {
        match &self.source {
            Source::Shards(_) => &[],
            Source::Memory(memory) => &memory.packages,
        }
    }

    /// Whether the validation documents are held out of the train documents.
    pub fn holds_out(&self) -> bool {
        match &self.source {
            Source::Shards(shards) => shards.validation.is_empty(),
            Source::Memory(memory) => memory.validation.is_empty(),
        }
    }

    /// The texts to train on, in their order on disk.
    pub fn train_documents(&self) -> impl Iterator<Item = Result<String, DataError>> + Send + use<> {
        self.documents(Split::Train)
            .map(|document| document.map(|document| document.text))
    }

    /// The texts to validate on, in their order on disk.
    pub fn validation_documents(&self) -> impl Iterator<Item = Result<String, DataError>> + Send + use<> {
        self.documents(Split::Validation)
            .map(|document| document.map(|document| document.text))
    }

    /// The documents of a split, in their order on disk.
    pub fn documents(&self, split: Split) -> Documents {
        self.in_shard_order(split, |shards| (0..shards).collect())
    }

    /// The train documents with the shards, but not the documents in them, in the order of (`seed`, `epoch`).
    pub fn epoch_documents(&self, seed: u64, epoch: u64) -> Documents {
        self.in_shard_order(Split::Train, |shards| {
            permutation(shards, epoch_rng(seed, epoch, Purpose::ShardOrder))
        })
    }

    /// A byte-level BPE tokenizer learned from the first `max_bytes` of the train documents.
    ///
    /// # Errors
    /// As [`Corpus::train_documents`] and [`Tokenizer::train_byte_level_bpe`].
    pub fn train_tokenizer(&self, vocab_size: usize, max_bytes: u64) -> Result<Tokenizer, DataError> {
        let mut failure = None;
        let mut bytes = 0;
        let mut documents = self.train_documents();
        let sample = std::iter::from_fn(|| match documents.next()? {
            Ok(text) if bytes < max_bytes => {
                bytes += text.len() as u64;
                Some(text)
            }
            Ok(_) => None,
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        let tokenizer = Tokenizer::train_byte_level_bpe(sample, vocab_size);
        failure.map_or(tokenizer, Err)
    }

    fn in_shard_order(&self, split: Split, order: impl FnOnce(usize) -> Vec<usize>) -> Documents {
        let held_out = self.holds_out().then_some(split);
        match &self.source {
            Source::Shards(shards) => {
                let own = if split == Split::Validation && held_out.is_none() {
                    &shards.validation
                } else {
                    &shards.train
                };
                let paths: Vec<(usize, PathBuf)> = order(own.len())
                    .into_iter()
                    .map(|shard| (shard, own[shard].clone()))
                    .collect();
                let documents = paths.into_iter().flat_map(|(shard, path)| {
                    ShardReader::new(path)
                        .enumerate()
                        .map(move |(index, text)| text.map(|text| document(shard, index, text)))
                });
                Box::new(documents.filter(move |document| keeps(held_out, document)))
            }
            Source::Memory(memory) => {
                let memory = Arc::clone(memory);
                let own_validation = split == Split::Validation && held_out.is_none();
                let mut index = 0;
                let documents = std::iter::from_fn(move || {
                    let texts = if own_validation {
                        &memory.validation
                    } else {
                        &memory.train
                    };
                    let text = texts.get(index)?.clone();
                    index += 1;
                    Some(Ok(document(0, index - 1, text)))
                });
                Box::new(documents.filter(move |document| keeps(held_out, document)))
            }
        }
    }
}

fn document(shard: usize, index: usize, text: String) -> Document {
    Document {
        id: DocumentId {
            shard: shard as u32,
            index: index as u32,
        },
        text,
    }
}

/// Where a split is cut out of the train documents, a text's hash says which side it is on; equal texts stay
/// together.
fn keeps(held_out: Option<Split>, document: &Result<Document, DataError>) -> bool {
    match (held_out, document) {
        (Some(split), Ok(document)) => {
            let validates = stable_hash(document.text.as_bytes()).is_multiple_of(HOLD_OUT_ONE_IN);
            validates == (split == Split::Validation)
        }
        _ => true,
    }
}
