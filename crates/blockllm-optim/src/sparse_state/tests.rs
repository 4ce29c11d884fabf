//! The kernels of the built-in rules against the same rules composed of tensor operations, as a user's own rule is.
use super::{Applied, SparseState, StateEstimate};
use crate::mask::{Mask, largest};
use crate::{AdamW, FusedRule, Lion, MomentPrecision, Parameter, Sgd, StepContext, UpdateRule};
use blockllm_kernels::Rounding;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Entries of a parameter; with codes more than a piece has on the CPU.
fn len(moments: MomentPrecision) -> usize {
    match moments {
        MomentPrecision::F32 => 5000,
        MomentPrecision::Int8 => 70_001,
    }
}

/// A rule without its kernel.
#[derive(Debug)]
struct Composed<R>(R);

impl<R: UpdateRule> UpdateRule for Composed<R> {
    fn state_arrays(&self) -> usize {
        self.0.state_arrays()
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        self.0.update(context, weight, gradient, state)
    }

    fn is_non_negative(&self, array: usize) -> bool {
        self.0.is_non_negative(array)
    }

    fn fused(&self) -> Option<FusedRule> {
        None
    }
}

fn devices() -> Vec<(Device, f64)> {
    vec![
        // On the CPU to the last bit; a GPU may contract a product and a sum.
        #[cfg(feature = "flex")]
        (Device::flex(), 0.0),
        #[cfg(feature = "wgpu")]
        (Device::wgpu(burn::tensor::DeviceKind::DefaultDevice), 1e-6),
    ]
}

fn some(len: usize, seed: usize, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = (0..len)
        .map(|i| ((i * 7919 + seed * 104_729) % 4999) as f32 / 2500.0 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::F32))
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Weights and state after three clipped steps.
fn run(
    rule: &dyn UpdateRule,
    keep: usize,
    moments: MomentPrecision,
    (dtype, master): (DType, bool),
    device: &Device,
) -> Vec<Vec<f64>> {
    let len = len(moments);
    let mask = largest(vec![some(len, 9, device)], keep as u64)
        .expect("the device answers")
        .remove(0);
    let settings = StateEstimate {
        moments,
        master,
        ..StateEstimate::new(len as u64, len as u64, rule.state_arrays() as u64)
    };
    assert_eq!(matches!(mask, Mask::All), keep == len);
    let mut state = SparseState::new(mask, settings, rule, device);
    let clip = Tensor::<1>::from_floats([0.75], device);
    let mut weight = some(len, 0, device).cast(dtype);
    for step in 1..=3 {
        let gradient = some(len, step, device).cast(dtype);
        let applied = Applied {
            rule,
            learning_rate: 1e-2,
            parameter: &Parameter::vector("weight", len as u64),
            clip: Some(&clip),
            rounding: Rounding::Nearest,
        };
        weight = state.apply(applied, weight, gradient);
    }
    let mut all = vec![numbers(weight)];
    // What the later arrays have in entries that are not trained is not read by anybody.
    all.extend(state.arrays.first().map(|array| numbers(array.load())));
    all
}

#[test]
fn the_kernels_of_the_rules_compute_what_their_compositions_do() {
    let adamw = AdamW {
        weight_decay: 0.1,
        ..AdamW::default()
    };
    let rules: [(&dyn UpdateRule, &dyn UpdateRule); 3] = [
        (&adamw, &Composed(adamw)),
        (&Sgd::default(), &Composed(Sgd::default())),
        (&Lion::default(), &Composed(Lion::default())),
    ];
    for (device, allowed) in devices() {
        let has = |dtype: &(DType, bool)| device.supports_dtype(dtype.0);
        let types = [(DType::F32, false), (DType::BF16, false), (DType::BF16, true)];
        for kind in types.into_iter().filter(has) {
            for ((fused, composed), moments) in rules
                .into_iter()
                .flat_map(|rule| [(rule, MomentPrecision::F32), (rule, MomentPrecision::Int8)])
            {
                let len = len(moments);
                // Whole, dense, compact.
                for keep in [len, len * 9 / 10, len / 10] {
                    let found = run(fused, keep, moments, kind, &device);
                    let expected = run(composed, keep, moments, kind, &device);
                    let pairs = found.iter().flatten().zip(expected.iter().flatten());
                    for (found, expected) in pairs {
                        let difference = (found - expected).abs();
                        // A weight in bf16 may round to the other side, and a moment to the next code.
                        let rounding = match (kind.0, moments) {
                            _ if allowed == 0.0 => 0.0,
                            (DType::F32, MomentPrecision::F32) => 0.0,
                            _ => 2e-2,
                        };
                        assert!(
                            difference <= (allowed + rounding) * expected.abs().max(1.0),
                            "{device:?} {fused:?} {keep} {kind:?} {moments:?}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
