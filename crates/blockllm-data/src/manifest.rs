//! A record of the exact data of a run: files, hashes, counts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::documents::Split;
use crate::shards::ends_sha256;
use crate::{Corpus, CorpusKind, DataError, HashProgress, Tokenizer};

/// Pins the data of a run: two runs of one config, seed and manifest see the same batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataManifest {
    /// What the corpus is made of.
    pub kind: CorpusKind,
    /// The name for people, as [`Corpus::describe`].
    pub description: String,
    /// The shards, or the packages of the embedded default, in the order in which they are read.
    pub files: Vec<FileEntry>,
    /// How the validation documents are told from the train documents.
    pub validation: ValidationSplit,
    /// The train documents, where they were counted.
    pub train: Option<SplitCount>,
    /// The validation documents, where they were counted.
    pub validation_count: Option<SplitCount>,
    /// [`Corpus::identity`].
    pub corpus_identity: String,
    /// [`Tokenizer::sha256`].
    pub tokenizer_sha256: String,
    /// [`Tokenizer::vocab_size`].
    pub tokenizer_vocab_size: usize,
}

/// One shard, or what one package gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the data folder, with `/`; for a package `name-version`.
    pub path: String,
    /// Size of the file, or of the package's prose, in bytes.
    pub bytes: u64,
    /// SHA-256 of its first and last 4 KiB, in hexadecimal; of gzip files the last bytes hold a checksum of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_sha256: Option<String>,
    /// SHA-256 of the whole, in hexadecimal: of a package always, of a shard once it was read
    /// ([`DataManifest::hashed`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How a corpus is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationSplit {
    /// Validation documents of its own.
    Own,
    /// One train document in [`crate::HOLD_OUT_ONE_IN`] is held out by its text's hash.
    HeldOutByHash,
}

/// The size of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCount {
    /// Its documents.
    pub documents: u64,
    /// Their tokens, without an end-of-document token.
    pub tokens: u64,
}

impl DataManifest {
    /// Names the files and looks at their ends, 8 KiB each; hashes and counts nothing, since C4 has 330 GB. The same data
    /// give the same manifest, whatever was read of them.
    ///
    /// # Errors
    /// [`DataError::Io`] when a shard cannot be read.
    pub fn of(corpus: &Corpus, tokenizer: &Tokenizer) -> Result<Self, DataError> {
        let validation = if corpus.holds_out() {
            ValidationSplit::HeldOutByHash
        } else {
            ValidationSplit::Own
        };
        Ok(Self {
            kind: corpus.kind(),
            description: corpus.describe().to_owned(),
            files: files(corpus)?,
            validation,
            train: None,
            validation_count: None,
            corpus_identity: corpus.identity().to_owned(),
            tokenizer_sha256: tokenizer.sha256().to_owned(),
            tokenizer_vocab_size: tokenizer.vocab_size(),
        })
    }

    /// The same with the hashes of all shards that this process has read. Most were taken of the bytes while they were read;
    /// the rest of a shard that was not read to its end is read now, and `progress` is told.
    ///
    /// `memory` is a file in which hashes are kept for other runs by path, size and time of the shards; it may be missing.
    ///
    /// # Errors
    /// [`DataError::Io`] when a shard or `memory` cannot be read, or `memory` not be written.
    pub fn hashed(
        mut self,
        corpus: &Corpus,
        memory: Option<&Path>,
        progress: &mut dyn FnMut(HashProgress),
    ) -> Result<Self, DataError> {
        let Some(shards) = corpus.shards() else {
            return Ok(self);
        };
        let hashes = corpus.hashes();
        if let Some(memory) = memory {
            hashes.remember(memory)?;
        }
        let read: Vec<_> = hashes.opened().into_iter().collect();
        let found = hashes.of(&read, progress)?;
        for (path, hash) in read.iter().zip(found) {
            let name = shards.relative(path);
            let entries = self.files.iter_mut().filter(|file| file.path == name);
            entries.for_each(|file| file.sha256 = Some(hash.clone()));
        }
        if let Some(memory) = memory {
            hashes.save(memory)?;
        }
        Ok(self)
    }

    /// The same with documents and tokens counted, by reading and tokenizing all of the corpus: for small
    /// corpora.
    ///
    /// # Errors
    /// What reading or tokenizing fails with.
    pub fn counted(mut self, corpus: &Corpus, tokenizer: &Tokenizer) -> Result<Self, DataError> {
        self.train = Some(count(corpus, tokenizer, Split::Train)?);
        self.validation_count = Some(count(corpus, tokenizer, Split::Validation)?);
        Ok(self)
    }
}

fn files(corpus: &Corpus) -> Result<Vec<FileEntry>, DataError> {
    let Some(shards) = corpus.shards() else {
        let entry = |package: &crate::dependency_docs::PackageText| FileEntry {
            path: format!("{}-{}", package.name, package.version),
            bytes: package.bytes,
            ends_sha256: None,
            sha256: Some(package.sha256.clone()),
        };
        return Ok(corpus.packages().iter().map(entry).collect());
    };
    let entry = |path| {
        let (bytes, ends) = ends_sha256(path)?;
        Ok(FileEntry {
            path: shards.relative(path),
            bytes,
            ends_sha256: Some(ends),
            sha256: None,
        })
    };
    shards.all().map(|path| entry(path)).collect()
}

fn count(corpus: &Corpus, tokenizer: &Tokenizer, split: Split) -> Result<SplitCount, DataError> {
    let mut total = SplitCount {
        documents: 0,
        tokens: 0,
    };
    for document in corpus.documents(split) {
        total.documents += 1;
        total.tokens += tokenizer.encode(&document?.text)?.len() as u64;
    }
    Ok(total)
}
