//! Optimizer state of one parameter: whole, dense under a mask, or compact; the cheaper form is chosen.
mod apply;
mod carry;
mod estimate;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use apply::Applied;
pub use estimate::StateEstimate;
pub(crate) use record::SparseStateRecord;

use crate::UpdateRule;
use crate::mask::Mask;
use crate::moments::{Moments, bytes_of};
use blockllm_kernels::{Coding, EXCLUDED, Stay};
use burn::tensor::{Bool, Device, Int, Tensor};
use estimate::Layout;

/// State of the trained entries of one parameter.
#[derive(Debug)]
pub(crate) struct SparseState {
    form: Form,
    arrays: Vec<Moments>,
    master: Option<Master>,
    /// Sizes and precisions; what the bytes should be.
    estimate: StateEstimate,
    steps: u64,
}

#[derive(Debug)]
enum Form {
    /// Every entry is trained.
    Whole,
    /// Arrays over all entries; [`EXCLUDED`] marks those that are not trained.
    Dense,
    /// Arrays over the trained entries, and their indices.
    Compact(Box<Tensor<1, Int>>),
}

/// The f32 copy of the trained weights, laid out as the arrays are; made from the weight at the first update, so
/// that steps below the weight's own resolution add up. When the block leaves the selection the weight keeps the
/// rounded value: at most half a unit in the last place is lost.
#[derive(Debug)]
enum Master {
    Ready(Box<Tensor<1>>),
    /// Copies of the entries in `known`, over all entries; the others are to be taken from the weight.
    Carried(Box<Carried>),
}

#[derive(Clone, Debug)]
struct Carried {
    weights: Tensor<1>,
    known: Tensor<1, Bool>,
}

impl SparseState {
    /// Fresh state of `rule` for the entries that `mask` keeps of a parameter; `settings` tells all but how many those are.
    pub(crate) fn new(mask: Mask, settings: StateEstimate, rule: &dyn UpdateRule, device: &Device) -> Self {
        let estimate = StateEstimate {
            trained: mask.kept(settings.numel),
            ..settings
        };
        let (form, mut first, rest) = match (estimate.layout(), mask) {
            (Layout::Dense, Mask::Some(kept)) => (Form::Dense, Some(kept.marked(EXCLUDED)), estimate.numel),
            (Layout::Compact, Mask::Some(kept)) => {
                (Form::Compact(Box::new(kept.indices())), None, estimate.trained)
            }
            _ => (Form::Whole, None, estimate.numel),
        };
        let excluding = matches!(form, Form::Dense);
        let array = |array| {
            let coding = Coding::nearest(rule.is_non_negative(array)).with_excluded(excluding && array == 0);
            match first.take() {
                Some(marks) => Moments::store(marks, estimate.moments, coding),
                None => Moments::zeros(rest, estimate.moments, coding, device),
            }
        };
        Self {
            arrays: (0..estimate.arrays as usize).map(array).collect(),
            form,
            master: None,
            estimate,
            steps: 0,
        }
    }

    /// The processed gradient that the latest update followed, laid out as the arrays are and zero for entries that are
    /// not trained; `None` before the first update.
    pub(crate) fn processed(&self, rule: &dyn UpdateRule) -> Option<Tensor<1>> {
        if self.steps == 0 {
            return None;
        }
        let state: Vec<_> = self.arrays.iter().map(Moments::load).collect();
        let processed = rule.processed(self.steps, &state);
        Some(match self.form {
            Form::Dense => processed.mask_fill(state[0].clone().equal_elem(EXCLUDED), 0.0),
            Form::Whole | Form::Compact(_) => processed,
        })
    }

    /// How `array` is coded beside what its values ask for: the first one of the dense form tells what is not trained.
    fn coding(&self, array: usize, of_values: Coding) -> Coding {
        of_values.with_excluded(array == 0 && matches!(self.form, Form::Dense))
    }

    /// Which share of its full length the next update has: updates grow over the state's first `ramp` steps. One clock is for all
    /// entries: settings under which some would join later are refused with a ramp.
    pub(crate) fn ramp(&self, ramp: u64) -> f64 {
        if self.steps + 1 >= ramp {
            1.0
        } else {
            (self.steps + 1) as f64 / ramp as f64
        }
    }

    /// Whether every entry is trained.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.form, Form::Whole)
    }

    /// `work` told that the trained entries stay.
    pub(crate) fn with_staying<R>(&self, work: impl FnOnce(Stay<'_>) -> R) -> R {
        match &self.form {
            Form::Whole => unreachable!("the caller moves nothing of a parameter that is trained whole"),
            Form::Dense => work(Stay::Unmarked(&self.arrays[0].load())),
            Form::Compact(indices) => work(Stay::At(indices)),
        }
    }

    /// Entries that are trained.
    pub(crate) fn trained_entries(&self) -> u64 {
        self.estimate.trained
    }

    /// Bytes of the tensors held, counted from their shapes and types.
    pub(crate) fn bytes(&self) -> u64 {
        let of = |len: usize, dtype| bytes_of(len, dtype);
        let indices = match &self.form {
            Form::Compact(indices) => of(indices.dims()[0], indices.dtype()),
            Form::Whole | Form::Dense => 0,
        };
        let master = match &self.master {
            Some(Master::Ready(weights)) => of(weights.dims()[0], weights.dtype()),
            Some(Master::Carried(carried)) => of(carried.weights.dims()[0], carried.weights.dtype()),
            None => 0,
        };
        indices + master + self.arrays.iter().map(Moments::bytes).sum::<u64>()
    }

    /// What [`bytes`](Self::bytes) should be once the first update has made the master copy.
    pub(crate) fn estimate(&self) -> StateEstimate {
        self.estimate
    }
}
