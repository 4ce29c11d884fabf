//! Writing weights as safetensors, in one file or in shards. What was there stays whole until all of the new is on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use blockllm_tensors::{HeldTensor, write_tensors};

use super::dtype::WeightDtype;
use super::index::{INDEX, IndexMetadata, SINGLE, ShardIndex, shard_name};
use crate::ModelError;

/// transformers refuses files without this note.
pub(super) const NOTE: Option<(&str, &str)> = Some(("format", "pt"));

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveOptions {
    /// Largest size of one file in bytes; a single tensor may exceed it. 5 GB, as in transformers.
    pub max_shard_bytes: u64,
    /// The number format on disk.
    pub dtype: WeightDtype,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            max_shard_bytes: 5_000_000_000,
            dtype: WeightDtype::F32,
        }
    }
}

impl SaveOptions {
    /// The default size in another number format.
    pub fn of(dtype: WeightDtype) -> Self {
        Self {
            dtype,
            ..Self::default()
        }
    }
}

/// Writes `tensors` into `dir` in place of the weights of an earlier save. All files are written under temporary names
/// first; a save that ends before they get theirs leaves what was there, and one that ends between two shards leaves a
/// folder without an index, which no reader takes for a model.
///
/// # Errors
///
/// When the folder cannot be written or the device fails.
pub fn save_tensors(
    tensors: Vec<(String, HeldTensor)>,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), ModelError> {
    let shards = into_shards(tensors, options);
    let mut unfinished = Unfinished::default();
    let mut index = ShardIndex {
        metadata: IndexMetadata::default(),
        weight_map: BTreeMap::new(),
    };
    for (number, shard) in shards.iter().enumerate() {
        let name = if shards.len() == 1 {
            SINGLE.to_owned()
        } else {
            shard_name(number, shards.len())
        };
        for (key, tensor) in shard {
            index.metadata.total_size += tensor.bytes();
            index.weight_map.insert(key.clone(), name.clone());
        }
        let path = dir.join(&name);
        write_tensors(unfinished.beside(&path), shard, NOTE)?;
    }
    let earlier = earlier_shards(dir);
    if shards.len() == 1 {
        // Readers take the single file before an index, so this rename is the moment.
        unfinished.publish()?;
        remove(&dir.join(INDEX))?;
    } else {
        remove(&dir.join(SINGLE))?;
        remove(&dir.join(INDEX))?;
        sync(dir);
        unfinished.publish()?;
        let text = serde_json::to_string_pretty(&index).expect("an index of strings is always valid JSON");
        write_text(&dir.join(INDEX), &text)?;
    }
    let written: BTreeSet<String> = index.weight_map.into_values().collect();
    for name in earlier.difference(&written) {
        remove(&dir.join(name))?;
    }
    Ok(())
}

/// Writes `text` to a temporary name, syncs it and renames it to `path`.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), ModelError> {
    let mut unfinished = Unfinished::default();
    let temporary = unfinished.beside(path);
    let mut file = File::create(temporary).map_err(ModelError::io(temporary, "create"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(ModelError::io(temporary, "write"))?;
    unfinished.publish()
}

/// Files under temporary names, which go when they do not get their own.
#[derive(Default)]
pub(super) struct Unfinished {
    /// Temporary name and its own.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Unfinished {
    /// A temporary name for `path`, which no other process uses.
    pub fn beside(&mut self, path: &Path) -> &Path {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        self.files.push((path.with_file_name(name), path.to_path_buf()));
        &self.files[self.files.len() - 1].0
    }

    /// Gives synced files their names, in order.
    pub fn publish(mut self) -> Result<(), ModelError> {
        for (temporary, path) in &self.files {
            fs::rename(temporary, path).map_err(ModelError::io(path, "rename a temporary file to"))?;
        }
        if let Some((_, path)) = self.files.last() {
            sync(path.parent().unwrap_or(Path::new(".")));
        }
        self.files.clear();
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for (temporary, _) in &self.files {
            // Part of a file is of no use to anybody; the error that matters is the first one.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Fills shards in order, none above the limit unless by a single tensor.
fn into_shards(tensors: Vec<(String, HeldTensor)>, options: &SaveOptions) -> Vec<Vec<(String, HeldTensor)>> {
    let mut shards: Vec<Vec<(String, HeldTensor)>> = vec![Vec::new()];
    let mut filled = 0;
    for (key, tensor) in tensors {
        let tensor = tensor.in_format(options.dtype.into());
        let size = tensor.bytes();
        if filled > 0 && filled + size > options.max_shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += size;
        shards
            .last_mut()
            .expect("there is at least the first shard")
            .push((key, tensor));
    }
    shards
}

/// The shards of the model that is there.
fn earlier_shards(dir: &Path) -> BTreeSet<String> {
    // An index that cannot be read names nothing that would be ours to remove.
    let index = ShardIndex::read(&dir.join(INDEX)).ok();
    index
        .into_iter()
        .flat_map(|index| index.weight_map.into_values())
        .collect()
}

/// Removes a file that may be there.
fn remove(path: &Path) -> Result<(), ModelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ModelError::io(path, "remove")(error))
        }
        _ => Ok(()),
    }
}

/// Makes renames last. Not every system can sync a folder; the files themselves are safe.
fn sync(dir: &Path) {
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
}
