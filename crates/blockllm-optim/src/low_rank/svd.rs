//! The leading left singular vectors of a matrix, exactly or by a randomized range finder.
use super::range_finder::{Sketch, randomized_basis};
use burn::linalg::svd;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// LAPACK allows 6 sweeps per singular value on average; this bounds the worst one.
const MAX_SWEEPS: usize = 100;

/// How the leading singular vectors of a gradient are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SvdMethod {
    /// A whole SVD by burn-linalg, on the host: each projected gradient is read back once per refresh.
    #[default]
    Exact,
    /// A randomized range finder (Halko et al., arXiv 0909.4061, algorithms 4.4 and 5.1): matrix products and
    /// Gram-Schmidt on the device, nothing is read back.
    Randomized {
        /// Sketched directions beyond the rank.
        oversampling: usize,
        /// Multiplications of the sketch with `G G^T`.
        power_iterations: usize,
    },
}

impl SvdMethod {
    /// The randomized range finder with 8 directions beyond the rank and 2 power iterations.
    pub fn randomized() -> Self {
        Self::Randomized {
            oversampling: 8,
            power_iterations: 2,
        }
    }
}

/// An orthonormal basis of the leading `rank` left singular directions of `matrix`, most important first.
///
/// The SVD leaves the sign of a column free; here its largest entry is positive. That matters: GaLore carries its
/// moments over a refresh coordinate by coordinate, so another choice of signs makes other numbers from the second
/// refresh on (galore-torch takes whatever signs LAPACK or cuSOLVER returns). `rank` is at most the smaller side.
///
/// # Shapes
/// - `matrix`: `[side, other]`, without autodiff
/// - output: `[side, rank]`
///
/// # Panics
/// [`SvdMethod::Exact`] when the matrix is not finite.
pub fn leading_basis(matrix: Tensor<2>, rank: usize, method: SvdMethod, sketch: Sketch) -> Tensor<2> {
    with_signs(match method {
        SvdMethod::Exact => {
            let [side, _] = matrix.dims();
            let (left, _, _) = svd::<2, 1>(matrix, MAX_SWEEPS);
            left.slice([0..side, 0..rank])
        }
        SvdMethod::Randomized {
            oversampling,
            power_iterations,
        } => randomized_basis(matrix, rank, oversampling, power_iterations, sketch),
    })
}

/// `[side, r]`, each column turned so that its entry of largest size is positive.
fn with_signs(basis: Tensor<2>) -> Tensor<2> {
    let largest = basis.clone().abs().argmax(0); // [1, r]
    let negative = basis.clone().gather(0, largest).lower_elem(0.0); // [1, r]
    let signs = negative.float().mul_scalar(-2.0).add_scalar(1.0);
    basis * signs
}
