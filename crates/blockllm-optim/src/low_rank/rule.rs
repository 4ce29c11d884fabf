//! How the methods of the family differ: where a basis comes from, and what becomes of a matrix's gradient.
use super::growth_limiter::GrowthLimiter;
use super::projector::Projector;
use super::range_finder::Sketch;
use super::svd::{SvdMethod, leading_basis};
use blockllm_kernels::with_sum_of_squares;
use burn::tensor::{DType, Tensor};

/// Added to the norm that a gain is divided by, as in `apollo_torch`.
const TINY: f64 = 1e-8;

/// What is done with the matrices whose gradients are projected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// `GaLore`: the basis is of leading singular vectors, Adam's direction is projected back and scaled.
    GaLore { scale: f64, svd: SvdMethod },
    /// APOLLO with one gain per tensor: the basis is random, Adam's direction says how long the gradient is made.
    Apollo { scale: f64, norm_growth: f64 },
}

impl Rule {
    /// A basis for a gradient whose projected side comes first.
    ///
    /// # Shapes
    /// - `matrix`: `[side, other]`
    /// - output: `[side, rank]`
    pub fn basis(self, matrix: Tensor<2>, rank: usize, sketch: Sketch) -> Tensor<2> {
        match self {
            Self::GaLore { svd, .. } => leading_basis(matrix, rank, svd, sketch),
            Self::Apollo { .. } => {
                let gaussian = sketch.gaussian([matrix.dims()[0], rank], &matrix.device());
                gaussian.div_scalar((rank as f64).sqrt())
            }
        }
    }

    /// Whether a basis cannot be made of a gradient that is not finite.
    pub fn needs_finite(self) -> bool {
        matches!(self, Self::GaLore { svd, .. } if svd == SvdMethod::Exact)
    }

    /// What limits the growth of updates, where the rule has it.
    pub fn limiter(self) -> Option<GrowthLimiter> {
        match self {
            Self::GaLore { .. } => None,
            Self::Apollo { norm_growth, .. } => Some(GrowthLimiter::new(norm_growth)),
        }
    }

    /// The direction of the update: what the step size is multiplied with.
    ///
    /// # Shapes
    /// - `gradient` and output: `[d0, d1]`
    /// - `low_rank` (the projected gradient) and `adam` (its direction): `[k, d1]` or `[d0, k]`
    pub fn direction(
        self,
        gradient: Tensor<2>,
        low_rank: Tensor<2>,
        adam: Tensor<2>,
        projector: &Projector,
        limiter: Option<&mut GrowthLimiter>,
    ) -> Tensor<2> {
        match self {
            Self::GaLore { scale, .. } => {
                // Back in full it is as large as the gradient, which nobody needs any more.
                drop(gradient);
                projector.project_back(adam).mul_scalar(scale)
            }
            Self::Apollo { scale, .. } => {
                let mut gain = norm(adam) / norm(low_rank).add_scalar(TINY); // [1]
                if let Some(limiter) = limiter {
                    let length = norm(gradient.clone()) * gain.clone();
                    gain = gain / limiter.excess(length);
                }
                gradient * gain.mul_scalar(scale.sqrt()).unsqueeze::<2>()
            }
        }
    }
}

/// The L2 norm of all entries: `[1]`.
fn norm(tensor: Tensor<2>) -> Tensor<1> {
    let zero = Tensor::zeros([1], (&tensor.device(), DType::F32));
    with_sum_of_squares(zero, 0, tensor).sqrt()
}
