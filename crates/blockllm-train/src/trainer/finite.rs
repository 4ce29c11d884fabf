//! Are the numbers of a step finite? Asked before its update where such a step is to be skipped, since no update can be
//! taken back.
use blockllm_optim::GradientsParams;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

/// The norm of all `gradients` of `module`, summed in f32: `[1]`; `None` where there are none.
pub(super) fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares { gradients, sum: None };
    module.visit(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let squares = gradient.cast(DType::F32).square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}
