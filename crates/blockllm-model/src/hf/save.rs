//! Writing weights as safetensors, in one file or in shards; a file appears only when it is whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};

use super::dtype::WeightDtype;
use super::index::{INDEX, IndexMetadata, SINGLE, ShardIndex, shard_name};
use super::module::NamedTensor;
use crate::ModelError;

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

/// Writes `tensors` into `dir`, and removes weight files there that are of an earlier save.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn save_tensors(tensors: Vec<NamedTensor>, dir: &Path, options: &SaveOptions) -> Result<(), ModelError> {
    let shards = into_shards(tensors, options);
    let count = shards.len();
    let mut written = BTreeSet::new();
    let mut index = ShardIndex {
        metadata: IndexMetadata::default(),
        weight_map: BTreeMap::new(),
    };
    for (number, shard) in shards.into_iter().enumerate() {
        let name = if count == 1 {
            SINGLE.to_owned()
        } else {
            shard_name(number, count)
        };
        for view in &shard {
            index.metadata.total_size += view.data_len() as u64;
            index.weight_map.insert(view.tensor.key.clone(), name.clone());
        }
        write_shard(shard, &dir.join(&name))?;
        written.insert(name);
    }
    if count > 1 {
        let text = serde_json::to_string_pretty(&index).expect("an index of strings is always valid JSON");
        write_text(&dir.join(INDEX), &text)?;
        written.insert(INDEX.to_owned());
    }
    remove_stale(dir, &written)
}

/// Writes `text` to a temporary name, syncs it and renames it to `path`.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), ModelError> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(ModelError::io(&temporary, "create"))?;
    file.write_all(text.as_bytes())
        .map_err(ModelError::io(&temporary, "write"))?;
    publish(&temporary, path)
}

/// A tensor that reads itself back from its device when its bytes are asked for.
struct LazyView {
    tensor: NamedTensor,
    dtype: WeightDtype,
}

impl View for LazyView {
    fn dtype(&self) -> Dtype {
        self.dtype.to_safetensors()
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.dtype.encode(&self.tensor.to_f32()).into()
    }

    fn data_len(&self) -> usize {
        self.tensor.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Fills shards in order, none above the limit unless by a single tensor.
fn into_shards(tensors: Vec<NamedTensor>, options: &SaveOptions) -> Vec<Vec<LazyView>> {
    let mut shards: Vec<Vec<LazyView>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let view = LazyView {
            tensor,
            dtype: options.dtype,
        };
        let size = view.data_len() as u64;
        if filled > 0 && filled + size > options.max_shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += size;
        shards
            .last_mut()
            .expect("there is at least the first shard")
            .push(view);
    }
    shards
}

/// Writes one safetensors file.
fn write_shard(shard: Vec<LazyView>, path: &Path) -> Result<(), ModelError> {
    let temporary = path.with_extension("safetensors.tmp");
    // transformers refuses files without this note.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let views = shard.into_iter().map(|view| (view.tensor.key.clone(), view));
    serialize_to_file(views, Some(format), &temporary)
        .map_err(|error| ModelError::io(&temporary, "write")(std::io::Error::other(error)))?;
    publish(&temporary, path)
}

/// Syncs a finished temporary file and gives it its name.
pub(super) fn publish(temporary: &Path, path: &Path) -> Result<(), ModelError> {
    let file = File::open(temporary).map_err(ModelError::io(temporary, "open"))?;
    file.sync_all().map_err(ModelError::io(temporary, "sync"))?;
    fs::rename(temporary, path).map_err(ModelError::io(path, "rename a temporary file to"))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    // Not every system can sync a folder; the file itself is safe by now.
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
    Ok(())
}

/// Removes weight files of an earlier save, which a reader would otherwise mix with these.
fn remove_stale(dir: &Path, written: &BTreeSet<String>) -> Result<(), ModelError> {
    for entry in fs::read_dir(dir).map_err(ModelError::io(dir, "list"))? {
        let entry = entry.map_err(ModelError::io(dir, "list"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let shard = name.starts_with("model-") && name.ends_with(".safetensors") && name.contains("-of-");
        if (shard || name == SINGLE || name == INDEX) && !written.contains(&name) {
            fs::remove_file(entry.path()).map_err(ModelError::io(&entry.path(), "remove"))?;
        }
    }
    Ok(())
}
