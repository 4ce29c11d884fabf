//! Two tensors side by side, a piece at a time: which entries have other bits.

use crate::DeltaError;
use crate::bytes::{Bytes, PIECE};
use crate::dtype::{cast, width};
use crate::meter::Meter;
use crate::model::{Model, Tensor};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A piece of the tuned tensor, and which of its entries have changed.
pub(crate) struct Piece<'a> {
    /// The first entry.
    pub first: u64,
    /// The tuned bytes.
    pub tuned: &'a [u8],
    /// Bytes of an entry.
    pub width: usize,
    /// Changed entries, rising.
    pub changed: &'a [u64],
}

/// The hashes of what was read of a tensor of the base and of the tuned model.
pub(crate) struct Hashes {
    pub base: Sha256,
    pub tuned: Sha256,
}

/// Reads the tensor `name` of both models, the base's in the format of the tuned one, and gives `with` every piece.
pub(crate) fn compare(
    [base, tuned]: [&Model; 2],
    name: &str,
    meter: &mut Meter<'_>,
    mut with: impl FnMut(&Piece<'_>) -> Result<(), DeltaError>,
) -> Result<Hashes, DeltaError> {
    let [before, after] = [&base.tensors[name], &tuned.tensors[name]];
    let [mut old, mut new] = [open(&base.path, before)?, open(&tuned.path, after)?];
    let width_before = width(before.dtype);
    let width = width(after.dtype);
    let mut hashes = Hashes {
        base: Sha256::new(),
        tuned: Sha256::new(),
    };
    let mut changed = Vec::new();
    let mut first = 0;
    while new.left() > 0 {
        let old = old.piece(PIECE * width_before)?;
        let tuned = new.piece(PIECE * width)?;
        hashes.base.update(&old);
        hashes.tuned.update(&tuned);
        meter.advance((old.len() + tuned.len()) as u64);
        let old = cast(before.dtype, after.dtype, old);
        changed.clear();
        differing(&old, &tuned, width, first, &mut changed);
        with(&Piece {
            first,
            tuned: &tuned,
            width,
            changed: &changed,
        })?;
        first += (tuned.len() / width) as u64;
    }
    Ok(hashes)
}

/// The bytes of a tensor of the model in `dir`.
pub(crate) fn open(dir: &Path, tensor: &Tensor) -> Result<Bytes, DeltaError> {
    Bytes::open(&dir.join(&tensor.file), tensor.start, tensor.bytes)
}

/// Adds the entries whose bits differ; the first of both is entry `first`.
fn differing(old: &[u8], new: &[u8], width: usize, first: u64, changed: &mut Vec<u64>) {
    // Most of a model is as it was: whole stretches are compared at once.
    const STRETCH: usize = 512;
    let stretches = old.chunks(STRETCH * width).zip(new.chunks(STRETCH * width));
    for (number, (old, new)) in stretches.enumerate() {
        if old == new {
            continue;
        }
        let start = first + (number * STRETCH) as u64;
        let entries = old.chunks_exact(width).zip(new.chunks_exact(width));
        changed.extend(
            (start..)
                .zip(entries)
                .filter(|(_, (old, new))| old != new)
                .map(|(position, _)| position),
        );
    }
}
