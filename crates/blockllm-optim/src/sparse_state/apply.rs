//! One update of a parameter: in one pass where the rule has a kernel, composed of tensor operations where it has none.
use super::{Form, Master, SparseState};
use crate::moments::Moments;
use crate::pieces::update_in_pieces;
use crate::precision::{cast_to, in_f32};
use crate::{Parameter, StepContext, UpdateRule};
use blockllm_kernels::{
    Coding, EXCLUDED, Rounding, Trained, TrainedEntries, UpdateStep, update, with_values_at,
};
use burn::tensor::{Int, Tensor};

/// What is applied to a parameter.
#[derive(Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub rule: &'a dyn UpdateRule,
    pub learning_rate: f64,
    pub parameter: &'a Parameter,
    /// What the gradient is multiplied with: `[1]`.
    pub clip: Option<&'a Tensor<1>>,
    /// Of weights in half precision without a master copy, under a rule that has a kernel.
    pub rounding: Rounding,
}

impl SparseState {
    /// The updated weight: trained entries changed by the rule, all others the same bits.
    ///
    /// # Shapes
    /// `weight` and `gradient` of any float type: `[n_l]`.
    pub(crate) fn apply(&mut self, step: Applied<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let Applied {
            rule,
            learning_rate,
            parameter,
            clip,
            rounding,
        } = step;
        self.steps += 1;
        let context = StepContext {
            learning_rate,
            state_step: self.steps,
            parameter,
        };
        let master = self.estimate.master.then(|| self.trained_weights(&weight));
        let (weight, master) = match rule.fused() {
            Some(fused) => {
                let step = UpdateStep {
                    rule: fused,
                    learning_rate,
                    state_step: self.steps,
                    rounding,
                    codings: [0, 1].map(|array| self.coding_of_step(rule, array)),
                };
                self.in_one_pass(step, weight, master, gradient, clip)
            }
            None => self.composed(rule, context, weight, master, gradient, clip),
        };
        self.master = master.map(|weights| Master::Ready(Box::new(weights)));
        weight
    }

    /// How an array is coded that is stored anew in this step.
    fn coding_of_step(&self, rule: &dyn UpdateRule, array: usize) -> Coding {
        self.coding(
            array,
            Coding::of_step(rule.is_non_negative(array), self.steps, array),
        )
    }

    /// The updated weight and its master copy; the kernel has a rule's `step`, and codes of state within it.
    fn in_one_pass(
        &mut self,
        step: UpdateStep,
        weight: Tensor<1>,
        master: Option<Tensor<1>>,
        gradient: Tensor<1>,
        clip: Option<&Tensor<1>>,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let (entries, len) = match &self.form {
            Form::Whole => (TrainedEntries::All, self.estimate.numel),
            Form::Dense => (TrainedEntries::Marked, self.estimate.numel),
            Form::Compact(indices) => (TrainedEntries::At(indices), self.estimate.trained),
        };
        let trained = Trained {
            weight,
            state: self.arrays.drain(..).map(Moments::into_kernel).collect(),
            master,
        };
        let trained = update(trained, gradient, clip, entries, step);
        let arrays = trained.state.into_iter().zip(step.codings);
        self.arrays = arrays
            .map(|(array, coding)| Moments::from_kernel(array, len as usize, coding))
            .collect();
        (trained.weight, trained.master)
    }

    /// The same of a rule without a kernel.
    fn composed(
        &mut self,
        rule: &dyn UpdateRule,
        context: StepContext<'_>,
        weight: Tensor<1>,
        master: Option<Tensor<1>>,
        gradient: Tensor<1>,
        clip: Option<&Tensor<1>>,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let state = self.arrays.drain(..).map(|array| array.load()).collect();
        let keeps_master = master.is_some();
        let mut gradient = in_f32(gradient);
        if let Some(clip) = clip {
            gradient = gradient * clip.clone();
        }
        let dtype = weight.dtype();
        let (weight, precise, state) = match &self.form {
            form @ (Form::Whole | Form::Dense) => {
                // Only one copy may be left, so that pieces can be written in place.
                let precise = match master {
                    Some(master) => {
                        drop(weight);
                        master
                    }
                    None => in_f32(weight),
                };
                let update = |weight, gradient, state| match form {
                    Form::Dense => update_dense(rule, context, weight, gradient, state),
                    Form::Whole | Form::Compact(_) => update_whole(rule, context, weight, gradient, state),
                };
                let (precise, state) = update_in_pieces(precise, gradient, state, update);
                (cast_to(precise.clone(), dtype), precise, state)
            }
            Form::Compact(indices) => {
                let at = |values: Tensor<1>| values.select(0, Tensor::clone(indices));
                let precise = master.unwrap_or_else(|| in_f32(at(weight.clone())));
                let (precise, state) = update_whole(rule, context, precise, at(gradient), state);
                let rounded = cast_to(precise.clone(), dtype);
                let weight = with_values_at(weight, Tensor::clone(indices), rounded);
                (weight, precise, state)
            }
        };
        let store =
            |(array, values)| Moments::store(values, self.estimate.moments, self.coding_of_step(rule, array));
        self.arrays = state.into_iter().enumerate().map(store).collect();
        (weight, keeps_master.then_some(precise))
    }

    /// The weights that the update starts from, in f32 and laid out as the arrays are.
    fn trained_weights(&mut self, weight: &Tensor<1>) -> Tensor<1> {
        let laid_out = |weights: Tensor<1>| match &self.form {
            Form::Whole | Form::Dense => weights,
            Form::Compact(indices) => weights.select(0, Tensor::<1, Int>::clone(indices)),
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

fn update_whole(
    rule: &dyn UpdateRule,
    context: StepContext<'_>,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: Vec<Tensor<1>>,
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let (change, state) = rule.update(context, weight.clone(), gradient, state);
    (weight + change, state)
}

fn update_dense(
    rule: &dyn UpdateRule,
    context: StepContext<'_>,
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
