//! A delta: a safetensors file of what changed, and of how the result lies in its files.

use crate::dtype::of_values;
use crate::folder::{INDEX, is_file_name};
use crate::meter::Meter;
use crate::model::{Model, Tensor};
use crate::positions::Encoding;
use crate::seal::{Seal, hash_in};
use crate::{DeltaError, bytes::Bytes};
use blockllm_tensors::Header;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// What `format` says.
pub(crate) const FORMAT: &str = "blockllm-delta";

/// What `version` says.
pub(crate) const VERSION: &str = "2";

/// Carried headers above this size are taken for damage, as those of files are.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The name of the entry of `kind` that is about `name`.
pub(crate) fn entry(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// An opened delta, whose header and carried files have been checked; values and positions are before they are used.
///
/// | entry | what it is |
/// |---|---|
/// | `values/T` | `[k]` in the format of tensor `T` of the result: the changed entries, as bits |
/// | `gaps/T` or `bitmap/T` | `[bytes]` of U8: which entries those are ([`Encoding`]); neither where all have changed |
/// | `header/FILE` | U8: the JSON header of a file of weights of the result, so that the result has its very bytes |
/// | `file/NAME` | U8: a file beside the weights that the result has and the base has not, or has otherwise |
///
/// Metadata: `format` (`blockllm-delta`), `version` (`2`), `base_sha256` and `result_sha256` (of the tensors, however they lie
/// in files), and for people `changed_entries` and `entries`. Formats, shapes and counts of tensors are those of the entries
/// and headers: they are not told a second time, where they might differ.
///
/// Every bit of the file is covered: `sha256/ENTRY` is the SHA-256 of an entry's bytes, and `header_sha256` that of the header's
/// JSON, spaces behind it included, in which its own 64 digits are zeros.
#[derive(Debug)]
pub struct DeltaFile {
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) file_bytes: u64,
    pub(crate) base_sha256: String,
    pub(crate) result_sha256: String,
    /// The result: its files and tensors.
    pub(crate) result: Model,
    /// What has changed, by tensors.
    pub(crate) changes: BTreeMap<String, Change>,
    /// Files beside the weights.
    pub(crate) files: BTreeMap<String, Tensor>,
    seal: Seal,
}

/// Where the changes of a tensor lie.
#[derive(Debug)]
pub(crate) struct Change {
    /// Changed entries.
    pub changed: u64,
    pub encoding: Encoding,
    pub values: Tensor,
    /// None where all entries have changed.
    pub positions: Option<Tensor>,
}

impl DeltaFile {
    /// Opens the delta at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no delta, is of another version, its header contradicts itself, or header or carried files are
    /// not what their hashes say.
    pub fn open(path: &Path) -> Result<Self, DeltaError> {
        if path.is_dir() {
            return Err(is_folder(path));
        }
        let header = Header::read(path)?;
        let empty = HashMap::new();
        let notes = header.metadata().metadata().as_ref().unwrap_or(&empty);
        let note = |key: &str| notes.get(key).map(String::as_str);
        if note("format") != Some(FORMAT) {
            return Err(DeltaError::NotDelta {
                path: path.to_path_buf(),
                found: format!(
                    "its metadata say the format is `{}`",
                    note("format").unwrap_or("none")
                ),
            });
        }
        if note("version") != Some(VERSION) {
            return Err(DeltaError::Version {
                path: path.to_path_buf(),
                expected: VERSION,
                found: note("version").unwrap_or("none").to_owned(),
                mend: mend_of_version(note("version")),
            });
        }
        let seal = Seal::of(path, &header)?;
        let base_sha256 = hash_in(path, notes, "base_sha256")?;
        let result_sha256 = hash_in(path, notes, "result_sha256")?;
        let entries = Entries::sorted(path, &header)?;
        let result = entries.result(path, &seal)?;
        for (name, file) in &entries.files {
            seal.check_entry(&entry("file", name), file, |_| ())?;
        }
        let changes = entries.changes(path, &result)?;
        Ok(Self {
            path: path.to_path_buf(),
            file_bytes: header.data_start() + header.metadata().data_len() as u64,
            base_sha256,
            result_sha256,
            result,
            changes,
            files: entries.files,
            seal,
        })
    }

    /// Bytes of values and positions.
    pub(crate) fn number_bytes(&self) -> u64 {
        let entries = self.changes.values();
        let bytes = entries.map(|change| {
            let positions = change.positions.as_ref();
            positions.map_or(0, |positions| positions.bytes) + change.values.bytes
        });
        bytes.sum()
    }

    /// Reads values and positions, and checks them against their hashes.
    pub(crate) fn check_numbers(&self, meter: &mut Meter<'_>) -> Result<(), DeltaError> {
        let mut check = |kind: &str, name: &str, tensor: &Tensor| {
            let told = |bytes| meter.advance(bytes);
            self.seal.check_entry(&entry(kind, name), tensor, told)
        };
        for (name, change) in &self.changes {
            check("values", name, &change.values)?;
            if let Some(positions) = &change.positions {
                check(change.encoding.name(), name, positions)?;
            }
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of the model that it was made against, in hexadecimal.
    pub fn base_sha256(&self) -> &str {
        &self.base_sha256
    }

    /// The hash of the model that it was made of, in hexadecimal.
    pub fn result_sha256(&self) -> &str {
        &self.result_sha256
    }

    /// The bytes of one entry of the file.
    pub(crate) fn bytes(&self, entry: &Tensor) -> Result<Bytes, DeltaError> {
        Bytes::open(&self.path, entry.start, entry.bytes)
    }
}

/// What is said of the folder `dir`, in place of which a delta was to be named: the delta in it, if there is one.
fn is_folder(dir: &Path) -> DeltaError {
    let is_delta = |path: &PathBuf| {
        let header = path.is_file().then(|| Header::read(path).ok()).flatten();
        let notes = header.and_then(|header| header.metadata().metadata().clone());
        notes.is_some_and(|notes| notes.get("format").is_some_and(|format| format == FORMAT))
    };
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = files.map(|file| file.path());
    let found = files
        .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .filter(is_delta)
        .min();
    DeltaError::IsFolder {
        path: dir.to_path_buf(),
        mend: found.map_or_else(
            || "name the file that `delta diff` or `finetune --save delta` has written".to_owned(),
            |path| format!("name {}", path.display()),
        ),
    }
}

/// What to do with a delta of another version than this program's.
fn mend_of_version(found: Option<&str>) -> &'static str {
    match found {
        // It carries files whose damage nobody would see.
        Some("1") => {
            "the older program did not hash all that it wrote: make the delta again with `delta diff`"
        }
        _ => "update the program, or make the delta again with `delta diff`",
    }
}

/// The entries of a file by kind, and within a kind by the name behind the kind's.
#[derive(Debug, Default)]
struct Entries {
    values: BTreeMap<String, Tensor>,
    gaps: BTreeMap<String, Tensor>,
    bitmaps: BTreeMap<String, Tensor>,
    headers: BTreeMap<String, Tensor>,
    files: BTreeMap<String, Tensor>,
}

impl Entries {
    fn sorted(path: &Path, header: &Header) -> Result<Self, DeltaError> {
        let model = Model::of_headers(path, BTreeMap::from([(String::new(), header.clone())]))?;
        let mut all = Self::default();
        for (entry, tensor) in model.tensors {
            let (kind, name) = entry.split_once('/').unwrap_or((&entry, ""));
            let damaged = |found: &str| Err(DeltaError::damaged(path, &entry, found));
            if tensor.shape.len() != 1 || (kind != "values" && tensor.dtype != Dtype::U8) {
                return damaged("is no list of the format that it should have");
            }
            if matches!(kind, "header" | "file") && (!is_file_name(name) || name.len() > 255) {
                return damaged("names no file within a folder");
            }
            let of_kind = match kind {
                "values" => &mut all.values,
                "gaps" => &mut all.gaps,
                "bitmap" => &mut all.bitmaps,
                "header" => &mut all.headers,
                "file" => &mut all.files,
                _ => return damaged("is no entry of a delta"),
            };
            of_kind.insert(name.to_owned(), tensor);
        }
        Ok(all)
    }

    /// The result as the carried headers tell it.
    fn result(&self, path: &Path, seal: &Seal) -> Result<Model, DeltaError> {
        let mut headers = BTreeMap::new();
        for (file, entry) in &self.headers {
            let name = self::entry("header", file);
            let damaged = |found: String| DeltaError::damaged(path, &name, found);
            if Path::new(file).extension().is_none_or(|end| end != "safetensors") {
                return Err(damaged("is of no safetensors file".to_owned()));
            }
            if entry.bytes > MAX_HEADER_BYTES {
                return Err(damaged(format!(
                    "has {} bytes, more than any header",
                    entry.bytes
                )));
            }
            let mut json = vec![0; entry.bytes as usize];
            Bytes::open(path, entry.start, entry.bytes)?.fill(&mut json)?;
            seal.check(&name, Sha256::new_with_prefix(&json))?;
            let header = Header::parse(path, json).map_err(|error| damaged(format!("is none: {error}")))?;
            headers.insert(file.clone(), header);
        }
        for name in self.files.keys() {
            if name != INDEX && (headers.contains_key(name) || crate::folder::is_of_weights(name)) {
                return Err(DeltaError::damaged(
                    path,
                    &format!("file/{name}"),
                    "is a file of weights",
                ));
            }
        }
        Model::of_headers(path, headers)
            .map_err(|error| DeltaError::damaged(path, "header", error.to_string()))
    }

    /// Values with their positions, as many of each, for tensors that there are.
    fn changes(&self, path: &Path, result: &Model) -> Result<BTreeMap<String, Change>, DeltaError> {
        for (kind, entries) in [("gaps", &self.gaps), ("bitmap", &self.bitmaps)] {
            if let Some(name) = entries.keys().find(|name| !self.values.contains_key(*name)) {
                return Err(DeltaError::damaged(
                    path,
                    &format!("{kind}/{name}"),
                    "has no values",
                ));
            }
        }
        let mut changes = BTreeMap::new();
        for (name, values) in &self.values {
            let damaged = |found: String| Err(DeltaError::damaged(path, &format!("values/{name}"), found));
            let Some(tensor) = result.tensors.get(name) else {
                return damaged("is of a tensor that the result does not have".to_owned());
            };
            if values.dtype != of_values(tensor.dtype) {
                return damaged(format!("is {}, and the tensor {}", values.dtype, tensor.dtype));
            }
            let (changed, entries) = (values.entries(), tensor.entries());
            let (encoding, positions) = match (self.gaps.get(name), self.bitmaps.get(name)) {
                (None, None) => (Encoding::All, None),
                (Some(gaps), None) => (Encoding::Gaps, Some(gaps)),
                (None, Some(bitmap)) => (Encoding::Bitmap, Some(bitmap)),
                (Some(_), Some(_)) => return damaged("has positions twice".to_owned()),
            };
            let fits = match (encoding, positions) {
                (Encoding::Bitmap, Some(bitmap)) => bitmap.bytes == entries.div_ceil(8) && changed <= entries,
                (Encoding::Gaps, Some(gaps)) => gaps.bytes >= changed && changed <= entries,
                _ => changed == entries,
            };
            if !fits {
                return damaged(format!("has {changed} values, its positions are not as many"));
            }
            let change = Change {
                changed,
                encoding,
                values: values.clone(),
                positions: positions.cloned(),
            };
            changes.insert(name.clone(), change);
        }
        Ok(changes)
    }
}
