//! What GaLore keeps for one parameter: moments, and a projector when it is a projected matrix.
use super::adam::Moments;
use super::config::{GaLoreAdam, SvdMethod};
use super::projector::Projector;
use super::range_finder::Sketch;
use burn::tensor::Tensor;

/// Bytes of one f32.
const WORD_BYTES: u64 = 4;

/// The state of one parameter.
#[derive(Debug)]
pub(crate) struct ParameterState {
    /// `[d0, d1]` of a projected matrix.
    projected: Option<([usize; 2], Projector)>,
    moments: Option<Moments>,
    numel: u64,
}

impl ParameterState {
    /// A parameter that is trained in full.
    pub fn plain(numel: u64) -> Self {
        Self {
            projected: None,
            moments: None,
            numel,
        }
    }

    /// A `[d0, d1]` matrix whose gradient is projected.
    pub fn projected(dims: [usize; 2], projector: Projector) -> Self {
        Self {
            projected: Some((dims, projector)),
            moments: None,
            numel: (dims[0] * dims[1]) as u64,
        }
    }

    /// Whether the gradient is projected.
    pub fn is_projected(&self) -> bool {
        self.projected.is_some()
    }

    /// Entries of the parameter.
    pub fn numel(&self) -> u64 {
        self.numel
    }

    /// The direction of the update, without step size: `m / (sqrt(v) + eps)`, projected back and scaled.
    ///
    /// # Shapes
    /// `gradient` and output: `[n]`.
    pub fn direction(
        &mut self,
        gradient: Tensor<1>,
        rule: &GaLoreAdam,
        scale: f64,
        refresh: Option<(SvdMethod, Sketch)>,
    ) -> Tensor<1> {
        let Some((dims, projector)) = &mut self.projected else {
            return Moments::update(&mut self.moments, rule, gradient);
        };
        let gradient = gradient.reshape(*dims);
        if let Some((method, sketch)) = refresh {
            projector.refresh(gradient.clone(), method, sketch);
        }
        let low_rank_dims = projector.low_rank_dims(*dims);
        let low_rank = projector
            .project(gradient)
            .reshape([low_rank_dims[0] * low_rank_dims[1]]);
        let direction = Moments::update(&mut self.moments, rule, low_rank).reshape(low_rank_dims);
        projector
            .project_back(direction)
            .reshape([dims[0] * dims[1]])
            .mul_scalar(scale)
    }

    /// Bytes of the tensors held.
    pub fn bytes(&self) -> u64 {
        let basis = self
            .projected
            .as_ref()
            .map_or(0, |(_, projector)| projector.basis_entries());
        let moments = self.moments.as_ref().map_or(0, Moments::entries);
        (basis + 2 * moments) * WORD_BYTES
    }

    /// What [`bytes`](Self::bytes) should be once a step was made: `4 (side r + 2 r other)`, or `8 n`.
    pub fn estimated_bytes(&self) -> u64 {
        if self.moments.is_none() {
            return 0;
        }
        let entries = match &self.projected {
            None => 2 * self.numel,
            Some((dims, projector)) => {
                let [rows, columns] = projector.low_rank_dims(*dims);
                projector.expected_basis_entries(*dims) + 2 * (rows * columns) as u64
            }
        };
        entries * WORD_BYTES
    }
}
