//! Cross entropy of rows of logits and, in the same pass, its gradient in their memory.
//!
//! For the logits `z` of a row and its label `l`: `loss = log(sum(exp(z))) - z_l` and
//! `dz = scale (softmax(z) - onehot(l))`, which is the gradient of `scale` times the sum of all losses. Rows with a
//! negative label have neither. The operation is not differentiable itself; it is what a loss in chunks is made of.
//!
//! Shapes: `N` rows, `V` vocabulary.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, FloatDType, IndexingUpdateOp, Int, Shape, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use crate::composed::in_f32;

/// The loss of every row, in f32; 0 where the label is negative, and on GPUs no number where it is not below `V`.
///
/// # Shapes
///
/// - logits: `[N, V]`, outside autodiff
/// - labels: `[N]`, each below `V`
/// - output: `[N]`
///
/// # Panics
///
/// When there are not as many labels as rows; on the CPU also when a label is not below `V`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let logits = checked(logits, &labels);
    Tensor::from_dispatch(Dispatch::cross_entropy_losses(
        logits.into_dispatch(),
        labels.into_dispatch(),
    ))
}

/// [`cross_entropy`] and `scale` times the gradient of the sum of the losses, in f32; in the logits' own memory if they
/// are in f32 and nobody else holds them.
///
/// # Shapes
///
/// - logits: `[N, V]`, outside autodiff
/// - labels: `[N]`, each below `V`
/// - output: `[N]` and `[N, V]`
///
/// # Panics
///
/// As [`cross_entropy`].
pub fn cross_entropy_with_grad(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    scale: f32,
) -> (Tensor<1>, Tensor<2>) {
    let logits = checked(logits, &labels);
    let (losses, grad) =
        Dispatch::cross_entropy_losses_and_grad(logits.into_dispatch(), labels.into_dispatch(), scale);
    (Tensor::from_dispatch(losses), Tensor::from_dispatch(grad))
}

/// The logits in f32, as many as there are labels.
fn checked(logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<2> {
    let [rows, _] = logits.dims();
    assert_eq!([rows], labels.dims(), "every row of logits has one label");
    if logits.dtype() == DType::F32 {
        logits
    } else {
        logits.cast(DType::F32)
    }
}

/// Backends with cross entropy of rows; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait CrossEntropyBackend: Backend {
    /// The losses, `[N]`, of logits in f32.
    #[fusion(dtype = logits, shape = Shape::new([logits[0]]))]
    fn cross_entropy_losses(logits: FloatTensor<Self>, labels: IntTensor<Self>) -> FloatTensor<Self> {
        let rows = logits.shape()[0];
        let parts = Parts::<Self>::of(logits, labels);
        Self::float_reshape(parts.losses(), Shape::new([rows]))
    }

    /// The losses, `[N]`, and the gradient, `[N, V]`, of logits in f32.
    #[fusion(meta = |logits: &TensorSpec, _labels, _scale| {
        (TensorSpec::new(Shape::new([logits.shape[0]]), logits.dtype), logits.clone())
    })]
    fn cross_entropy_losses_and_grad(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let rows = logits.shape()[0];
        let parts = Parts::<Self>::of(logits, labels);
        let losses = Self::float_reshape(parts.losses(), Shape::new([rows]));
        let share = Self::float_mul_scalar(parts.counted, scale.into());
        let factor = Self::float_div(share.clone(), parts.sum);
        let softmax = Self::float_mul(parts.exp, factor);
        let minus = Self::float_neg(share);
        let grad = Self::float_scatter(1, softmax, parts.labels, minus, IndexingUpdateOp::Add);
        (losses, grad)
    }
}

/// What losses and gradient are composed of; all but `exp` are `[N, 1]`.
struct Parts<B: Backend> {
    /// 1 where the label counts, otherwise 0.
    counted: FloatTensor<B>,
    /// The labels that count, and 0 for the others.
    labels: IntTensor<B>,
    /// `exp(z - max)`, `[N, V]`.
    exp: FloatTensor<B>,
    sum: FloatTensor<B>,
    /// `max - z_l`.
    below: FloatTensor<B>,
}

impl<B: Backend> Parts<B> {
    fn of(logits: FloatTensor<B>, labels: IntTensor<B>) -> Self {
        let rows = logits.shape()[0];
        let logits = in_f32::<B>(logits);
        let labels = B::int_reshape(labels, Shape::new([rows, 1]));
        let sign = B::int_clamp(labels.clone(), (-1).into(), 0.into());
        let counted = B::int_into_float(B::int_add_scalar(sign, 1.into()), FloatDType::F32);
        let labels = B::int_clamp_min(labels, 0.into());
        let target = B::float_gather(1, logits.clone(), labels.clone());
        let max = B::float_max_dim(logits.clone(), 1);
        let below = B::float_sub(max.clone(), target);
        let exp = B::float_exp(B::float_sub(logits, max));
        Self {
            counted,
            labels,
            sum: B::float_sum_dim(exp.clone(), 1),
            exp,
            below,
        }
    }

    /// `[N, 1]`.
    fn losses(&self) -> FloatTensor<B> {
        let losses = B::float_add(B::float_log(self.sum.clone()), self.below.clone());
        B::float_mul(losses, self.counted.clone())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::{log_softmax, softmax};
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::testing::{assert_close, devices, numbers, random};

    /// Losses and gradient from burn's softmax, the negative labels left out by hand.
    fn composed(logits: Tensor<2>, labels: &[i64], scale: f64) -> (Vec<f64>, Vec<f64>) {
        let [_, width] = logits.dims();
        let logs = numbers(log_softmax(logits.clone(), 1));
        let mut grad = numbers(softmax(logits, 1));
        let mut losses = vec![0.0; labels.len()];
        for (row, label) in labels.iter().enumerate() {
            let row_grad = &mut grad[row * width..][..width];
            if let Ok(label) = usize::try_from(*label) {
                losses[row] = -logs[row * width + label];
                row_grad[label] -= 1.0;
                for entry in row_grad {
                    *entry *= scale;
                }
            } else {
                row_grad.fill(0.0);
            }
        }
        (losses, grad)
    }

    fn logits_and_labels([rows, width]: [usize; 2], device: &Device) -> (Tensor<2>, Vec<i64>) {
        let label = |row: usize| match row % 5 {
            3 => -100,
            4 => width as i64 - 1,
            _ => (row * 7 % width) as i64,
        };
        let logits = random([rows, width], 4, device) * 12.0;
        (logits, (0..rows).map(label).collect())
    }

    fn on_device(labels: &[i64], device: &Device) -> Tensor<1, Int> {
        Tensor::from_ints(TensorData::new(labels.to_vec(), [labels.len()]), device)
    }

    #[test]
    fn losses_and_gradient_are_those_of_burns_softmax() {
        for device in devices() {
            for shape in [[1, 1], [5, 1], [1, 7], [4, 64], [70, 33], [40, 257], [9, 5000]] {
                let (logits, labels) = logits_and_labels(shape, &device);
                let (losses, grad) = composed(logits.clone(), &labels, 0.25);
                let on_device = on_device(&labels, &device);
                let what = |part: &str| format!("{part} {shape:?} {device:?}");
                let alone = cross_entropy(logits.clone(), on_device.clone());
                assert_close(&what("losses alone"), &numbers(alone), &losses, 2e-6);
                let (found, found_grad) = cross_entropy_with_grad(logits, on_device, 0.25);
                assert_close(&what("losses"), &numbers(found), &losses, 2e-6);
                assert_close(&what("gradient"), &numbers(found_grad), &grad, 2e-6);
            }
        }
    }

    #[test]
    fn logits_that_others_hold_stay_as_they_are() {
        for device in devices() {
            let (logits, labels) = logits_and_labels([6, 40], &device);
            let labels = on_device(&labels, &device);
            let before = numbers(logits.clone());
            let (_, shared) = cross_entropy_with_grad(logits.clone(), labels.clone(), 1.0);
            assert_eq!(numbers(logits.clone()), before);
            let (_, own) = cross_entropy_with_grad(logits, labels, 1.0);
            assert_eq!(numbers(own), numbers(shared));
        }
    }

    #[test]
    fn labels_past_the_vocabulary_are_told_and_negative_ones_do_not_count() {
        for device in devices() {
            let told = |label: i64| {
                let (logits, _) = logits_and_labels([3, 40], &device);
                let labels = on_device(&[1, label, 2], &device);
                let both = move || {
                    let alone = numbers(cross_entropy(logits.clone(), labels.clone()));
                    let (losses, _) = cross_entropy_with_grad(logits, labels, 1.0);
                    [alone, numbers(losses)]
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(both))
            };
            for label in [40, 41, 79, 1 << 20, i64::from(i32::MAX)] {
                match told(label) {
                    Ok(losses) => {
                        for losses in losses {
                            assert!(losses[1].is_nan(), "{label}: {losses:?} {device:?}");
                            assert!(losses[0].is_finite() && losses[2].is_finite(), "{losses:?}");
                        }
                    }
                    Err(message) => {
                        let message = message.downcast_ref::<String>().unwrap();
                        assert!(
                            message.contains(&label.to_string()) && message.contains("40"),
                            "{message}"
                        );
                    }
                }
            }
            for label in [-1, -100, -101] {
                for losses in told(label).unwrap() {
                    assert!(losses[1].abs() < f64::EPSILON, "{label}: {losses:?} {device:?}");
                }
            }
        }
    }

    #[test]
    fn very_large_logits_and_impossible_words_give_finite_losses() {
        for device in devices() {
            let rows = [[3e4_f32, -3e4, 0.0], [f32::NEG_INFINITY, 1.0, 1.0]];
            let logits = Tensor::<2>::from_data(TensorData::from(rows), (&device, DType::F32));
            let (losses, grad) = cross_entropy_with_grad(logits, on_device(&[0, 1], &device), 1.0);
            assert_close("losses", &numbers(losses), &[0.0, 2f64.ln()], 1e-6);
            assert_close("gradient", &numbers(grad), &[0.0, 0.0, 0.0, 0.0, -0.5, 0.5], 1e-6);
        }
    }
}
