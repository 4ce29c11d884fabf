//! State under a new mask: entries that stay keep their moments, those that join get some.
use super::{Carried, Form, Master, SparseState};
use crate::UpdateRule;
use crate::mask::Mask;
use crate::moments::Moments;
use blockllm_kernels::{Coding, EXCLUDED, with_values_at};
use burn::tensor::{Bool, DType, Int, Tensor};

impl SparseState {
    /// The same state for the entries that `mask` keeps. For an entry that comes in, `rule` tells what its
    /// `gradient` (f32, `[n_l]`) would have left.
    pub(crate) fn carried_over(self, mask: Mask, rule: &dyn UpdateRule, gradient: &Tensor<1>) -> Self {
        if matches!((&self.form, &mask), (Form::Whole, Mask::All)) {
            return self;
        }
        let mut next = Self::new(mask, self.estimate, rule, &gradient.device());
        let known = self.trained();
        let joining = rule.joining(self.steps, gradient.clone());
        let mut merged: Vec<_> = self
            .arrays
            .iter()
            .zip(joining)
            .map(|(array, joining)| match &known {
                None => array.load(),
                Some(known) => joining.mask_where(known.clone(), self.spread(array.load())),
            })
            .collect();
        if let Form::Dense = next.form {
            let excluded = next.arrays[0].load().equal_elem(EXCLUDED);
            merged[0] = merged[0].clone().mask_fill(excluded, EXCLUDED);
        }
        let laid_out = |values: Tensor<1>| match &next.form {
            Form::Whole | Form::Dense => values,
            Form::Compact(indices) => values.select(0, Tensor::clone(indices)),
        };
        let stored = merged.into_iter().enumerate().map(|(array, values)| {
            let coding = next.coding(array, Coding::nearest(rule.is_non_negative(array)));
            Moments::store(laid_out(values), next.estimate.moments, coding)
        });
        let stored: Vec<_> = stored.collect();
        next.arrays = stored;
        next.steps = self.steps;
        next.master = self.master.as_ref().map(|master| {
            Master::Carried(match master {
                Master::Ready(weights) => Box::new(Carried {
                    weights: self.spread(Tensor::clone(weights)),
                    known: known.unwrap_or_else(|| Tensor::clone(weights).equal(Tensor::clone(weights))),
                }),
                Master::Carried(carried) => carried.clone(),
            })
        });
        next
    }

    /// Which entries are trained, `[n_l]`; `None` when all are.
    pub(crate) fn trained(&self) -> Option<Tensor<1, Bool>> {
        match &self.form {
            Form::Whole => None,
            Form::Dense => Some(self.arrays[0].load().not_equal_elem(EXCLUDED)),
            Form::Compact(indices) => {
                let ones = Tensor::<1>::ones([indices.dims()[0]], (&indices.device(), DType::F32));
                Some(self.scattered(indices, ones).greater_elem(0.5))
            }
        }
    }

    /// `values`, laid out as the arrays are, over all entries; zero where there is none.
    fn spread(&self, values: Tensor<1>) -> Tensor<1> {
        match &self.form {
            Form::Whole | Form::Dense => values,
            Form::Compact(indices) => self.scattered(indices, values),
        }
    }

    fn scattered(&self, indices: &Tensor<1, Int>, values: Tensor<1>) -> Tensor<1> {
        let zeros = Tensor::<1>::full(
            [self.estimate.numel as usize],
            0.0,
            (&values.device(), DType::F32),
        );
        with_values_at(zeros, indices.clone(), values)
    }
}
