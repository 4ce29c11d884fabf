//! The gradients of one step as they come, whole or in parts: which are used at once, which wait for the rest.
use crate::{OptimError, Parameter};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Takes a part of the gradients of a backward pass: the module with them, and the module back.
pub type TakeGradients<'a, M> = dyn FnMut(M, GradientsParams) -> Result<M, OptimError> + 'a;

/// What a step has been given so far.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Parameters that a gradient was given for, by position.
    given: BTreeSet<usize>,
    waiting: GradientsParams,
    waiting_bytes: u64,
}

/// What a step was given in the end.
#[derive(Debug)]
pub(crate) struct Given {
    /// All parameters that a gradient was given for, by position.
    pub all: BTreeSet<usize>,
    /// Those of them that are trained.
    pub trained: BTreeSet<usize>,
    /// Paths of the others: parameters that this step's loss does not depend on, such as those of an expert that no token
    /// went to. They stay as they are.
    pub without_gradient: Vec<String>,
    /// All gradients that waited.
    pub waiting: GradientsParams,
}

impl Parts {
    /// Notes that gradients were given for `found`.
    ///
    /// # Errors
    /// When one was given before.
    pub(crate) fn note(
        &mut self,
        found: &BTreeSet<usize>,
        parameters: &[Parameter],
    ) -> Result<(), OptimError> {
        if let Some(twice) = found.intersection(&self.given).next() {
            return Err(OptimError::GradientTwice {
                path: parameters[*twice].info.path.clone(),
            });
        }
        self.given.extend(found);
        Ok(())
    }

    /// Lets the gradients of the parameters in `wait` wait, drops those of all that are not in `now` either, and gives
    /// the rest back.
    pub(crate) fn sort<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
        index: &BTreeMap<ParamId, usize>,
        wait: &BTreeSet<usize>,
        now: &BTreeSet<usize>,
    ) -> GradientsParams {
        let mut sorter = Sorter {
            parts: self,
            gradients,
            now_gradients: GradientsParams::new(),
            index,
            wait,
            now,
        };
        module.visit(&mut sorter);
        sorter.now_gradients
    }

    /// Ends the step that trains the parameters in `trained`: what it was given. Nothing was given to the next one yet,
    /// whatever comes of this one.
    ///
    /// # Errors
    /// When there is no gradient at all.
    pub(crate) fn finish(
        &mut self,
        trained: BTreeSet<usize>,
        parameters: &[Parameter],
    ) -> Result<Given, OptimError> {
        let Self { given, waiting, .. } = std::mem::take(self);
        let path = |param: &usize| parameters[*param].info.path.clone();
        let (with, without): (BTreeSet<_>, BTreeSet<_>) =
            trained.into_iter().partition(|param| given.contains(param));
        match without.first() {
            Some(param) if with.is_empty() => Err(OptimError::MissingGradient { path: path(param) }),
            _ => Ok(Given {
                all: given,
                trained: with,
                without_gradient: without.iter().map(path).collect(),
                waiting,
            }),
        }
    }

    /// Bytes of the gradients that wait.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }
}

struct Sorter<'a> {
    parts: &'a mut Parts,
    gradients: GradientsParams,
    now_gradients: GradientsParams,
    index: &'a BTreeMap<ParamId, usize>,
    wait: &'a BTreeSet<usize>,
    now: &'a BTreeSet<usize>,
}

impl ModuleVisitor for Sorter<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(position) = self.index.get(&param.id) else {
            return;
        };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        if self.wait.contains(position) {
            self.parts.waiting_bytes += (gradient.shape().num_elements() * gradient.dtype().size()) as u64;
            self.parts.waiting.register(param.id, gradient);
        } else if self.now.contains(position) {
            self.now_gradients.register(param.id, gradient);
        }
    }
}
