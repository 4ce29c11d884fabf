//! A corpus: where documents come from, and which of them are held out for validation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dependency_docs::{self, DependencyDocsConfig, PackageText};
pub use crate::documents::HOLD_OUT_ONE_IN;
use crate::documents::{Document, DocumentId, Documents, ReadPlace, Split, Texts};
use crate::hashing::{sha256_hex, stable_hash};
use crate::reading::ReadingConfig;
use crate::reading::shard_hashes::ShardHashes;
use crate::shards::ShardSet;
use crate::shuffle::{Purpose, epoch_rng, permutation};
use crate::{DataError, Tokenizer};

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
    train: Texts,
    /// `None`: a part of the train documents is held out.
    validation: Option<Texts>,
    shards: Option<Arc<ShardSet>>,
    hashes: Arc<ShardHashes>,
    packages: Arc<[PackageText]>,
    reading: ReadingConfig,
}

impl Corpus {
    /// C4 (or other JSON lines) when a folder or a file is given, else the documentation of the dependencies that
    /// `workspace_dir`'s `Cargo.lock` pins.
    ///
    /// # Errors
    /// [`DataError::NoShards`] when there is no shard; [`DataError::NoWorkspace`] and
    /// [`DataError::CargoMetadata`] when the dependencies cannot be named; [`DataError::Io`] when a file cannot be read.
    pub fn open(data: Option<&Path>, workspace_dir: &Path) -> Result<Self, DataError> {
        match data {
            Some(path) => Self::from_path(path),
            None => Self::from_dependency_docs(workspace_dir, &DependencyDocsConfig::default()),
        }
    }

    /// The shards that [`ShardSet::find`] finds in a folder, or the one that is given.
    ///
    /// # Errors
    /// As [`ShardSet::find`]; [`DataError::Io`] when a shard cannot be read.
    pub fn from_path(path: &Path) -> Result<Self, DataError> {
        let shards = ShardSet::find(path)?;
        let hashes = Arc::<ShardHashes>::default();
        let texts = |paths: &[_]| Texts::Shards(paths.into(), Arc::clone(&hashes));
        let validation = (!shards.validation.is_empty()).then(|| texts(&shards.validation));
        let mut description = shards.describe();
        if validation.is_none() {
            description.push_str(&held_out_words());
        }
        Ok(Self {
            kind: if shards.is_c4 {
                CorpusKind::C4
            } else {
                CorpusKind::JsonLines
            },
            description,
            identity: shards.identity(|path, found| hashes.found(path, found))?,
            train: texts(&shards.train),
            validation,
            shards: Some(Arc::new(shards)),
            hashes,
            packages: Arc::default(),
            reading: ReadingConfig::default(),
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
        let description = "documentation of the locked dependencies (embedded default)";
        let kind = CorpusKind::DependencyDocs;
        let mut corpus = Self::in_memory(kind, description, docs.documents, Vec::new());
        corpus.packages = docs.packages.into();
        Ok(corpus)
    }

    /// Documents that are in memory already. With no validation documents, a part of `train` is held out.
    pub fn from_documents(description: &str, train: Vec<String>, validation: Vec<String>) -> Self {
        Self::in_memory(CorpusKind::InMemory, description, train, validation)
    }

    fn in_memory(kind: CorpusKind, description: &str, train: Vec<String>, validation: Vec<String>) -> Self {
        let hashes: Vec<u8> = train
            .iter()
            .chain(&validation)
            .flat_map(|text| stable_hash(text.as_bytes()).to_be_bytes())
            .collect();
        Self {
            kind,
            description: description.to_owned(),
            identity: sha256_hex(&hashes),
            train: Texts::Memory(train.into()),
            validation: (!validation.is_empty()).then(|| Texts::Memory(validation.into())),
            shards: None,
            hashes: Arc::default(),
            packages: Arc::default(),
            reading: ReadingConfig::default(),
        }
    }

    /// The same corpus, read as `reading` says.
    #[must_use]
    pub fn with_reading(mut self, reading: ReadingConfig) -> Self {
        self.reading = reading;
        self
    }

    /// How it is read.
    pub fn reading(&self) -> ReadingConfig {
        self.reading
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

    /// A hash that tells this corpus from others without reading it all: of shards the names, sizes, beginnings and ends
    /// (where gzip keeps a checksum), wherever their folder lies; of documents in memory all texts.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The shards, where the corpus lies on disk.
    pub fn shards(&self) -> Option<&ShardSet> {
        self.shards.as_deref()
    }

    /// The hashes of the shards, as far as they have been read.
    pub fn hashes(&self) -> &Arc<ShardHashes> {
        &self.hashes
    }

    /// What each package gave to the embedded default corpus; empty for other corpora.
    pub fn packages(&self) -> &[PackageText] {
        &self.packages
    }

    /// Whether the validation documents are held out of the train documents.
    pub fn holds_out(&self) -> bool {
        self.validation.is_none()
    }

    /// Bytes of the train documents as they lie on disk or in memory.
    pub(crate) fn train_bytes(&self) -> u64 {
        match &self.train {
            Texts::Shards(paths, _) => {
                let sizes = paths.iter().filter_map(|path| path.metadata().ok());
                sizes.map(|metadata| metadata.len()).sum()
            }
            Texts::Memory(texts) => texts.iter().map(|text| text.len() as u64).sum(),
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

    /// The train documents of these places, each shard that has one read once.
    ///
    /// # Errors
    /// What reading fails with, and [`DataError::CursorPlace`] for a place that holds no document.
    pub(crate) fn documents_at(
        &self,
        ids: impl IntoIterator<Item = DocumentId>,
    ) -> Result<BTreeMap<DocumentId, Document>, DataError> {
        let mut wanted: Vec<DocumentId> = ids.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = BTreeMap::new();
        let mut documents = self.documents(Split::Train);
        for id in wanted {
            let place = ReadPlace {
                shard: u64::from(id.shard),
                document: id.index,
            };
            let document = documents.advance(place)?.then(|| documents.next()).flatten();
            match document.transpose()? {
                Some(document) if document.id == id => drop(found.insert(id, document)),
                _ => {
                    let place = format!("document {} of shard {}", id.index, id.shard);
                    return Err(self.no_such_place(place));
                }
            }
        }
        Ok(found)
    }

    /// The error that says that a cursor points to what this corpus does not have.
    pub(crate) fn no_such_place(&self, place: String) -> DataError {
        DataError::CursorPlace {
            place,
            corpus: self.description.clone(),
        }
    }

    fn in_shard_order(&self, split: Split, order: impl FnOnce(usize) -> Vec<usize>) -> Documents {
        let (texts, held_out) = match (split, &self.validation) {
            (Split::Validation, Some(own)) => (own, None),
            (Split::Train, Some(_)) => (&self.train, None),
            (_, None) => (&self.train, Some(split)),
        };
        Documents::new(texts.clone(), order(texts.shards()), held_out, self.reading)
    }
}

fn held_out_words() -> String {
    format!("; one document in {HOLD_OUT_ONE_IN} is held out by its hash")
}
