//! SHA-256 of the shards that were read: computed of the very bytes while they are read, remembered by path, size and
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::DataError;
use crate::atomic_file::write_atomically;
use crate::shards::ends_sha256;

/// What a file looks like from outside: while this is the same, its hash is taken to be the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Appearance {
    path: PathBuf,
    bytes: u64,
    modified_nanoseconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    #[serde(flatten)]
    file: Appearance,
    sha256: String,
}

/// The hashes of a corpus's shards, as far as they are known. Shared by all that read the corpus.
#[derive(Debug, Default)]
pub struct ShardHashes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hashes: BTreeMap<Appearance, String>,
    opened: BTreeSet<PathBuf>,
    /// Size and SHA-256 of the ends of the shards when the corpus was opened.
    found: BTreeMap<PathBuf, (u64, String)>,
}

/// How far hashing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashProgress {
    /// Bytes that were hashed.
    pub done_bytes: u64,
    /// Bytes that are to be hashed in all; what is remembered is not among them.
    pub total_bytes: u64,
}

impl ShardHashes {
    /// Takes up what [`ShardHashes::save`] wrote; without a file there is nothing to remember. A file that cannot be
    /// understood is left aside: it only saves time.
    ///
    /// # Errors
    /// [`DataError::Io`] when the file is there and cannot be read.
    pub fn remember(&self, path: &Path) -> Result<(), DataError> {
        let bytes = match fs::read(path) {
            Err(error) if is_missing(&error) => return Ok(()),
            bytes => bytes.map_err(DataError::io("read", path))?,
        };
        let remembered: Vec<Remembered> = serde_json::from_slice(&bytes).unwrap_or_default();
        let hashes = remembered.into_iter().map(|one| (one.file, one.sha256));
        self.known().hashes.extend(hashes);
        Ok(())
    }

    /// Writes all known hashes, for [`ShardHashes::remember`].
    ///
    /// # Errors
    /// [`DataError::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        let known = self.known().hashes.clone();
        let remembered: Vec<_> = known
            .into_iter()
            .map(|(file, sha256)| Remembered { file, sha256 })
            .collect();
        let json = serde_json::to_vec_pretty(&remembered).expect("the fields have only string keys");
        write_atomically(path, &json)
    }

    /// Notes what a shard is when its corpus is opened: by it the corpus is known, and the order of its batches fixed.
    pub(crate) fn found(&self, path: &Path, found: (u64, String)) {
        self.known().found.insert(path.to_path_buf(), found);
    }

    /// Refuses a shard that has become another one since its corpus was opened.
    fn check_found(&self, path: &Path) -> Result<(), DataError> {
        let Some(was) = self.known().found.get(path).cloned() else {
            return Ok(());
        };
        if ends_sha256(path)? == was {
            return Ok(());
        }
        Err(DataError::ChangedShard {
            path: path.to_path_buf(),
        })
    }

    /// The shards that have been opened for reading.
    pub fn opened(&self) -> BTreeSet<PathBuf> {
        self.known().opened.clone()
    }

    /// The hashes of `paths`, in their order; those that are not known are computed now. `progress` is told after every
    /// mebibyte or so.
    ///
    /// # Errors
    /// [`DataError::Io`] when a file cannot be read.
    pub fn of(
        self: &Arc<Self>,
        paths: &[PathBuf],
        progress: &mut dyn FnMut(HashProgress),
    ) -> Result<Vec<String>, DataError> {
        let files = paths
            .iter()
            .map(|path| appearance(path))
            .collect::<Result<Vec<_>, _>>()?;
        let unknown = files.iter().filter(|file| self.get(file).is_none());
        let mut told = HashProgress {
            done_bytes: 0,
            total_bytes: unknown.map(|file| file.bytes).sum(),
        };
        let mut buffer = vec![0; 1 << 20];
        files
            .iter()
            .zip(paths)
            .map(|(file, path)| {
                if let Some(hash) = self.get(file) {
                    return Ok(hash);
                }
                let mut opened = HashedFile::open(path, self)?;
                loop {
                    let read = opened.read(&mut buffer).map_err(DataError::io("read", path))?;
                    if read == 0 {
                        break;
                    }
                    told.done_bytes += read as u64;
                    progress(told);
                }
                opened.hash.ok_or_else(|| changed(path))
            })
            .collect()
    }

    fn get(&self, file: &Appearance) -> Option<String> {
        self.known().hashes.get(file).cloned()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is one insertion, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard that is hashed while it is read, if its hash is not known yet.
pub(crate) struct HashedFile {
    input: File,
    file: Appearance,
    hashes: Arc<ShardHashes>,
    hasher: Option<Sha256>,
    read: u64,
    hash: Option<String>,
}

impl HashedFile {
    /// Opens a shard.
    ///
    /// # Errors
    /// [`DataError::Io`] when it cannot be opened.
    pub fn open(path: &Path, hashes: &Arc<ShardHashes>) -> Result<Self, DataError> {
        let input = File::open(path).map_err(DataError::io("open", path))?;
        hashes.check_found(path)?;
        let file = appearance(path)?;
        hashes.known().opened.insert(path.to_path_buf());
        let hash = hashes.get(&file);
        Ok(Self {
            hasher: hash.is_none().then(Sha256::new),
            hash,
            input,
            file,
            hashes: Arc::clone(hashes),
            read: 0,
        })
    }
}

impl Read for HashedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..read]);
            self.read += read as u64;
        }
        // A file that was changed meanwhile has no hash.
        if read == 0
            && !out.is_empty()
            && self.read == self.file.bytes
            && let Some(hasher) = self.hasher.take()
        {
            let hash = hex::encode(hasher.finalize());
            self.hashes.known().hashes.insert(self.file.clone(), hash.clone());
            self.hash = Some(hash);
        }
        Ok(read)
    }
}

/// Nothing is there, nor could it be: a part of the path may be a file.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn appearance(path: &Path) -> Result<Appearance, DataError> {
    let canonical = path.canonicalize().map_err(DataError::io("open", path))?;
    let metadata = canonical.metadata().map_err(DataError::io("read", path))?;
    let modified = metadata.modified().map_err(DataError::io("read", path))?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Appearance {
        path: canonical,
        bytes: metadata.len(),
        modified_nanoseconds: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
    })
}

fn changed(path: &Path) -> DataError {
    DataError::Io {
        action: "hash",
        path: path.to_path_buf(),
        source: io::Error::other("it was changed while it was read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::sha256_hex;

    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = ["a", "b"].map(|name| folder.path().join(name)).into();
        for path in &paths {
            fs::write(path, path.file_name().unwrap().to_str().unwrap()).unwrap();
        }
        (folder, paths)
    }

    #[test]
    fn what_was_read_to_its_end_is_not_hashed_again() {
        let (_folder, paths) = folder();
        let hashes = Arc::new(ShardHashes::default());
        let mut read = String::new();
        let mut file = HashedFile::open(&paths[0], &hashes).unwrap();
        file.read_to_string(&mut read).unwrap();
        let mut told = Vec::new();
        let found = hashes.of(&paths, &mut |progress| told.push(progress)).unwrap();
        assert_eq!(found, [sha256_hex(b"a"), sha256_hex(b"b")]);
        let only_b = HashProgress {
            done_bytes: 1,
            total_bytes: 1,
        };
        assert_eq!(told, [only_b]);
    }

    #[test]
    fn hashes_are_remembered_over_processes_until_a_file_changes() {
        let (folder, paths) = folder();
        let memory = folder.path().join("hashes.json");
        let first = Arc::new(ShardHashes::default());
        first.of(&paths, &mut |_| {}).unwrap();
        first.save(&memory).unwrap();
        fs::write(&paths[1], "another").unwrap();
        let second = Arc::new(ShardHashes::default());
        second.remember(&memory).unwrap();
        let mut total = 0;
        let found = second
            .of(&paths, &mut |progress| total = progress.total_bytes)
            .unwrap();
        assert_eq!(found, [sha256_hex(b"a"), sha256_hex(b"another")]);
        assert_eq!(total, 7, "only the changed file is hashed");
    }

    #[test]
    fn a_memory_that_is_missing_or_broken_only_costs_time() {
        let (folder, paths) = folder();
        let hashes = Arc::new(ShardHashes::default());
        hashes.remember(&folder.path().join("missing")).unwrap();
        hashes.remember(&paths[0].join("below a file")).unwrap();
        hashes.remember(&paths[0]).unwrap();
        assert_eq!(hashes.of(&paths, &mut |_| {}).unwrap().len(), 2);
    }
}
