//! Applying deltas to their base, each to the result of the one before it.

use crate::delta_file::DeltaFile;
use crate::dtype::{cast, width};
use crate::meter::Meter;
use crate::model::Model;
use crate::output::{Rewrite, hash_of, write_companions, write_weights};
use crate::patch::Patch;
use crate::unfinished::Unfinished;
use crate::{DeltaError, order};
use safetensors::Dtype;
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The SHA-256 of the result's tensors, in hexadecimal.
    pub sha256: String,
    /// Bytes of the result's tensors.
    pub bytes: u64,
    /// Changes that were made; an entry that several deltas change counts as often.
    pub changes: u64,
}

/// Writes the folder `out`: the model in `base` with what `deltas` change, in this order, each made against the result of the
/// one before it. Files of weights have the bytes of the model that the last delta was made of, and so have those beside them
/// which it carries; all other files are the base's.
///
/// The hashes of the deltas themselves and the base's are checked before anything is written, the result's before the folder gets
/// its name. A few MiB stand in memory at a time. `progress` is given bytes done and all.
///
/// # Errors
/// When `out` exists, a delta is damaged, was made against another base or does not go on from the one before it, or the result
/// is not what was promised. Then nothing is left of it.
pub fn apply(
    base: &Path,
    deltas: &[PathBuf],
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Applied, DeltaError> {
    let unfinished = Unfinished::beside(out)?;
    let deltas = deltas.iter().map(|path| DeltaFile::open(path));
    let deltas = deltas.collect::<Result<Vec<_>, _>>()?;
    let (Some(first), Some(last)) = (deltas.first(), deltas.last()) else {
        return Err(DeltaError::NoDelta);
    };
    order::check_chain(&deltas)?;
    let base = Model::open(base)?;
    base.check_like(&first.result)?;
    for pair in deltas.windows(2) {
        pair[0].result.check_like(&pair[1].result)?;
    }
    let mut meter = Meter::new(base.bytes().saturating_mul(2), progress);
    check_numbers(&deltas, &mut meter)?;
    order::check_base(first, &base.path, &hash_of(&base, &mut meter)?)?;
    unfinished.create_dir()?;
    let mut chain = Chain {
        base: &base,
        deltas: &deltas,
        at: Vec::new(),
        changes: 0,
    };
    let sha256 = write_weights(
        &base,
        &last.result,
        unfinished.temporary(),
        &mut chain,
        &mut meter,
    )?;
    check_result(last, &sha256)?;
    let changes = chain.changes;
    write_companions(&base.path, &deltas, last, unfinished.temporary())?;
    unfinished.publish()?;
    Ok(Applied {
        sha256,
        bytes: last.result.bytes(),
        changes,
    })
}

/// Checks values and positions of `deltas` against their hashes.
pub(crate) fn check_numbers(deltas: &[DeltaFile], meter: &mut Meter<'_>) -> Result<(), DeltaError> {
    for delta in deltas {
        meter.expect(delta.number_bytes());
    }
    deltas.iter().try_for_each(|delta| delta.check_numbers(meter))
}

/// Checks that `found` is the hash that `delta` promises.
pub(crate) fn check_result(delta: &DeltaFile, found: &str) -> Result<(), DeltaError> {
    if delta.result_sha256 == found {
        return Ok(());
    }
    Err(DeltaError::WrongResult {
        delta: delta.path.clone(),
        expected: delta.result_sha256.clone(),
        found: found.to_owned(),
    })
}

/// Each delta over the one before it.
struct Chain<'a> {
    base: &'a Model,
    deltas: &'a [DeltaFile],
    /// For each delta: the formats before and after it, and what it changes in the tensor at hand.
    at: Vec<(Dtype, Dtype, Option<Patch<'a>>)>,
    changes: u64,
}

impl Rewrite for Chain<'_> {
    fn begin(&mut self, name: &str) -> Result<(), DeltaError> {
        self.at.clear();
        let mut before = self.base.tensors[name].dtype;
        for delta in self.deltas {
            let after = delta.result.tensors[name].dtype;
            self.at.push((before, after, Patch::open(delta, name)?));
            before = after;
        }
        Ok(())
    }

    fn piece(&mut self, first: u64, base: Vec<u8>) -> Result<Vec<u8>, DeltaError> {
        let mut bytes = base;
        for (before, after, patch) in &mut self.at {
            bytes = cast(*before, *after, bytes);
            let Some(patch) = patch else { continue };
            let width = width(*after);
            let end = first + (bytes.len() / width) as u64;
            patch.until(end, |position, value| {
                let at = (position - first) as usize * width;
                bytes[at..][..width].copy_from_slice(value);
                self.changes += 1;
            })?;
        }
        Ok(bytes)
    }

    fn end(&mut self) -> Result<(), DeltaError> {
        self.at
            .iter()
            .filter_map(|(_, _, patch)| patch.as_ref())
            .try_for_each(Patch::finish)
    }
}
