//! The hub's cache on this machine, laid out as Python's `huggingface_hub` does.
use crate::listing::is_plain;
use crate::{HubError, Repository};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder with a folder for each repository.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The one in `dir`, which need not be there yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `HF_HUB_CACHE`, else `hub` below `HF_HOME`, below `XDG_CACHE_HOME/huggingface`, below `~/.cache/huggingface`.
    ///
    /// # Errors
    /// When none of these and no HOME is set.
    pub fn from_env() -> Result<Self, HubError> {
        let of = |name: &str| {
            let value = std::env::var_os(name)?;
            (!value.is_empty()).then(|| PathBuf::from(value))
        };
        of("HF_HUB_CACHE")
            .or_else(|| Some(of("HF_HOME")?.join("hub")))
            .or_else(|| Some(of("XDG_CACHE_HOME")?.join("huggingface/hub")))
            .or_else(|| Some(of("HOME")?.join(".cache/huggingface/hub")))
            .map(Self::new)
            .ok_or(HubError::NoCache)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The snapshot of a model that its `main` points to, else any other; one that lacks its configuration or weights, as a
    /// download that broke off leaves it, is none.
    pub fn snapshot(&self, repository: &Repository) -> Option<PathBuf> {
        self.newest(repository, is_whole)
    }

    /// The same where the configuration is enough.
    pub fn described(&self, repository: &Repository) -> Option<PathBuf> {
        self.newest(repository, |folder| folder.join("config.json").is_file())
    }

    /// The snapshot that `main` points to, else any other, of those for which `is_it`.
    fn newest(&self, repository: &Repository, is_it: fn(&Path) -> bool) -> Option<PathBuf> {
        let folder = self.dir.join(repository.folder());
        let snapshots = folder.join("snapshots");
        let main = fs::read_to_string(folder.join("refs/main")).ok();
        let named = main
            .map(|commit| snapshots.join(commit.trim()))
            .filter(|folder| is_it(folder));
        named.or_else(|| {
            let mut folders: Vec<PathBuf> = fs::read_dir(&snapshots)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|folder| is_it(folder))
                .collect();
            folders.sort();
            folders.pop()
        })
    }

    /// The folder of a repository, to write into.
    pub(crate) fn folder(&self, repository: &Repository) -> Result<Folder, HubError> {
        let folder = Folder {
            path: self.dir.join(repository.folder()),
            locks: self.dir.join(".locks").join(repository.folder()),
        };
        for path in [&folder.path.join("blobs"), &folder.locks] {
            fs::create_dir_all(path).map_err(HubError::io(path, "create"))?;
        }
        Ok(folder)
    }
}

/// Whether a snapshot has its configuration and all of its weights.
fn is_whole(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has("config.json") && (has("model.safetensors") || has_shards(folder).unwrap_or(false))
}

/// Whether every shard of the index is there; nothing without an index.
fn has_shards(folder: &Path) -> Option<bool> {
    let index = fs::read_to_string(folder.join("model.safetensors.index.json")).ok()?;
    let index: serde_json::Value = serde_json::from_str(&index).ok()?;
    let mut files = index["weight_map"].as_object()?.values();
    Some(files.all(|file| {
        file.as_str()
            .is_some_and(|file| is_plain(file) && folder.join(file).is_file())
    }))
}

/// Links made by this process.
static LINKS: AtomicU64 = AtomicU64::new(0);

/// The folder of one repository.
pub(crate) struct Folder {
    path: PathBuf,
    locks: PathBuf,
}

/// A file that is coming, which no other process writes while this lives.
pub(crate) struct Part {
    pub path: PathBuf,
    pub file: File,
    pub _lock: File,
}

impl Folder {
    /// The content with this hash.
    pub fn blob(&self, hash: &str) -> PathBuf {
        self.path.join("blobs").join(hash)
    }

    /// What has come of it, opened to go on. Waits while another process, ours or Python's, is at it.
    pub fn part(&self, hash: &str) -> Result<Part, HubError> {
        // The lock is never removed: whoever waits for it must find the same file.
        let lock_path = self.locks.join(format!("{hash}.lock"));
        let lock = File::create(&lock_path).map_err(HubError::io(&lock_path, "write"))?;
        lock.lock().map_err(HubError::io(&lock_path, "lock"))?;
        let path = self.path.join("blobs").join(format!("{hash}.incomplete"));
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(HubError::io(&path, "write"))?;
        Ok(Part {
            path,
            file,
            _lock: lock,
        })
    }

    /// Makes `file` of `commit` the content with this hash; the folder that it is in.
    pub fn link(&self, commit: &str, file: &str, hash: &str) -> Result<PathBuf, HubError> {
        let folder = self.path.join("snapshots").join(commit);
        fs::create_dir_all(&folder).map_err(HubError::io(&folder, "create"))?;
        let path = folder.join(file);
        // Under a name of its own first, so that nobody finds it missing.
        let (process, link_number) = (std::process::id(), LINKS.fetch_add(1, Ordering::Relaxed));
        let own = folder.join(format!(".{file}.{process}.{link_number}"));
        let _ = fs::remove_file(&own);
        link(Path::new("../../blobs"), hash, &self.blob(hash), &own).map_err(HubError::io(&path, "link"))?;
        fs::rename(&own, &path).map_err(HubError::io(&path, "link"))?;
        Ok(folder)
    }

    /// Makes `main` point to `commit`.
    pub fn point_to(&self, commit: &str) -> Result<(), HubError> {
        let refs = self.path.join("refs");
        fs::create_dir_all(&refs).map_err(HubError::io(&refs, "create"))?;
        let main = refs.join("main");
        fs::write(&main, commit).map_err(HubError::io(&main, "write"))
    }
}

/// A relative link, so that the cache can be moved.
#[cfg(unix)]
fn link(blobs: &Path, hash: &str, _: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(blobs.join(hash), path)
}

/// The content a second time: links need a privilege there.
#[cfg(not(unix))]
fn link(_: &Path, _: &str, blob: &Path, path: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(drop))
}
