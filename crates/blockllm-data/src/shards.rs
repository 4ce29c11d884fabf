//! Finding the shards of C4, or of any JSON-lines text, in a local folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// Where C4's shards may lie below the folder that was given: in it, in a download of the hub, or in a parent
/// of one.
const C4_FOLDERS: [&str; 4] = ["", "en", "c4/en", "c4"];
const ENDINGS: [&str; 4] = [".json.gz", ".jsonl.gz", ".json", ".jsonl"];
const EXPECTED: &str = "c4-train.*.json.gz (also .json, .jsonl, .jsonl.gz), or any *.jsonl or *.jsonl.gz";

/// The shards of a corpus, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSet {
    /// The folder that was given; manifests name files relative to it.
    pub root: PathBuf,
    /// Whether the names are C4's; otherwise the files are plain JSON lines.
    pub is_c4: bool,
    /// The shards to train on: at least one.
    pub train: Vec<PathBuf>,
    /// The shards to validate on; may be none.
    pub validation: Vec<PathBuf>,
}

impl ShardSet {
    /// Looks for C4's shards in `root`, `root/en`, `root/c4/en` and `root/c4`; the first folder that has any
    /// wins.
    ///
    /// Where none has C4's, any `*.jsonl` or `*.jsonl.gz` directly in `root` are taken as train shards.
    ///
    /// # Errors
    /// [`DataError::NoShards`] when there is no train shard; [`DataError::Io`] when a folder cannot be
    /// listed.
    pub fn find(root: &Path) -> Result<Self, DataError> {
        let folders: Vec<PathBuf> = C4_FOLDERS.iter().map(|below| root.join(below)).collect();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let names = sorted_files(folder)?;
            let train = with_prefix(&names, "c4-train.");
            if !train.is_empty() {
                let validation = with_prefix(&names, "c4-validation.");
                return Ok(Self {
                    root: root.to_path_buf(),
                    is_c4: true,
                    train,
                    validation,
                });
            }
        }
        let train = if root.is_dir() {
            json_lines(&sorted_files(root)?)
        } else {
            Vec::new()
        };
        if train.is_empty() {
            let path = root.to_path_buf();
            return Err(DataError::NoShards {
                path,
                expected: EXPECTED,
                looked_in: folders,
            });
        }
        Ok(Self {
            root: root.to_path_buf(),
            is_c4: false,
            train,
            validation: Vec::new(),
        })
    }

    /// The name for people, such as `C4 (local, 2 train shards)`.
    pub fn describe(&self) -> String {
        let kind = if self.is_c4 { "C4" } else { "JSON lines" };
        let count = self.train.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("{kind} (local, {count} train shard{plural})")
    }

    /// A shard's path relative to the root, with `/` on every platform.
    pub fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = below
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        parts.join("/")
    }
}

fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::io("list", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(DataError::io("list", folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn with_prefix(files: &[PathBuf], prefix: &str) -> Vec<PathBuf> {
    let matches = |path: &&PathBuf| {
        let name = file_name(path);
        name.starts_with(prefix) && ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    files.iter().filter(matches).cloned().collect()
}

fn json_lines(files: &[PathBuf]) -> Vec<PathBuf> {
    let ends = |path: &&PathBuf| {
        [".jsonl", ".jsonl.gz"]
            .iter()
            .any(|ending| file_name(path).ends_with(ending))
    };
    files.iter().filter(ends).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, below: &str) {
        let path = root.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn c4_is_found_in_the_folder_itself_and_in_every_usual_folder_below_in_the_order_of_names() {
        for below in C4_FOLDERS {
            let root = tempfile::tempdir().unwrap();
            for name in [
                "c4-train.00001-of-00002.json.gz",
                "c4-train.00000-of-00002.json",
                "c4-validation.0.jsonl",
                "x.txt",
            ] {
                touch(root.path(), format!("{below}/{name}").trim_start_matches('/'));
            }
            let shards = ShardSet::find(root.path()).unwrap();
            let names: Vec<&str> = shards.train.iter().map(|path| file_name(path)).collect();
            assert_eq!(
                names,
                ["c4-train.00000-of-00002.json", "c4-train.00001-of-00002.json.gz"]
            );
            assert_eq!(shards.validation.len(), 1);
            assert_eq!(shards.describe(), "C4 (local, 2 train shards)");
            assert!(shards.relative(&shards.train[0]).starts_with(below));
        }
    }

    #[test]
    fn plain_json_lines_are_named_as_what_they_are() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "speeches.jsonl.gz");
        let shards = ShardSet::find(root.path()).unwrap();
        assert_eq!(shards.describe(), "JSON lines (local, 1 train shard)");
    }

    #[test]
    fn a_folder_without_shards_says_what_was_looked_for_and_where() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "en/c4-validation.00000-of-00001.json.gz");
        for folder in [root.path().to_path_buf(), root.path().join("missing")] {
            let message = ShardSet::find(&folder).unwrap_err().to_string();
            assert!(message.contains("c4-train.*.json.gz"), "{message}");
            assert!(
                message.contains(&folder.join("c4/en").display().to_string()),
                "{message}"
            );
        }
    }
}
