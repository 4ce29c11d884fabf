//! What is kept of one parameter: moments, and a projector when it is a projected matrix.
use super::adam::Moments;
use super::config::LowRankConfig;
use super::growth_limiter::GrowthLimiter;
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
    projected: Option<Projected>,
    moments: Option<Moments>,
    numel: u64,
}

/// What a projected matrix has beside its moments.
#[derive(Clone, Debug)]
struct Projected {
    /// `[d0, d1]`
    dims: [usize; 2],
    projector: Projector,
    /// Where the growth of updates is limited.
    limiter: Option<GrowthLimiter>,
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
    pub fn projected(dims: [usize; 2], projector: Projector, limiter: Option<GrowthLimiter>) -> Self {
        Self {
            projected: Some(Projected {
                dims,
                projector,
                limiter,
            }),
            moments: None,
            numel: (dims[0] * dims[1]) as u64,
        }
    }

    /// Whether the gradient is projected.
    pub fn is_projected(&self) -> bool {
        self.projected.is_some()
    }

    /// Whether the gradient is projected and there is no subspace yet: its first gradient may come later than the first step.
    pub fn needs_basis(&self) -> bool {
        self.projected
            .as_ref()
            .is_some_and(|projected| projected.basis().is_none())
    }

    /// Entries of the parameter.
    pub fn numel(&self) -> u64 {
        self.numel
    }

    /// The direction of the update, without step size: `m / (sqrt(v) + eps)`, or what the rule makes of it in a subspace.
    ///
    /// # Shapes
    /// `gradient` and output: `[n]`.
    pub fn direction(
        &mut self,
        gradient: Tensor<1>,
        config: &LowRankConfig,
        refresh: Option<Sketch>,
    ) -> Tensor<1> {
        let Some(projected) = &mut self.projected else {
            return Moments::update(&mut self.moments, &config.adam, gradient);
        };
        let (dims, projector) = (projected.dims, &mut projected.projector);
        let gradient = gradient.reshape(dims);
        if let Some(sketch) = refresh {
            projector.refresh(gradient.clone(), |matrix, rank| {
                config.rule.basis(matrix, rank, sketch)
            });
        }
        let low_rank = projector.project(gradient.clone());
        let low_rank_dims = low_rank.dims();
        let flat = low_rank.clone().reshape([low_rank_dims[0] * low_rank_dims[1]]);
        let adam = Moments::update(&mut self.moments, &config.adam, flat).reshape(low_rank_dims);
        let limiter = projected.limiter.as_mut();
        let direction = config
            .rule
            .direction(gradient, low_rank, adam, projector, limiter);
        direction.reshape([dims[0] * dims[1]])
    }

    /// Entries of one moment: `r other`, or `n`.
    pub fn moment_entries(&self) -> usize {
        match &self.projected {
            None => self.numel as usize,
            Some(projected) => projected.projector.low_rank_dims(projected.dims).iter().product(),
        }
    }

    /// Moments, basis and norm, under names that begin with `prefix`.
    pub fn record(&self, prefix: &str, tensors: &mut BTreeMap<String, HeldTensor>) {
        let mut insert = |name: &str, held| tensors.insert(format!("{prefix}.{name}"), held);
        if let Some(moments) = &self.moments {
            insert("first", HeldTensor::float(moments.first.clone()));
            insert("second", HeldTensor::float(moments.second.clone()));
        }
        if let Some(basis) = self.projected.as_ref().and_then(Projected::basis) {
            insert("basis", HeldTensor::float(basis.clone()));
        }
        if let Some(norm) = self.projected.as_ref().and_then(Projected::norm) {
            insert("norm", HeldTensor::float(norm.clone()));
        }
    }

    /// Takes moments, basis and norm out of a record.
    pub fn restore(
        &mut self,
        prefix: &str,
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<(), OptimError> {
        let entries = self.moment_entries();
        let mut take = |name: &str, entries: usize| record.take(&format!("{prefix}.{name}"), entries as u64);
        if let Some(projected) = &mut self.projected {
            let basis = take("basis", projected.basis_entries())?;
            projected.projector.basis = Some(Tensor::from_data(basis, (device, SAVED)));
            if let Some(limiter) = &mut projected.limiter {
                limiter.norm = Some(Tensor::from_data(take("norm", 1)?, (device, SAVED)));
            }
        }
        self.moments = Some(Moments {
            first: Tensor::from_data(take("first", entries)?, (device, SAVED)),
            second: Tensor::from_data(take("second", entries)?, (device, SAVED)),
        });
        Ok(())
    }

    /// Bytes of the tensors held.
    pub fn bytes(&self) -> u64 {
        let projected = self.projected.as_ref();
        let basis = projected.and_then(Projected::basis);
        let basis = basis.map_or(0, |basis| basis.dims().iter().product::<usize>() as u64);
        let norm = projected.and_then(Projected::norm).map_or(0, |_| 1);
        let moments = self.moments.as_ref().map_or(0, Moments::entries);
        (basis + norm + 2 * moments) * WORD_BYTES
    }

    /// What [`bytes`](Self::bytes) should be once a step was made: `4 (side r + 2 r other)`, and 4 more for a norm, or
    /// `8 n`.
    pub fn estimated_bytes(&self) -> u64 {
        if self.moments.is_none() {
            return 0;
        }
        let beside = self.projected.as_ref().map_or(0, |projected| {
            projected.basis_entries() + usize::from(projected.limiter.is_some())
        });
        (beside + 2 * self.moment_entries()) as u64 * WORD_BYTES
    }
}

impl Projected {
    /// Entries of the basis, `side r`.
    fn basis_entries(&self) -> usize {
        self.projector.basis_dims(self.dims).iter().product()
    }

    /// The basis held, `[side, r]`.
    fn basis(&self) -> Option<&Tensor<2>> {
        self.projector.basis.as_ref()
    }

    /// The norm of the last update, `[1]`, where its growth is limited.
    fn norm(&self) -> Option<&Tensor<1>> {
        self.limiter.as_ref()?.norm.as_ref()
    }
}
