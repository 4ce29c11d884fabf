//! What GaLore keeps for one parameter: moments, and a projector when it is a projected matrix.
use super::adam::Moments;
use super::config::{GaLoreAdam, SvdMethod};
use super::projector::Projector;
use super::range_finder::Sketch;
use crate::record::SAVED;
use crate::{OptimError, OptimizerRecord};
use blockllm_tensors::HeldTensor;
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;

/// Bytes of one f32.
const WORD_BYTES: u64 = 4;

/// The state of one parameter.
#[derive(Clone, Debug)]
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

    /// Entries of one moment: `r other`, or `n`.
    pub fn moment_entries(&self) -> usize {
        match &self.projected {
            None => self.numel as usize,
            Some((dims, projector)) => projector.low_rank_dims(*dims).iter().product(),
        }
    }

    /// `[side, r]` of a projected matrix.
    pub fn basis_dims(&self) -> Option<[usize; 2]> {
        let (dims, projector) = self.projected.as_ref()?;
        Some(projector.basis_dims(*dims))
    }

    /// The basis held, `[side, r]`.
    pub fn basis(&self) -> Option<Tensor<2>> {
        self.projected.as_ref()?.1.basis.clone()
    }

    /// Moments and basis, under names that begin with `prefix`.
    pub fn record(&self, prefix: &str, tensors: &mut BTreeMap<String, HeldTensor>) {
        if let Some(moments) = &self.moments {
            for (name, values) in [("first", &moments.first), ("second", &moments.second)] {
                tensors.insert(format!("{prefix}.{name}"), HeldTensor::float(values.clone()));
            }
        }
        if let Some(basis) = self.basis() {
            tensors.insert(format!("{prefix}.basis"), HeldTensor::float(basis));
        }
    }

    /// Takes moments and basis out of a record.
    pub fn restore(
        &mut self,
        prefix: &str,
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<(), OptimError> {
        let entries = self.moment_entries() as u64;
        if let Some((dims, projector)) = &mut self.projected {
            let [side, rank] = projector.basis_dims(*dims);
            let basis = record.take(&format!("{prefix}.basis"), (side * rank) as u64)?;
            projector.basis = Some(Tensor::from_data(basis, (device, SAVED)));
        }
        let mut take = |name: &str| {
            let data = record.take(&format!("{prefix}.{name}"), entries)?;
            Ok::<_, OptimError>(Tensor::from_data(data, (device, SAVED)))
        };
        self.moments = Some(Moments {
            first: take("first")?,
            second: take("second")?,
        });
        Ok(())
    }

    /// Bytes of the tensors held.
    pub fn bytes(&self) -> u64 {
        let basis = self
            .basis()
            .map_or(0, |basis| basis.dims().iter().product::<usize>() as u64);
        let moments = self.moments.as_ref().map_or(0, Moments::entries);
        (basis + 2 * moments) * WORD_BYTES
    }

    /// What [`bytes`](Self::bytes) should be once a step was made: `4 (side r + 2 r other)`, or `8 n`.
    pub fn estimated_bytes(&self) -> u64 {
        if self.moments.is_none() {
            return 0;
        }
        let basis = self.basis_dims().map_or(0, |[side, rank]| side * rank);
        let entries = (basis + 2 * self.moment_entries()) as u64;
        entries * WORD_BYTES
    }
}
