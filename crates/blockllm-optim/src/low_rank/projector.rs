//! The subspace of one matrix, and the way into it and back (GaLore, equation 8).
use burn::tensor::Tensor;

/// Projects one dimension of a matrix's gradient to `r` directions.
#[derive(Clone, Debug)]
pub(crate) struct Projector {
    /// The dimension that is projected, in burn's layout.
    dim: usize,
    rank: usize,
    /// A direction in each column, `[side, r]`; none before the first refresh.
    pub basis: Option<Tensor<2>>,
}

impl Projector {
    pub fn new(dim: usize, rank: usize) -> Self {
        Self {
            dim,
            rank,
            basis: None,
        }
    }

    /// Takes what `basis_of` makes of `gradient` (`[d0, d1]`) with its projected side first, and of the rank.
    pub fn refresh(&mut self, gradient: Tensor<2>, basis_of: impl FnOnce(Tensor<2>, usize) -> Tensor<2>) {
        let matrix = if self.dim == 0 {
            gradient
        } else {
            gradient.transpose()
        };
        self.basis = Some(basis_of(matrix, self.rank));
    }

    /// `[d0, d1]` to `[r, d1]` or `[d0, r]`.
    pub fn project(&self, gradient: Tensor<2>) -> Tensor<2> {
        let basis = self.basis();
        if self.dim == 0 {
            basis.transpose().matmul(gradient)
        } else {
            gradient.matmul(basis)
        }
    }

    /// `[r, d1]` or `[d0, r]` to `[d0, d1]`.
    pub fn project_back(&self, low_rank: Tensor<2>) -> Tensor<2> {
        let basis = self.basis();
        if self.dim == 0 {
            basis.matmul(low_rank)
        } else {
            low_rank.matmul(basis.transpose())
        }
    }

    /// Shape of the projection of a `[d0, d1]` gradient.
    pub fn low_rank_dims(&self, mut dims: [usize; 2]) -> [usize; 2] {
        dims[self.dim] = self.rank;
        dims
    }

    /// `[side, r]` of the basis that a `[d0, d1]` matrix needs.
    pub fn basis_dims(&self, dims: [usize; 2]) -> [usize; 2] {
        [dims[self.dim], self.rank]
    }

    fn basis(&self) -> Tensor<2> {
        self.basis
            .clone()
            .expect("the first step refreshes before it projects")
    }
}
