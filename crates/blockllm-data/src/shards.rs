//! Finding the shards of C4, or of any JSON-lines text, in a local folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::DataError;
use crate::file_role::FileRole;

/// Where C4's shards may lie below the folder that was given: in it, in a download of the hub, or in a parent of one.
const C4_FOLDERS: [&str; 8] = [
    "",
    "en",
    "c4/en",
    "c4",
    "realnewslike",
    "en.noblocklist",
    "en.noclean",
    "multilingual",
];
const ENDINGS: [&str; 4] = [".json.gz", ".jsonl.gz", ".json", ".jsonl"];
/// Of other corpora `.json` is left alone: in such folders it is as often a description as a shard.
const PLAIN_ENDINGS: [&str; 3] = [".json.gz", ".jsonl.gz", ".jsonl"];
const EXPECTED: &str = "c4-train.*.json.gz (also .json, .jsonl, .jsonl.gz), mC4's c4-LANGUAGE.tfrecord-*, or any *.json.gz, \
                        *.jsonl or *.jsonl.gz whose name does not say that it is a test or validation file";
/// What is read of both ends of a shard to tell it from others.
const SAMPLE_BYTES: u64 = 4096;

/// The shards of a corpus, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSet {
    /// The folder that was given, or that of the file; manifests name files relative to it.
    pub root: PathBuf,
    /// Whether the names are C4's; otherwise the files are plain JSON lines.
    pub is_c4: bool,
    /// The shards to train on: at least one.
    pub train: Vec<PathBuf>,
    /// The shards to validate on; may be none.
    pub validation: Vec<PathBuf>,
    /// Test files, which are neither trained on nor measured on.
    pub left_out: Vec<PathBuf>,
}

impl ShardSet {
    /// Looks for C4's shards, or mC4's, in `root` and the usual folders below it; the first folder that has any wins.
    ///
    /// Where none has C4's, the `*.json.gz`, `*.jsonl` and `*.jsonl.gz` directly in `root` are taken. A word of the name
    /// tells what a file is for: `validation`, `valid`, `val`, `dev` or `eval` to validate on, `test` for nothing here,
    /// anything else, or `train`, to train on. A file in place of a folder is trained on, whatever its name says.
    ///
    /// # Errors
    /// [`DataError::NoShards`] when there is no train shard; [`DataError::Io`] when a folder cannot be listed.
    pub fn find(root: &Path) -> Result<Self, DataError> {
        if root.is_file() {
            return Self::of_file(root);
        }
        let folders: Vec<PathBuf> = C4_FOLDERS.iter().map(|below| root.join(below)).collect();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let shards = Self::sorted(root, true, with_ending(folder, &ENDINGS)?, c4_role);
            if !shards.train.is_empty() {
                return Ok(shards);
            }
        }
        let files = if root.is_dir() {
            with_ending(root, &PLAIN_ENDINGS)?
        } else {
            Vec::new()
        };
        let shards = Self::sorted(root, false, files, |name| Some(plain_role(name)));
        if shards.train.is_empty() {
            return Err(DataError::NoShards {
                path: root.to_path_buf(),
                expected: EXPECTED,
                looked_in: folders,
            });
        }
        Ok(shards)
    }

    /// The one shard `file`.
    fn of_file(file: &Path) -> Result<Self, DataError> {
        let name = file_name(file);
        if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            return Err(DataError::NoShards {
                path: file.to_path_buf(),
                expected: EXPECTED,
                looked_in: vec![file.to_path_buf()],
            });
        }
        Ok(Self {
            root: file.parent().unwrap_or(Path::new("")).to_path_buf(),
            is_c4: c4_role(name).is_some(),
            train: vec![file.to_path_buf()],
            validation: Vec::new(),
            left_out: Vec::new(),
        })
    }

    fn sorted(
        root: &Path,
        is_c4: bool,
        files: Vec<PathBuf>,
        role: impl Fn(&str) -> Option<FileRole>,
    ) -> Self {
        let mut shards = Self {
            root: root.to_path_buf(),
            is_c4,
            train: Vec::new(),
            validation: Vec::new(),
            left_out: Vec::new(),
        };
        for file in files {
            match role(file_name(&file)) {
                Some(FileRole::Train) => shards.train.push(file),
                Some(FileRole::Validation) => shards.validation.push(file),
                Some(FileRole::Test) => shards.left_out.push(file),
                None => {}
            }
        }
        shards
    }

    /// The name for people, such as `C4 (local, 2 train shards)`.
    pub fn describe(&self) -> String {
        let kind = if self.is_c4 { "C4" } else { "JSON lines" };
        let counted = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let mut parts = vec![counted(self.train.len(), "train shard")];
        if !self.is_c4 && !self.validation.is_empty() {
            parts.push(counted(self.validation.len(), "validation shard"));
        }
        if !self.left_out.is_empty() {
            parts.push(format!("{} left out", counted(self.left_out.len(), "test file")));
        }
        format!("{kind} (local, {})", parts.join(", "))
    }

    /// All shards that may be read, the train shards first.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.train.iter().chain(&self.validation)
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

    /// A hash over names, sizes, beginnings and ends of all shards: another one when the data differ, the same wherever
    /// their folder lies.
    ///
    /// `seen` is told the path, the size and the SHA-256 of the ends of every file.
    pub(crate) fn identity(&self, mut seen: impl FnMut(&Path, (u64, String))) -> Result<String, DataError> {
        let mut hasher = Sha256::new();
        for (role, shards) in [("train", &self.train), ("validation", &self.validation)] {
            for path in shards {
                let (bytes, ends) = ends_sha256(path)?;
                hasher.update(format!("{role} {} {bytes} {ends}\n", file_name(path)));
                seen(path, (bytes, ends));
            }
        }
        Ok(hex::encode(hasher.finalize()))
    }
}

/// The size of a file, and the SHA-256 of its first and last 4 KiB.
pub(crate) fn ends_sha256(path: &Path) -> Result<(u64, String), DataError> {
    let read = |out: &mut Vec<u8>| -> io::Result<u64> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        (&mut file).take(SAMPLE_BYTES).read_to_end(out)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(SAMPLE_BYTES)))?;
        file.take(SAMPLE_BYTES).read_to_end(out)?;
        Ok(bytes)
    };
    let mut ends = Vec::new();
    let bytes = read(&mut ends).map_err(DataError::io("read", path))?;
    Ok((bytes, hex::encode(Sha256::digest(&ends))))
}

fn with_ending(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::io("list", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(DataError::io("list", folder))?.path();
        let name = file_name(&path);
        if endings.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
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

/// `c4-train.00000-of-01024`, or mC4's `c4-de.tfrecord-00000-of-02048` and `c4-de-validation.tfrecord-..`.
fn c4_role(name: &str) -> Option<FileRole> {
    let rest = name.strip_prefix("c4-")?;
    let (stem, behind) = rest.split_once('.')?;
    match stem {
        "train" => Some(FileRole::Train),
        "validation" => Some(FileRole::Validation),
        _ if !behind.starts_with("tfrecord-") => None,
        _ if stem.ends_with("-validation") => Some(FileRole::Validation),
        _ => Some(FileRole::Train),
    }
}

/// A name that speaks of several roles is that of a train file first: such as `train-eval.jsonl`.
fn plain_role(name: &str) -> FileRole {
    FileRole::named(name).first().copied().unwrap_or(FileRole::Train)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, below: &str) {
        let path = root.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn found(names: &[&str]) -> (tempfile::TempDir, ShardSet) {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            touch(root.path(), name);
        }
        let shards = ShardSet::find(root.path()).unwrap();
        (root, shards)
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| file_name(path)).collect()
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
            assert_eq!(
                names(&shards.train),
                ["c4-train.00000-of-00002.json", "c4-train.00001-of-00002.json.gz"]
            );
            assert_eq!(shards.validation.len(), 1);
            assert_eq!(shards.describe(), "C4 (local, 2 train shards)");
            assert!(shards.relative(&shards.train[0]).starts_with(below));
        }
    }

    #[test]
    fn the_names_of_mc4_are_known() {
        let (_root, shards) = found(&[
            "multilingual/c4-de.tfrecord-00000-of-02048.json.gz",
            "multilingual/c4-zh-Latn.tfrecord-00000-of-00001.json.gz",
            "multilingual/c4-de-validation.tfrecord-00000-of-00016.json.gz",
        ]);
        assert!(shards.is_c4);
        assert_eq!((shards.train.len(), shards.validation.len()), (2, 1));
    }

    #[test]
    fn plain_json_lines_are_named_as_what_they_are() {
        let (_root, shards) = found(&["speeches.jsonl.gz"]);
        assert_eq!(shards.describe(), "JSON lines (local, 1 train shard)");
        let (_root, shards) = found(&["part-0.json.gz", "dataset_infos.json"]);
        assert_eq!(names(&shards.train), ["part-0.json.gz"]);
    }

    #[test]
    fn what_is_named_a_test_or_a_validation_file_is_not_trained_on() {
        let (_root, shards) = found(&[
            "train.jsonl",
            "news_test.jsonl",
            "books-Validation.jsonl.gz",
            "dev.json.gz",
            "contest.jsonl",
            "train-test-split.jsonl",
        ]);
        assert_eq!(
            names(&shards.train),
            ["contest.jsonl", "train-test-split.jsonl", "train.jsonl"]
        );
        assert_eq!(
            names(&shards.validation),
            ["books-Validation.jsonl.gz", "dev.json.gz"]
        );
        assert_eq!(names(&shards.left_out), ["news_test.jsonl"]);
        assert_eq!(
            shards.describe(),
            "JSON lines (local, 3 train shards, 2 validation shards, 1 test file left out)"
        );
    }

    #[test]
    fn a_file_is_trained_on_as_the_folder_that_holds_it_alone_would_be() {
        let (root, folder) = found(&["speeches.jsonl.gz"]);
        assert_eq!(ShardSet::find(&folder.train[0]).unwrap(), folder);
        touch(root.path(), "news_test.jsonl");
        let named = ShardSet::find(&root.path().join("news_test.jsonl")).unwrap();
        assert_eq!(
            (names(&named.train), named.left_out.len()),
            (vec!["news_test.jsonl"], 0)
        );
        touch(root.path(), "speeches.parquet");
        let other = root.path().join("speeches.parquet");
        let message = ShardSet::find(&other).unwrap_err().to_string();
        assert!(
            message.contains("speeches.parquet") && message.contains("*.jsonl.gz"),
            "{message}"
        );
    }

    #[test]
    fn the_same_data_in_another_folder_are_the_same_and_other_data_of_the_same_size_are_not() {
        let identity = |below: &str, text: &str| {
            let root = tempfile::tempdir().unwrap();
            touch(root.path(), &format!("{below}c4-train.0.json"));
            fs::write(root.path().join(format!("{below}c4-train.0.json")), text).unwrap();
            ShardSet::find(root.path()).unwrap().identity(|_, _| {}).unwrap()
        };
        let (one, other) = ("a".repeat(9000), "a".repeat(8999) + "b");
        assert_eq!(identity("c4/en/", &one), identity("", &one));
        assert_ne!(identity("", &one), identity("", &other));
    }

    #[test]
    fn a_folder_without_shards_says_what_was_looked_for_and_where() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "en/c4-validation.00000-of-00001.json.gz");
        touch(root.path(), "test.jsonl");
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
