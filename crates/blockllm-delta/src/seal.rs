//! The hashes of a delta's own bytes: one of every entry, which its header tells, and one of the header.
//!
//! The model's hashes do not cover them: a carried file is no tensor, and a stack with weights has no result to compare with.

use crate::DeltaError;
use crate::bytes::{Bytes, PIECE};
use crate::model::Tensor;
use blockllm_tensors::Header;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The note with the header's hash.
pub(crate) const HEADER: &str = "header_sha256";

/// Digits of a hash.
const DIGITS: usize = 64;

/// The note with the hash of an entry.
pub(crate) fn note_of(entry: &str) -> String {
    format!("sha256/{entry}")
}

/// What stands in place of a hash that is not known yet.
pub(crate) fn blank() -> String {
    "0".repeat(DIGITS)
}

/// The hash of a header with this JSON, in which `own`, the digits of the hash itself, count as zeros.
pub(crate) fn of_header(json: &[u8], own: &str) -> String {
    let mut blanked = json.to_vec();
    let mut from = 0;
    while let Some(at) = json[from..]
        .windows(DIGITS)
        .position(|digits| digits == own.as_bytes())
    {
        blanked[from + at..][..DIGITS].fill(b'0');
        from += at + DIGITS;
    }
    hex::encode(Sha256::digest(&blanked))
}

/// The hash that stands in `notes` of the delta at `path` under `key`.
pub(crate) fn hash_in(path: &Path, notes: &HashMap<String, String>, key: &str) -> Result<String, DeltaError> {
    match notes.get(key) {
        Some(hash) if hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(hash.clone())
        }
        _ => Err(DeltaError::damaged(path, key, "is no SHA-256 of 64 digits")),
    }
}

/// What the entries of a delta must be.
#[derive(Debug)]
pub(crate) struct Seal {
    path: PathBuf,
    notes: HashMap<String, String>,
}

impl Seal {
    /// That of the delta at `path`, whose header is what its hash says.
    pub(crate) fn of(path: &Path, header: &Header) -> Result<Self, DeltaError> {
        let notes = header.metadata().metadata().clone().unwrap_or_default();
        let own = hash_in(path, &notes, HEADER)?;
        if of_header(header.json(), &own) != own {
            return Err(DeltaError::damaged(path, HEADER, "is not the header's SHA-256"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            notes,
        })
    }

    /// Checks that the entry `name` has the bytes that went through `hash`.
    pub(crate) fn check(&self, name: &str, hash: Sha256) -> Result<(), DeltaError> {
        let expected = hash_in(&self.path, &self.notes, &note_of(name))?;
        let found = hex::encode(hash.finalize());
        if found == expected {
            return Ok(());
        }
        let found = format!("has the SHA-256 {found}, where the header tells {expected}");
        Err(DeltaError::damaged(&self.path, name, found))
    }

    /// Reads the entry `name`, which lies at `entry`, and checks it; `told` is given the bytes of each piece.
    pub(crate) fn check_entry(
        &self,
        name: &str,
        entry: &Tensor,
        mut told: impl FnMut(u64),
    ) -> Result<(), DeltaError> {
        let mut bytes = Bytes::open(&self.path, entry.start, entry.bytes)?;
        let mut hash = Sha256::new();
        while bytes.left() > 0 {
            let piece = bytes.piece(PIECE)?;
            hash.update(&piece);
            told(piece.len() as u64);
        }
        self.check(name, hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_the_header_s_hash_count_as_zeros() {
        let json = |digits: &str| format!(r#"{{"header_sha256":"{digits}","x":"1"}}"#).into_bytes();
        let own = of_header(&json(&blank()), &blank());
        assert_eq!(of_header(&json(&own), &own), own);
        assert_ne!(of_header(&json(&own.to_uppercase()), &own), own);
    }
}
