//! The threshold: from the top, bit by bit, by histograms of magnitudes.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::backends::{Pass, TopKBackend};
use super::counts::{ReadBackError, counts, read_counts};

/// Bins of a histogram.
pub(super) const BINS: usize = 1 << 11;

/// How far a pass shifts the bits, and how many bins it fills; the bits above were found before.
const PASSES: [(u32, u32); 3] = [(20, 1 << 11), (10, 1 << 10), (0, 1 << 10)];

/// The smallest magnitude that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    /// Its bits.
    pub bits: u32,
    /// How many entries that equal it are kept.
    pub ties: u64,
}

/// The threshold of each group.
pub(super) fn bits_of_largest(groups: &[(Vec<Tensor<1>>, u64)]) -> Result<Vec<Threshold>, ReadBackError> {
    let mut found: Vec<_> = groups
        .iter()
        .map(|(_, keep)| Threshold { bits: 0, ties: *keep })
        .collect();
    let Some(device) = groups
        .iter()
        .find_map(|(tensors, _)| Some(tensors.first()?.device()))
    else {
        return Ok(found);
    };
    for (shift, bins) in PASSES {
        let mut histogram = counts([groups.len(), BINS], &device);
        for (row, ((tensors, _), found)) in groups.iter().zip(&found).enumerate() {
            let pass = Pass {
                row,
                known: found.bits,
                known_shift: shift + bins.ilog2(),
                shift,
            };
            for tensor in tensors {
                histogram = Tensor::from_dispatch(Dispatch::with_magnitudes(
                    histogram.into_dispatch(),
                    tensor.clone().into_dispatch(),
                    pass,
                ));
            }
        }
        let histogram = read_counts(histogram)?;
        for (found, row) in found.iter_mut().zip(histogram.chunks_exact(BINS)) {
            let (bin, ties) = bin_of(&row[..bins as usize], found.ties);
            found.bits = found.bits << bins.ilog2() | bin;
            found.ties = ties;
        }
    }
    Ok(found)
}

/// The bin of the `keep`-th largest, and how many of that bin are still to be kept.
fn bin_of(counts: &[u64], keep: u64) -> (u32, u64) {
    let mut remaining = keep;
    for (bin, &count) in counts.iter().enumerate().rev() {
        if count >= remaining {
            return (bin as u32, remaining);
        }
        remaining -= count;
    }
    // More are to be kept than there are: all of them.
    (0, remaining)
}
