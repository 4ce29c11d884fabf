//! Types of weights and statistics: weights may be in half precision, statistics are always in f32.
use crate::OptimError;
use crate::autodiff_context::AutodiffContext;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};

/// `module` with all float parameters in `dtype`: bf16 halves the memory of the weights.
///
/// # Errors
/// When a device of the module cannot compute in `dtype`.
pub fn cast_module<M: Module>(module: M, dtype: DType) -> Result<M, OptimError> {
    for device in module.devices() {
        check_dtype(&device, dtype)?;
    }
    Ok(module.map(&mut Caster(dtype)))
}

/// Refuses a type that `device` cannot compute in.
///
/// # Errors
/// Names the device and the type.
pub fn check_dtype(device: &Device, dtype: DType) -> Result<(), OptimError> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    Err(OptimError::UnsupportedDtype {
        device: format!("{device:?}"),
        dtype: format!("{dtype:?}").to_lowercase(),
    })
}

struct Caster(DType);

impl ModuleMapper for Caster {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let context = AutodiffContext::capture(&tensor);
        let tensor = if tensor.is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        Param::from_mapped_value(id, context.restore(cast_to(tensor, self.0)), mapper)
    }
}

/// `tensor` in f32; itself if it is already.
pub(crate) fn in_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    cast_to(tensor, DType::F32)
}

/// `tensor` in `dtype`; itself if it is already.
pub(crate) fn cast_to<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        tensor.cast(dtype)
    }
}
