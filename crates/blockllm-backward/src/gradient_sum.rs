//! Sums of gradients over micro-batches, in f32 whatever the type of the weights.
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

/// What has been added so far. A single summand stays as it is; with a second the sum is in f32, in which hundreds of
/// small ones are not lost.
#[derive(Debug, Default)]
pub struct GradientSum {
    sum: GradientsParams,
}

impl GradientSum {
    /// Adds the gradients of parameters of `module`.
    pub fn add<M: Module>(&mut self, module: &M, mut gradients: GradientsParams) {
        if self.sum.is_empty() {
            self.sum = gradients;
        } else if !gradients.is_empty() {
            module.visit(&mut Adder {
                sum: &mut self.sum,
                gradients: &mut gradients,
            });
        }
    }

    /// Adds what was summed before to the `gradients` of some parameters, and keeps the rest.
    pub fn add_to<M: Module>(&mut self, module: &M, mut gradients: GradientsParams) -> GradientsParams {
        if !self.sum.is_empty() {
            module.visit(&mut Mover {
                from: &mut self.sum,
                to: &mut gradients,
            });
        }
        gradients
    }

    /// All that was added and not taken since.
    pub fn take(&mut self) -> GradientsParams {
        std::mem::take(&mut self.sum)
    }

    /// The gradients so far.
    pub fn gradients(&self) -> &GradientsParams {
        &self.sum
    }
}

/// Bytes of the gradients of `module`'s parameters.
pub fn gradient_bytes<M: Module>(module: &M, gradients: &GradientsParams) -> u64 {
    if gradients.is_empty() {
        return 0;
    }
    let mut counter = Counter { gradients, bytes: 0 };
    module.visit(&mut counter);
    counter.bytes
}

fn sum<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    left.cast(DType::F32) + right.cast(DType::F32)
}

struct Adder<'a> {
    sum: &'a mut GradientsParams,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        let added = match self.sum.remove::<D>(param.id) {
            Some(before) => sum(before, gradient),
            None => gradient,
        };
        self.sum.register(param.id, added);
    }
}

struct Mover<'a> {
    from: &'a mut GradientsParams,
    to: &'a mut GradientsParams,
}

impl ModuleVisitor for Mover<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.to.remove::<D>(param.id) else {
            return;
        };
        let added = match self.from.remove::<D>(param.id) {
            Some(before) => sum(before, gradient),
            None => gradient,
        };
        self.to.register(param.id, added);
    }
}

struct Counter<'a> {
    gradients: &'a GradientsParams,
    bytes: u64,
}

impl ModuleVisitor for Counter<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.bytes += (gradient.shape().num_elements() * gradient.dtype().size()) as u64;
        }
    }
}
