//! The steps of the search for the largest magnitudes, as operations of backends.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

/// Which entries a pass counts, and by which bits of their magnitude.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The histogram's row.
    pub row: usize,
    /// The upper bits of the threshold, found before; entries with others are not counted.
    pub known: u32,
    /// How far a magnitude is shifted to be compared with `known`.
    pub known_shift: u32,
    /// How far it is shifted to be counted.
    pub shift: u32,
}

/// Backends that find the largest magnitudes.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait TopKBackend: Backend {
    /// `histogram`, `[G, 2048]`, with the entries of `values`, `[N]`, that the pass counts.
    #[fusion(dtype = histogram, shape = histogram)]
    fn with_magnitudes(histogram: IntTensor<Self>, values: FloatTensor<Self>, pass: Pass) -> IntTensor<Self>;

    /// For each block of `values` how many entries before it are above the threshold and how many equal it, written
    /// into `before`, `[C, 2]`; and `totals`, `[T, 2]`, with the same of the whole tensor in row `slot`.
    #[fusion(meta = |_values, before, totals, _bits, _slot| (before.clone(), totals.clone()))]
    fn ranks(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        totals: IntTensor<Self>,
        bits: u32,
        slot: usize,
    ) -> (IntTensor<Self>, IntTensor<Self>);

    /// The indices of the kept entries, `[K]` in i32: those above the threshold and the first `ties` that equal it.
    #[fusion(dtype = burn::tensor::DType::I32, shape = burn::tensor::Shape::new([*count]))]
    fn kept_indices(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        count: usize,
    ) -> IntTensor<Self>;

    /// Zero for each kept entry, `excluded` for the others: `[N]` in f32.
    #[fusion(dtype = burn::tensor::DType::F32, shape = values)]
    fn kept_marked(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        excluded: f32,
    ) -> FloatTensor<Self>;
}
