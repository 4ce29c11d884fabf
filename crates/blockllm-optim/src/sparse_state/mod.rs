//! Optimizer state of one parameter: whole, dense under a mask, or compact; the cheaper form is chosen.
mod carry;
mod estimate;
mod record;

pub use estimate::StateEstimate;
pub(crate) use record::SparseStateRecord;

use crate::moments::{Moments, bytes_of};
use crate::pieces::update_in_pieces;
use crate::precision::{cast_to, in_f32};
use crate::quantized::Coding;
use crate::total::total;
use crate::{StepContext, TopK, UpdateRule};
use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use estimate::Layout;

/// Marks an excluded entry in the first state array of the dense form. No momentum reaches the largest float,
/// and comparing with it is exact on every backend, which NaN is not.
const EXCLUDED: f32 = f32::MAX;

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
    /// Fresh state for the entries that `mask` keeps of a parameter; `settings` tells all but how many those are.
    pub(crate) fn new(mask: TopK, settings: StateEstimate, device: &Device) -> Self {
        let estimate = StateEstimate {
            trained: mask.kept(settings.numel),
            ..settings
        };
        let zeros = |len: u64| Tensor::<1>::zeros([len as usize], (device, DType::F32));
        // Zeros are coded alike whether an array may be negative or not, and the first update codes them anew.
        let store = |values| Moments::store(values, estimate.array_precision(), Coding::nearest(false));
        let (form, first, rest) = match (estimate.layout(), mask) {
            (Layout::Dense, TopK::Some(kept)) => {
                let mut first = vec![EXCLUDED; estimate.numel as usize];
                for index in kept {
                    first[index as usize] = 0.0;
                }
                let shape = [first.len()];
                let first = Tensor::from_data(TensorData::new(first, shape), (device, DType::F32));
                (Form::Dense, Some(first), estimate.numel)
            }
            (Layout::Compact, TopK::Some(kept)) => {
                let data = TensorData::new(kept, [estimate.trained as usize]);
                let indices = Tensor::from_data(data, (device, DType::I32));
                (Form::Compact(Box::new(indices)), None, estimate.trained)
            }
            _ => (Form::Whole, None, estimate.numel),
        };
        let first = first.unwrap_or_else(|| zeros(rest));
        let later = (1..estimate.arrays).map(|_| store(zeros(rest)));
        Self {
            form,
            arrays: std::iter::once(store(first)).chain(later).collect(),
            master: None,
            estimate,
            steps: 0,
        }
    }

    /// The updated weight: trained entries changed by `rule`, all others the same bits.
    ///
    /// # Shapes
    /// `weight` of any float type and `gradient` in f32: `[n_l]`.
    pub(crate) fn apply(
        &mut self,
        rule: &dyn UpdateRule,
        learning_rate: f64,
        weight: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        self.steps += 1;
        let context = StepContext {
            learning_rate,
            state_step: self.steps,
        };
        let dtype = weight.dtype();
        let state: Vec<_> = self.arrays.drain(..).map(|array| array.load()).collect();
        let trained = self.trained_weights(&weight);
        let (weight, trained, state) = match &self.form {
            form @ (Form::Whole | Form::Dense) => {
                // Only the copies may be left, so that pieces can be written in place.
                drop(weight);
                let update = |weight, gradient, state| match form {
                    Form::Dense => update_dense(rule, context, weight, gradient, state),
                    Form::Whole | Form::Compact(_) => update_whole(rule, context, weight, gradient, state),
                };
                let (trained, state) = update_in_pieces(trained, gradient, state, update);
                (cast_to(trained.clone(), dtype), Some(trained), state)
            }
            Form::Compact(indices) => {
                let gradient = gradient.select(0, Tensor::clone(indices));
                let (change, state) = rule.update(context, trained.clone(), gradient, state);
                let changed = added(weight, indices, &trained, &change);
                let trained = self.estimate.master.then(|| trained + change);
                (changed, trained, state)
            }
        };
        self.master = trained
            .filter(|_| self.estimate.master)
            .map(|trained| Master::Ready(Box::new(trained)));
        let precision = self.estimate.array_precision();
        let store = |(array, values)| {
            let coding = Coding::of_step(rule.is_non_negative(array), self.steps, array);
            Moments::store(values, precision, coding)
        };
        self.arrays = state.into_iter().enumerate().map(store).collect();
        weight
    }

    /// The sum of squares of the processed gradient that the latest update followed, over the trained entries:
    /// `[1]`; `None` before the first update.
    pub(crate) fn processed_sum(&self, rule: &dyn UpdateRule) -> Option<Tensor<1>> {
        if self.steps == 0 {
            return None;
        }
        let state: Vec<_> = self.arrays.iter().map(Moments::load).collect();
        let processed = rule.processed(self.steps, &state);
        let processed = match self.form {
            Form::Dense => processed.mask_fill(state[0].clone().equal_elem(EXCLUDED), 0.0),
            Form::Whole | Form::Compact(_) => processed,
        };
        Some(total(processed.square()))
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

    /// The weights that the update starts from, in f32 and laid out as the arrays are.
    fn trained_weights(&mut self, weight: &Tensor<1>) -> Tensor<1> {
        let laid_out = |weights: Tensor<1>| match &self.form {
            Form::Whole | Form::Dense => weights,
            Form::Compact(indices) => weights.select(0, Tensor::clone(indices)),
        };
        match self.master.take() {
            None => in_f32(laid_out(weight.clone())),
            Some(Master::Ready(weights)) => *weights,
            Some(Master::Carried(carried)) => {
                laid_out(in_f32(weight.clone()).mask_where(carried.known, carried.weights))
            }
        }
    }
}

/// `weight` with `change` added to its entries at `indices`, whose precise values are `trained`.
fn added(weight: Tensor<1>, indices: &Tensor<1, Int>, trained: &Tensor<1>, change: &Tensor<1>) -> Tensor<1> {
    let dtype = weight.dtype();
    if dtype == DType::F32 {
        return weight.select_assign(0, indices.clone(), change.clone(), IndexingUpdateOp::Add);
    }
    // Backends add at indices but need not overwrite there. In f32 the difference of two rounded weights leads back
    // to the new one, and every entry without a difference keeps its bits.
    let weight = in_f32(weight);
    let rounded = in_f32(cast_to(trained.clone() + change.clone(), dtype));
    let difference = rounded - weight.clone().select(0, indices.clone());
    cast_to(
        weight.select_assign(0, indices.clone(), difference, IndexingUpdateOp::Add),
        dtype,
    )
}

fn update_whole(
    rule: &dyn UpdateRule,
    context: StepContext,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: Vec<Tensor<1>>,
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let (change, state) = rule.update(context, weight.clone(), gradient, state);
    (weight + change, state)
}

fn update_dense(
    rule: &dyn UpdateRule,
    context: StepContext,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: Vec<Tensor<1>>,
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let excluded = state[0].clone().equal_elem(EXCLUDED);
    let (change, mut state) = rule.update(context, weight.clone(), gradient, state);
    let first = state.remove(0).mask_fill(excluded.clone(), EXCLUDED);
    state.insert(0, first);
    // `w + 0` would turn -0.0 into 0.0: an excluded entry keeps its bits only when it is put back.
    ((weight.clone() + change).mask_where(excluded, weight), state)
}
