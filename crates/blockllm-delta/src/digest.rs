//! The hash of a model: of what its tensors are, not of how they lie in files.
//!
//! For each tensor, in the order of names, a line: the SHA-256 of its bytes, its format, its shape with commas, its name as
//! JSON. The hash is the SHA-256 of these lines. So a model in one file and the same in shards have the same hash, and
//! another number anywhere, another format or another name gives another.

use crate::model::Tensor;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Lines of tensors, which may come in any order.
#[derive(Debug, Default)]
pub(crate) struct ModelHash {
    lines: BTreeMap<String, String>,
}

impl ModelHash {
    /// Adds a tensor whose bytes went through `hash`.
    pub(crate) fn add(&mut self, name: &str, tensor: &Tensor, hash: Sha256) {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let line = format!(
            "{} {} {} {}\n",
            hex::encode(hash.finalize()),
            tensor.dtype,
            shape.join(","),
            serde_json::Value::from(name),
        );
        self.lines.insert(name.to_owned(), line);
    }

    /// The hash of all, in hexadecimal.
    pub(crate) fn finish(&self) -> String {
        let mut hash = Sha256::new();
        for line in self.lines.values() {
            hash.update(line);
        }
        hex::encode(hash.finalize())
    }
}
