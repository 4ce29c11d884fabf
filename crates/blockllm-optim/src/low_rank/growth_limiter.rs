//! The norm-growth limiter of Fira (arXiv 2410.01623, section 3.3), as `apollo_torch` has it.
use burn::tensor::Tensor;

/// Added to the norm before, as in `apollo_torch`.
const TINY: f64 = 1e-8;

/// Lets the norm of a matrix's update grow by a factor per step at most.
#[derive(Clone, Debug)]
pub(crate) struct GrowthLimiter {
    /// The factor, above 1.
    growth: f64,
    /// The norm of the update before, as it was limited: `[1]`; none before the first.
    pub norm: Option<Tensor<1>>,
}

impl GrowthLimiter {
    pub fn new(growth: f64) -> Self {
        Self { growth, norm: None }
    }

    /// What an update of the norm `norm` is to be divided by, 1 or more; the first is never limited.
    ///
    /// # Shapes
    /// `norm` and output: `[1]`.
    pub fn excess(&mut self, norm: Tensor<1>) -> Tensor<1> {
        let excess = match self.norm.take() {
            None => norm.ones_like(),
            Some(before) => (norm.clone() / before.add_scalar(TINY))
                .clamp_min(self.growth)
                .div_scalar(self.growth),
        };
        self.norm = Some(norm / excess.clone());
        excess
    }
}
