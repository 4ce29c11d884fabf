//! Handing gradients over part by part, those of shared parameters at the end.
use crate::GradientSum;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::BTreeSet;

/// What has been handed over, and what waits.
pub(crate) struct Parts<'a> {
    shared: &'a BTreeSet<ParamId>,
    waiting: GradientSum,
    given: BTreeSet<ParamId>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(shared: &'a BTreeSet<ParamId>) -> Self {
        Self {
            shared,
            waiting: GradientSum::default(),
            given: BTreeSet::new(),
        }
    }

    /// Gives `take` the gradients of a part, but for shared parameters.
    pub(crate) fn give<M: Module, E>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        take: &mut impl FnMut(M, GradientsParams) -> Result<M, E>,
    ) -> Result<M, E> {
        if gradients.is_empty() {
            return Ok(model);
        }
        let mut sorter = Sorter {
            parts: self,
            own: gradients,
            shared: GradientsParams::new(),
        };
        model.visit(&mut sorter);
        let Sorter { own, shared, .. } = sorter;
        self.waiting.add(&model, shared);
        if own.is_empty() {
            return Ok(model);
        }
        take(model, own)
    }

    /// Gives what waited.
    pub(crate) fn finish<M, E>(
        mut self,
        model: M,
        take: &mut impl FnMut(M, GradientsParams) -> Result<M, E>,
    ) -> Result<M, E> {
        let waiting = self.waiting.take();
        if waiting.is_empty() {
            return Ok(model);
        }
        take(model, waiting)
    }
}

struct Sorter<'a, 'b> {
    parts: &'a mut Parts<'b>,
    own: GradientsParams,
    shared: GradientsParams,
}

impl ModuleVisitor for Sorter<'_, '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.own.get::<D>(param.id).is_none() {
            return;
        }
        if self.parts.shared.contains(&param.id) {
            let gradient = self.own.remove::<D>(param.id).expect("it was there");
            self.shared.register(param.id, gradient);
        } else {
            assert!(
                self.parts.given.insert(param.id),
                "a parameter of shape {:?} is used in two parts of the stack: name it in `Stack::with_shared`",
                param.lazy_shape()
            );
        }
    }
}
