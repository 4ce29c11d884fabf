//! What a launch of an update is given, and how it becomes a kernel's arguments.

use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::{ArrayParts, Rounding, UpdateStep};
use super::rule::{Form, Kind, NumbersLaunch};
use crate::device::{element, empty};
use crate::dropout::keys_of;

/// Everything that a launch is given.
pub struct Given {
    pub weight: CubeTensor,
    pub gradient: CubeTensor,
    pub state: Vec<ArrayParts<CubeBackend>>,
    pub master: Option<CubeTensor>,
    pub clip: Option<CubeTensor>,
    pub indices: Option<CubeTensor>,
    /// Trained entries.
    pub trained: usize,
    pub kind: Kind,
    pub form: Form,
    pub step: UpdateStep,
}

impl Given {
    /// `tensor` as an argument. A kernel has all its arguments; what is not there is one number that it does not read.
    pub fn argument(&self, tensor: Option<&CubeTensor>, dtype: DType) -> BufferArg {
        let tensor = tensor.cloned();
        tensor
            .unwrap_or_else(|| empty(&self.weight, [1], dtype))
            .into_buffer_arg()
    }

    pub fn numbers(&self) -> NumbersLaunch {
        let c = self.step.coefficients();
        let [first_key, second_key] = match self.step.rounding {
            Rounding::Nearest => [0; 2],
            Rounding::Stochastic { seed } => keys_of(seed),
        };
        NumbersLaunch::new(
            c.keep_1,
            c.share_1,
            c.keep_2,
            c.share_2,
            c.correction,
            c.epsilon,
            c.scale,
            c.decay,
            first_key,
            second_key,
        )
    }

    pub fn types(&self) -> [ElemType; 2] {
        [element(&self.weight), element(&self.gradient)]
    }
}
