//! The largest magnitudes over several tensors, exact to the entry, found where the tensors are.
//!
//! The bits of non-negative floats order as the floats do. Three passes of histograms, over 11, 10 and 10 of the 31 bits
//! of `|x|`, give the `k`-th largest: a pass counts the entries that agree with what is known so far, for all tensors
//! before the counts are read back at once. Then every block of a tensor counts what is above the threshold and what
//! equals it; sums over the blocks before it tell each entry its place among those that are kept. Among equals the
//! earlier tensor, then the earlier entry wins. NaN is larger than anything else.
//!
//! To the host come counts: 8 KiB for each group in each pass, and two numbers for each tensor.
//!
//! Shape legend: `N` entries of a tensor, `K` kept ones, `G` groups of tensors with a threshold each, `T` tensors,
//! `C` blocks of a tensor.

mod backends;
mod counts;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod histogram;
#[cfg(test)]
mod tests;

pub use backends::TopKBackend;
pub use counts::ReadBackError;
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use counts::{counts, read_counts};
use histogram::bits_of_largest;

/// Entries of a block.
pub(crate) const BLOCK: usize = 1 << 12;

/// Which entries of one tensor are kept; the tensor is held until their indices are asked for.
#[derive(Clone, Debug)]
pub struct Kept {
    values: Tensor<1>,
    /// Of every block, how many entries before it are above the threshold, and how many equal it: `[C, 2]`.
    before: Tensor<2, Int>,
    bits: u32,
    /// Entries that equal the threshold and are kept.
    ties: u64,
    count: u64,
}

impl Kept {
    /// How many entries are kept.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their indices, ascending.
    ///
    /// # Shapes
    ///
    /// - output: `[K]`, i32
    pub fn indices(&self) -> Tensor<1, Int> {
        Tensor::from_dispatch(Dispatch::kept_indices(
            self.values.clone().into_dispatch(),
            self.before.clone().into_dispatch(),
            self.bits,
            self.ties as u32,
            self.count as usize,
        ))
    }

    /// Zero for each entry that is kept and `excluded` for the others.
    ///
    /// # Shapes
    ///
    /// - output: `[N]`, f32
    pub fn marked(&self, excluded: f32) -> Tensor<1> {
        Tensor::from_dispatch(Dispatch::kept_marked(
            self.values.clone().into_dispatch(),
            self.before.clone().into_dispatch(),
            self.bits,
            self.ties as u32,
            excluded,
        ))
    }
}

/// Of `groups` of tensors, each with a number of entries to keep, those of largest magnitude: for every tensor in the
/// order of the groups.
///
/// # Shapes
///
/// - each tensor: `[N]`, of any float type
///
/// # Errors
///
/// When the device fails to give the counts.
pub fn largest(groups: Vec<(Vec<Tensor<1>>, u64)>) -> Result<Vec<Kept>, ReadBackError> {
    let found = bits_of_largest(&groups)?;
    let thresholds = groups.into_iter().zip(found).flat_map(|((tensors, _), found)| {
        // The group's ties are handed out in the order of its tensors.
        let ties = std::iter::once(Some(found.ties)).chain(std::iter::repeat(None));
        tensors
            .into_iter()
            .zip(ties)
            .map(move |(values, ties)| (values, found.bits, ties))
    });
    rank(thresholds.collect())
}

/// The smallest of the magnitudes that [`largest`] keeps of each group.
///
/// # Errors
///
/// When the device fails to give the counts.
pub fn magnitude_thresholds(groups: &[(Vec<Tensor<1>>, u64)]) -> Result<Vec<f32>, ReadBackError> {
    let found = bits_of_largest(groups)?;
    Ok(found
        .into_iter()
        .map(|found| f32::from_bits(found.bits))
        .collect())
}

/// Of every tensor the entries whose magnitude is at least `threshold`.
///
/// # Shapes
///
/// - each tensor: `[N]`, of any float type
///
/// # Errors
///
/// When the device fails to give the counts.
pub fn at_least(tensors: Vec<Tensor<1>>, threshold: f32) -> Result<Vec<Kept>, ReadBackError> {
    let bits = threshold.to_bits();
    rank(
        tensors
            .into_iter()
            .map(|values| (values, bits, Some(u64::MAX)))
            .collect(),
    )
}

/// The kept entries of tensors, each with the bits of its threshold; a number of ties is for the tensor that has it and
/// all that follow without one.
fn rank(thresholds: Vec<(Tensor<1>, u32, Option<u64>)>) -> Result<Vec<Kept>, ReadBackError> {
    let Some(device) = thresholds.first().map(|(values, ..)| values.device()) else {
        return Ok(Vec::new());
    };
    let mut totals = counts([thresholds.len(), 2], &device);
    let mut ranked = Vec::with_capacity(thresholds.len());
    for (slot, (values, bits, ties)) in thresholds.into_iter().enumerate() {
        let blocks = values.dims()[0].div_ceil(BLOCK).max(1);
        let (before, with_total) = Dispatch::ranks(
            values.clone().into_dispatch(),
            counts([blocks, 2], &device).into_dispatch(),
            totals.into_dispatch(),
            bits,
            slot,
        );
        totals = Tensor::from_dispatch(with_total);
        ranked.push((values, Tensor::from_dispatch(before), bits, ties));
    }
    let totals = read_counts(totals)?;
    let mut left = 0;
    let one = |((values, before, bits, ties), total): ((Tensor<1>, _, u32, Option<u64>), &[u64])| {
        left = ties.unwrap_or(left);
        let ties = total[1].min(left);
        left -= ties;
        Kept {
            values,
            before,
            bits,
            ties,
            count: total[0] + ties,
        }
    };
    Ok(ranked.into_iter().zip(totals.chunks_exact(2)).map(one).collect())
}
