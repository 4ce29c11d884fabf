//! Stacking deltas of one base: `base + sum of weight (tuned - base)`, entry by entry.

use crate::apply::{check_numbers, check_result};
use crate::delta_file::DeltaFile;
use crate::dtype::{cast, is_reckoned, put_f64, to_f64, width};
use crate::meter::Meter;
use crate::model::Model;
use crate::output::{Rewrite, hash_of, write_companions, write_weights};
use crate::overlap::{in_words, overlaps};
use crate::patch::Patch;
use crate::unfinished::Unfinished;
use crate::{DeltaError, order};
use safetensors::Dtype;
use std::path::{Path, PathBuf};

/// A delta and how much of it is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The file.
    pub delta: PathBuf,
    /// What its changes are multiplied by.
    pub weight: f64,
}

/// What becomes of entries that several deltas change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// They are refused.
    Refuse,
    /// Their changes are added up.
    Add,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stacked {
    /// The SHA-256 of the result's tensors, in hexadecimal.
    pub sha256: String,
    /// Bytes of the result's tensors.
    pub bytes: u64,
    /// Entries that differ from the base, or would but for rounding.
    pub changed: u64,
    /// Tensors in which several deltas change the same entries, with how many.
    pub overlaps: Vec<(String, u64)>,
    /// Entries that became infinite by their sum, or no number.
    pub not_finite: u64,
}

/// Writes the folder `out`: the model in `base` with the changes of all `layers`, each times its weight. All were made against
/// `base`.
///
/// Sums are reckoned in f64 and rounded once. An entry that one delta alone changes, with weight 1, gets its bits; weight 0
/// leaves a delta out. The number formats and the files are those of the first delta, which the others must agree with; of files
/// beside the weights that several carry the last one's are taken.
///
/// # Errors
/// When `out` exists, a weight is not finite, a delta is damaged or of another base, formats differ, or entries overlap and
/// `overlap` refuses that. Then nothing is left of it.
pub fn stack(
    base: &Path,
    layers: &[Layer],
    overlap: Overlap,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Stacked, DeltaError> {
    let unfinished = Unfinished::beside(out)?;
    let deltas = opened(layers)?;
    order::check_siblings(&deltas)?;
    let base = Model::open(base)?;
    let first = &deltas[0];
    base.check_like(&first.result)?;
    check_formats(&deltas, layers)?;
    let mut meter = Meter::new(base.bytes().saturating_mul(2), progress);
    check_numbers(&deltas, &mut meter)?;
    let overlaps = overlaps(
        &weighed(&deltas, layers)
            .map(|(delta, _)| delta)
            .collect::<Vec<_>>(),
    )?;
    if overlap == Overlap::Refuse && !overlaps.is_empty() {
        let found = in_words(&overlaps);
        return Err(DeltaError::Overlap { found });
    }
    order::check_base(first, &base.path, &hash_of(&base, &mut meter)?)?;
    unfinished.create_dir()?;
    let mut sums = Sums {
        base: &base,
        result: &first.result,
        layers: weighed(&deltas, layers).collect(),
        at: None,
        changed: 0,
        not_finite: 0,
    };
    let sha256 = write_weights(
        &base,
        &first.result,
        unfinished.temporary(),
        &mut sums,
        &mut meter,
    )?;
    if let [layer] = layers
        && is_one(layer.weight)
    {
        check_result(first, &sha256)?;
    }
    let (changed, not_finite) = (sums.changed, sums.not_finite);
    write_companions(&base.path, &deltas, first, unfinished.temporary())?;
    unfinished.publish()?;
    Ok(Stacked {
        sha256,
        bytes: first.result.bytes(),
        changed,
        overlaps,
        not_finite,
    })
}

fn opened(layers: &[Layer]) -> Result<Vec<DeltaFile>, DeltaError> {
    if let Some(layer) = layers.iter().find(|layer| !layer.weight.is_finite()) {
        return Err(DeltaError::Weight {
            delta: layer.delta.clone(),
            weight: layer.weight,
        });
    }
    layers.iter().map(|layer| DeltaFile::open(&layer.delta)).collect()
}

/// The deltas that are not left out, with their weights.
fn weighed<'a>(deltas: &'a [DeltaFile], layers: &[Layer]) -> impl Iterator<Item = (&'a DeltaFile, f64)> {
    let weights = layers.iter().map(|layer| layer.weight);
    deltas.iter().zip(weights).filter(|(_, weight)| *weight != 0.0)
}

/// Whether a weight leaves bits as they are.
fn is_one(weight: f64) -> bool {
    weight.to_bits() == 1.0_f64.to_bits()
}

/// All deltas have the tensors of the first one, in its formats; what is multiplied or added is a number.
fn check_formats(deltas: &[DeltaFile], layers: &[Layer]) -> Result<(), DeltaError> {
    let first = &deltas[0];
    let plain = layers.len() == 1 && is_one(layers[0].weight);
    for delta in deltas {
        first.result.check_like(&delta.result)?;
        for (name, tensor) in &delta.result.tensors {
            let expected = first.result.tensors[name].dtype;
            if tensor.dtype != expected {
                return Err(DeltaError::Dtype {
                    tensor: name.clone(),
                    base: first.path.as_path().into(),
                    expected: expected.to_string(),
                    other: delta.path.as_path().into(),
                    found: tensor.dtype.to_string(),
                });
            }
            if !plain && delta.changes.contains_key(name) && !is_reckoned(tensor.dtype) {
                return Err(DeltaError::NoArithmetic {
                    delta: delta.path.clone(),
                    tensor: name.clone(),
                    found: tensor.dtype.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// The base and the weighted changes of all layers.
struct Sums<'a> {
    base: &'a Model,
    result: &'a Model,
    layers: Vec<(&'a DeltaFile, f64)>,
    at: Option<AtTensor<'a>>,
    changed: u64,
    not_finite: u64,
}

/// The tensor at hand.
struct AtTensor<'a> {
    from: Dtype,
    to: Dtype,
    patches: Vec<(Patch<'a>, f64)>,
}

/// What layers do to an entry of a piece.
#[derive(Clone, Copy)]
enum Touch {
    /// None has changed it.
    None,
    /// One has set its bits.
    Bits,
    /// So much is added to it.
    Sum,
}

impl Rewrite for Sums<'_> {
    fn begin(&mut self, name: &str) -> Result<(), DeltaError> {
        let mut patches = Vec::new();
        for (delta, weight) in &self.layers {
            patches.extend(Patch::open(delta, name)?.map(|patch| (patch, *weight)));
        }
        self.at = Some(AtTensor {
            from: self.base.tensors[name].dtype,
            to: self.result.tensors[name].dtype,
            patches,
        });
        Ok(())
    }

    fn piece(&mut self, first: u64, base: Vec<u8>) -> Result<Vec<u8>, DeltaError> {
        let at = self.at.as_mut().expect("a tensor has begun");
        let base = cast(at.from, at.to, base);
        if at.patches.is_empty() {
            return Ok(base);
        }
        let width = width(at.to);
        let entries = base.len() / width;
        let mut out = base.clone();
        let mut sums = vec![0.0_f64; entries];
        let mut touched = vec![Touch::None; entries];
        for (patch, weight) in &mut at.patches {
            patch.until(first + entries as u64, |position, value| {
                let entry = (position - first) as usize;
                let bytes = entry * width..(entry + 1) * width;
                if matches!(touched[entry], Touch::None) {
                    self.changed += 1;
                }
                if is_one(*weight) && matches!(touched[entry], Touch::None) {
                    out[bytes.clone()].copy_from_slice(value);
                    touched[entry] = Touch::Bits;
                } else {
                    touched[entry] = Touch::Sum;
                }
                if let (Some(old), Some(new)) = (to_f64(at.to, &base[bytes]), to_f64(at.to, value)) {
                    sums[entry] += *weight * (new - old);
                }
            })?;
        }
        for (entry, _) in touched
            .iter()
            .enumerate()
            .filter(|(_, touch)| matches!(touch, Touch::Sum))
        {
            let bytes = entry * width..(entry + 1) * width;
            let old = to_f64(at.to, &base[bytes.clone()]).expect("formats were checked");
            put_f64(at.to, old + sums[entry], &mut out[bytes.clone()]);
            let new = to_f64(at.to, &out[bytes]).expect("formats were checked");
            self.not_finite += u64::from(old.is_finite() && !new.is_finite());
        }
        Ok(out)
    }

    fn end(&mut self) -> Result<(), DeltaError> {
        let at = self.at.take().expect("a tensor has begun");
        at.patches.iter().try_for_each(|(patch, _)| patch.finish())
    }
}
