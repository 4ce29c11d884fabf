//! Folders of models for tests, written by the safetensors crate; and what is done with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blockllm_delta::{DeltaError, Summary};
use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView, serialize};
use tempfile::TempDir;

/// A tensor: format, shape, bytes.
pub type Raw = (Dtype, Vec<usize>, Vec<u8>);

/// Tensors by name.
pub type Tensors = BTreeMap<String, Raw>;

/// Floats as a tensor of F32.
pub fn f32s(values: &[f32]) -> Raw {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (Dtype::F32, vec![values.len()], bytes)
}

/// The floats of a tensor of F32.
pub fn floats(raw: &Raw) -> Vec<f32> {
    let entries = raw.2.chunks_exact(4);
    entries
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// Tensors under these names.
pub fn named<const N: usize>(tensors: [(&str, Raw); N]) -> Tensors {
    tensors.map(|(name, raw)| (name.to_owned(), raw)).into()
}

/// The bytes of a safetensors file.
pub fn file_of<'a>(tensors: impl Iterator<Item = (&'a String, &'a Raw)>) -> Vec<u8> {
    let views = tensors
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let notes = [("format".to_owned(), "pt".to_owned())].into();
    serialize(views.collect::<Vec<_>>(), Some(notes)).unwrap()
}

/// Writes a folder with one file of weights, and a configuration.
pub fn write_model(dir: &Path, tensors: &Tensors) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("model.safetensors"), file_of(tensors.iter())).unwrap();
    fs::write(dir.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
}

/// Writes a folder with two shards and their index; every other tensor is in the second one.
pub fn write_shards(dir: &Path, tensors: &Tensors) {
    fs::create_dir_all(dir).unwrap();
    let mut map = BTreeMap::new();
    for number in 0..2 {
        let file = format!("model-{:05}-of-00002.safetensors", number + 1);
        let of_shard = tensors.iter().skip(number).step_by(2);
        if number < tensors.len() {
            fs::write(dir.join(&file), file_of(of_shard.clone())).unwrap();
        }
        map.extend(of_shard.map(|(name, _)| (name.clone(), file.clone())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// All tensors of a folder, however they lie.
pub fn read_model(dir: &Path) -> Tensors {
    let mut tensors = Tensors::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            let bytes = fs::read(&path).unwrap();
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let raw = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
                tensors.insert(name.to_owned(), raw);
            }
        }
    }
    tensors
}

/// All files of a folder, by name.
pub fn read_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    files.collect()
}

/// A place for models and deltas.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A model in one file.
    pub fn model(&self, name: &str, tensors: &Tensors) {
        write_model(&self.at(name), tensors);
    }

    pub fn diff(&self, base: &str, tuned: &str, out: &str) -> Result<Summary, DeltaError> {
        blockllm_delta::diff(&self.at(base), &self.at(tuned), &self.at(out), &mut |_, _| ())
    }

    pub fn apply(
        &self,
        base: &str,
        deltas: &[&str],
        out: &str,
    ) -> Result<blockllm_delta::Applied, DeltaError> {
        let deltas: Vec<PathBuf> = deltas.iter().map(|delta| self.at(delta)).collect();
        blockllm_delta::apply(&self.at(base), &deltas, &self.at(out), &mut |_, _| ())
    }

    /// The names of all that lies here, temporary files too.
    pub fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
