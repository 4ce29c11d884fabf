//! The embedded default corpus: the English documentation of the workspace's own locked dependencies.
//!
//! It needs no download, since cargo has fetched the sources already, and `Cargo.lock` pins every byte of it.

mod metadata;
mod prose;
mod rust_docs;
mod walk;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::DataError;
use crate::hashing::stable_hash;
use metadata::Package;

/// How much is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DependencyDocsConfig {
    /// Prose of all packages together, in bytes.
    pub max_bytes: u64,
    /// Prose of one package, in bytes, so that none of the large generated ones is most of the corpus.
    pub max_package_bytes: u64,
    /// Prose of one document, in bytes; shorter ones are left out.
    pub min_document_bytes: usize,
}

impl Default for DependencyDocsConfig {
    fn default() -> Self {
        Self {
            max_bytes: 12_000_000,
            max_package_bytes: 400_000,
            min_document_bytes: 200,
        }
    }
}

/// The prose of the dependencies.
#[derive(Debug, Clone, Default)]
pub struct DependencyDocs {
    /// One document for each source or Markdown file, its paragraphs set apart by blank lines.
    pub documents: Vec<String>,
    /// What each package gave, in the order of the documents.
    pub packages: Vec<PackageText>,
}

/// What one package gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageText {
    /// The package's name.
    pub name: String,
    /// Its locked version.
    pub version: String,
    /// Its documents.
    pub documents: u64,
    /// Their prose, in bytes.
    pub bytes: u64,
    /// SHA-256 of their prose, in hexadecimal.
    pub sha256: String,
}

/// Collects the prose of the packages that `workspace_dir`'s `Cargo.lock` pins.
///
/// Packages come in the order of a hash of name and version: a fixed order in which a cap does not favour the
/// beginning of the alphabet. A paragraph is kept only where it is met first.
///
/// # Errors
/// [`DataError::CargoMetadata`] when cargo cannot list the packages; [`DataError::Io`] when a source cannot
/// be read.
pub fn collect(workspace_dir: &Path, config: &DependencyDocsConfig) -> Result<DependencyDocs, DataError> {
    let mut packages = metadata::locked_packages(workspace_dir)?;
    packages.sort_by_cached_key(|package| stable_hash(package.key().as_bytes()));
    let mut docs = DependencyDocs::default();
    let mut seen = HashSet::new();
    let mut left = config.max_bytes;
    for package in packages {
        let limit = left.min(config.max_package_bytes);
        let documents = package_documents(&package, config.min_document_bytes, limit, &mut seen)?;
        if documents.is_empty() {
            continue;
        }
        let text = describe(package, &documents);
        left = left.saturating_sub(text.bytes);
        docs.packages.push(text);
        docs.documents.extend(documents);
        if left == 0 {
            break;
        }
    }
    Ok(docs)
}

fn describe(package: Package, documents: &[String]) -> PackageText {
    let mut hasher = Sha256::new();
    for document in documents {
        hasher.update(document);
    }
    PackageText {
        name: package.name,
        version: package.version,
        documents: documents.len() as u64,
        bytes: documents.iter().map(|document| document.len() as u64).sum(),
        sha256: hex::encode(hasher.finalize()),
    }
}

/// Documents until `max_bytes` are reached, the last of which may go beyond.
fn package_documents(
    package: &Package,
    min_document_bytes: usize,
    max_bytes: u64,
    seen: &mut HashSet<u64>,
) -> Result<Vec<String>, DataError> {
    let mut documents = Vec::new();
    let mut bytes = 0;
    for path in walk::documentation_files(package.folder())? {
        if bytes >= max_bytes {
            break;
        }
        let Some(document) = file_document(&path, seen)? else {
            continue;
        };
        if document.len() >= min_document_bytes {
            bytes += document.len() as u64;
            documents.push(document);
        }
    }
    Ok(documents)
}

/// The new paragraphs of a file, or `None` where it is not text.
fn file_document(path: &Path, seen: &mut HashSet<u64>) -> Result<Option<String>, DataError> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let markdown = if is_rust {
        rust_docs::doc_comments(&text)
    } else {
        text
    };
    let paragraphs = prose::paragraphs(&markdown);
    let new: Vec<String> = paragraphs
        .into_iter()
        .filter(|paragraph| seen.insert(stable_hash(paragraph.as_bytes())))
        .collect();
    Ok(Some(new.join("\n\n")))
}
