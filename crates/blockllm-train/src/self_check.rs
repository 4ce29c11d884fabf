//! The check before the first step: the device and flex compute the same loss and the same gradient norms.
//!
//! Kernels that are fused or tuned on a user's GPU are combinations that nobody has run before, and a wrong one looks like
//! a bad learning rate. So a run begins with a few labels on both devices, and a difference stops it.
pub use crate::config::WhenToCheck;
use crate::{DeviceChoice, Objective, Setup, TrainError, device};
use blockllm_optim::{GradientsParams, parameters, set_trainable};
use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Entries whose gradients are compared, at most; the smallest parameters come first, so that every layer has some. A
/// check must fit beside a model that itself just fits.
const COMPARED_ENTRIES: u64 = 32 << 20;
/// A larger model is not copied to the host for the check.
const LARGEST_MODEL: u64 = 2 << 30;
/// Of a loss, relative; bf16 rounds at 2^-8.
const LOSS_TOLERANCE: f64 = 5e-3;
/// Of a gradient norm, relative to it or to a hundredth of the largest.
const NORM_TOLERANCE: f64 = 5e-2;

/// What a device and flex said of the same few labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfCheck {
    /// The loss on the device.
    pub loss: f64,
    /// The loss on flex.
    pub flex_loss: f64,
    /// How many gradient norms were compared.
    pub norms: usize,
    /// The largest difference of a norm, relative to it or to a hundredth of the largest.
    pub worst_norm: f64,
    /// The parameter it is of.
    pub worst_parameter: String,
}

/// The check that the setup asks for; `None` where it asks for none, or none can be made.
pub(crate) fn before_training<O: Objective>(
    setup: &Setup<'_, O>,
    model: &O::Model,
) -> Result<Option<SelfCheck>, TrainError> {
    let wanted = match setup.config.self_check {
        WhenToCheck::Never => false,
        WhenToCheck::Always => true,
        WhenToCheck::OnGpu => device::is_real_gpu(setup.device),
    };
    if !wanted || !DeviceChoice::Flex.is_built_in() {
        return Ok(None);
    }
    let flex = DeviceChoice::Flex.open()?;
    let entries: u64 = parameters(model)
        .iter()
        .map(|parameter| parameter.info.numel)
        .sum();
    if setup.device.clone().without_autodiff() == flex || entries > LARGEST_MODEL {
        return Ok(None);
    }
    let Some(batch) = setup
        .validation
        .iter()
        .find_map(|batch| setup.objective.excerpt(batch))
    else {
        return Ok(None);
    };
    let check = compare(setup.objective, model, &batch, setup.device, &flex.autodiff())?;
    // What the check allocated is not the run's.
    setup.device.clone().without_autodiff().memory_cleanup();
    Ok(Some(check))
}

/// Computes loss and gradient norms of `batch` on both devices, without dropout.
///
/// # Errors
/// When they differ by more than rounding in another order explains, or a device fails.
pub fn compare<O: Objective>(
    objective: &O,
    model: &O::Model,
    batch: &O::Batch,
    device: &Device,
    reference: &Device,
) -> Result<SelfCheck, TrainError> {
    let (ids, names) = compared(model);
    let plain = model.clone().map(&mut WithoutFlags);
    let elsewhere = plain.clone().fork(reference);
    let found = measure(objective, plain, batch, device, &ids)?;
    let expected = measure(objective, elsewhere, batch, reference, &ids)?;
    let bf16 = parameters(model)
        .iter()
        .any(|parameter| parameter.dtype == DType::BF16);
    judge(&found, &expected, &names, if bf16 { 4.0 } else { 1.0 })
}

/// The smallest parameters, as many as may be compared, in visiting order.
fn compared<M: Module>(model: &M) -> (BTreeSet<ParamId>, Vec<String>) {
    let all = parameters(model);
    let mut by_size: Vec<_> = all.iter().collect();
    by_size.sort_by_key(|parameter| parameter.info.numel);
    let mut entries = 0;
    let ids: BTreeSet<_> = by_size
        .into_iter()
        .take_while(|parameter| {
            entries += parameter.info.numel;
            entries <= COMPARED_ENTRIES
        })
        .map(|parameter| parameter.id)
        .collect();
    let names = all.iter().filter(|parameter| ids.contains(&parameter.id));
    let names = names.map(|parameter| parameter.info.path.clone()).collect();
    (ids, names)
}

/// The loss, and after it the gradient norm of every parameter in `ids`, in visiting order.
fn measure<O: Objective>(
    objective: &O,
    model: O::Model,
    batch: &O::Batch,
    device: &Device,
    ids: &BTreeSet<ParamId>,
) -> Result<Vec<f64>, TrainError> {
    let model = set_trainable(model, ids);
    let loss = objective.loss(&model, batch, device);
    let value = loss.clone().inner().cast(DType::F32);
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut norms = Norms {
        ids,
        gradients: &gradients,
        found: vec![value],
    };
    model.visit(&mut norms);
    let data = Tensor::cat(norms.found, 0)
        .try_into_data()
        .map_err(|error| TrainError::Device {
            what: "the loss and gradient norms of the self-check",
            message: error.to_string(),
        })?;
    Ok(data.iter::<f64>().collect())
}

/// Compares `[loss, norms..]` of both devices.
fn judge(found: &[f64], expected: &[f64], names: &[String], scale: f64) -> Result<SelfCheck, TrainError> {
    let refuse = |message: String| Err(TrainError::SelfCheck { message });
    let (loss, flex_loss) = (found[0], expected[0]);
    // A difference that is not a number is no agreement, hence `<=` and not its opposite.
    let close = (loss - flex_loss).abs() <= scale * LOSS_TOLERANCE * flex_loss.abs().max(1e-2);
    if !close {
        return refuse(format!(
            "the loss of a small batch is {loss}, on flex {flex_loss}"
        ));
    }
    let largest = expected[1..]
        .iter()
        .fold(0.0_f64, |largest, norm| largest.max(*norm));
    let error = |place: usize| {
        let (found, expected) = (found[place], expected[place]);
        (found - expected).abs() / expected.max(1e-2 * largest).max(f64::MIN_POSITIVE)
    };
    let worse = |a: usize, b: usize| {
        if error(b) > error(a) || error(b).is_nan() {
            b
        } else {
            a
        }
    };
    let worst = (1..expected.len()).reduce(worse);
    let name = |place: usize| names[place - 1].clone();
    // An error that is no number is none that is allowed.
    let differs = |place: &usize| error(*place) > scale * NORM_TOLERANCE || error(*place).is_nan();
    if let Some(place) = worst.filter(differs) {
        return refuse(format!(
            "the gradient norm of `{}` is {}, on flex {}",
            name(place),
            found[place],
            expected[place]
        ));
    }
    Ok(SelfCheck {
        loss,
        flex_loss,
        norms: expected.len() - 1,
        worst_norm: worst.map_or(0.0, error),
        worst_parameter: worst.map(name).unwrap_or_default(),
    })
}

/// Turns dropout off: it is drawn by each device in its own way.
struct WithoutFlags;

impl ModuleMapper for WithoutFlags {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(false)
    }
}

struct Norms<'a> {
    ids: &'a BTreeSet<ParamId>,
    gradients: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) {
            return;
        }
        let device = param.base().device().without_autodiff();
        self.found.push(match self.gradients.get::<D>(param.id) {
            Some(gradient) => gradient.cast(DType::F32).square().sum().sqrt(),
            None => Tensor::zeros([1], (&device, DType::F32)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(found: &[f64], expected: &[f64]) -> Result<SelfCheck, TrainError> {
        judge(found, expected, &["a".to_owned(), "b".to_owned()], 1.0)
    }

    #[test]
    fn rounding_in_another_order_passes_and_tells_the_worst() {
        let check = judged(&[2.0001, 1.0, 0.501], &[2.0, 1.0, 0.5]).unwrap();
        assert_eq!((check.norms, check.worst_parameter.as_str()), (2, "b"));
        assert!((check.worst_norm - 2e-3).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_loss_or_norm_or_what_is_no_number_is_refused_by_name() {
        let message = |found: &[f64]| judged(found, &[2.0, 1.0, 0.5]).unwrap_err().to_string();
        assert!(message(&[2.1, 1.0, 0.5]).contains("the loss of a small batch is 2.1, on flex 2"));
        assert!(message(&[f64::NAN, 1.0, 0.5]).contains("NaN"));
        assert!(message(&[2.0, 1.0, 0.7]).contains("`b` is 0.7, on flex 0.5"));
        assert!(message(&[2.0, f64::NAN, 0.5]).contains("`a` is NaN"));
    }

    #[test]
    fn a_norm_far_below_the_largest_may_be_rounding_only() {
        assert!(judged(&[2.0, 1.0, 1e-5], &[2.0, 1.0, 1e-6]).is_ok());
    }
}
