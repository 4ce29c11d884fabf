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
            module.visit(&mut Joiner {
                part: &mut gradients,
                other: &mut self.sum,
                into_part: false,
            });
        }
    }

    /// Adds what was summed before to the `gradients` of some parameters, and keeps the rest.
    pub fn add_to<M: Module>(&mut self, module: &M, mut gradients: GradientsParams) -> GradientsParams {
        if !self.sum.is_empty() {
            module.visit(&mut Joiner {
                part: &mut gradients,
                other: &mut self.sum,
                into_part: true,
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

/// Adds the gradients of the parameters in `part` to those in `other`.
struct Joiner<'a> {
    part: &'a mut GradientsParams,
    other: &'a mut GradientsParams,
    /// Whether the sums go into `part`, else into `other`.
    into_part: bool,
}

impl ModuleVisitor for Joiner<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.part.remove::<D>(param.id) else {
            return;
        };
        let sum = match self.other.remove::<D>(param.id) {
            Some(before) => before.cast(DType::F32) + gradient.cast(DType::F32),
            None => gradient,
        };
        let into = if self.into_part {
            &mut *self.part
        } else {
            &mut *self.other
        };
        into.register(param.id, sum);
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
