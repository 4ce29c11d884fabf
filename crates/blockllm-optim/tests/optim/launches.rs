//! How many kernels a step launches, for each kind of parameter.
use blockllm_kernels::launches_of;
use blockllm_optim::{
    AdamW, BlockOptimizer, BlockOptimizerConfig, GradientsParams, InactiveRule, Lion, MaskScope,
    MomentPrecision, Sgd, Update,
};
use blockllm_policy::{Fixed, Magnitude, Policy};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, DeviceKind, Tensor, TensorData};
use std::collections::BTreeMap;

/// Entries of a parameter whose sum of squares is one launch, and of one for which it is two.
const SHORT: usize = 3000;
const LONG: usize = 9000;

#[derive(Module, Debug)]
struct Pair {
    one: Param<Tensor<1>>,
    other: Param<Tensor<1>>,
}

fn values(len: usize, scale: f32, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = (0..len).map(|i| ((i * 7919) % 997) as f32 * scale).collect();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::F32))
}

/// Gradients that nobody else holds, as a backward pass leaves them.
fn gradients(model: &Pair, device: &Device) -> GradientsParams {
    let mut gradients = GradientsParams::new();
    for param in [&model.one, &model.other] {
        gradients.register(param.id, values(param.dims()[0], 1e-3, device));
    }
    gradients
}

/// How often each kernel was launched, by the last part of its name.
type Launches = BTreeMap<&'static str, usize>;

fn counted(kernels: Vec<&'static str>) -> Launches {
    let mut counts = Launches::new();
    for kernel in kernels {
        *counts.entry(kernel.rsplit("::").next().unwrap()).or_default() += 1;
    }
    counts
}

/// The launches of a step that makes a mask, and of the one after it; and the bytes of state per trained entry.
fn two_steps(
    config: BlockOptimizerConfig,
    len: usize,
    policy: impl Policy + 'static,
) -> (Launches, Launches, f64) {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let param = |scale| Param::from_tensor(values(len, scale, &device));
    let model = Pair {
        one: param(1.0),
        other: param(2.0),
    };
    let mut optimizer = BlockOptimizer::new(&model, config, policy).unwrap();
    let mut model = Some(model);
    let mut step = || {
        let prepared = optimizer.prepare(model.take().unwrap(), |_| unreachable!("nothing is swept"));
        let prepared = prepared.unwrap();
        let gradients = gradients(&prepared, &device);
        let (stepped, kernels) = launches_of(|| optimizer.step(prepared, gradients, 1e-3).unwrap());
        optimizer.observe(1.0).unwrap();
        model = Some(stepped.model);
        counted(kernels)
    };
    let (first, second) = (step(), step());
    let bytes = optimizer.state_bytes() as f64 / optimizer.trained_entries() as f64;
    (first, second, bytes)
}

fn config(sparsity: f64, rule: Update) -> BlockOptimizerConfig {
    let mut config = BlockOptimizerConfig::new(sparsity).with_update(rule);
    config.mask = MaskScope::PerParameter;
    config.max_grad_norm = Some(0.1);
    config
}

/// The policy that takes the largest weights, `other` first.
fn largest() -> Magnitude {
    Magnitude::new(u64::MAX).unwrap()
}

#[test]
fn a_clipped_step_is_one_sum_and_one_update_per_parameter_of_any_form_and_one_norm() {
    let rules: [Update; 3] = [
        AdamW::default().into(),
        Sgd::default().into(),
        Lion::default().into(),
    ];
    for rule in rules {
        let words = rule.rule().state_arrays() as f64 * 4.0;
        // Whole and dense, both parameters; compact, where the other one is only measured.
        for (sparsity, bytes, updates) in [(0.0, words, 2), (0.2, words / 0.8, 2), (0.9, words + 4.0, 1)] {
            let (_, launches, found) = two_steps(config(sparsity, rule), SHORT, largest());
            assert!((found - bytes).abs() < 1e-6, "{rule:?} {sparsity}: {found} bytes");
            let expected = [("NormAndFactor", 1), ("Squares", 2), ("Update", updates)];
            assert_eq!(launches, BTreeMap::from(expected), "{rule:?} {sparsity}");
        }
    }
}

#[test]
fn a_parameter_outside_the_selection_that_moves_by_its_sign_costs_the_same() {
    let mut config = config(0.5, AdamW::default().into());
    config.inactive = Some(InactiveRule::default());
    let policy = Fixed::new(vec!["one".to_owned()]).unwrap();
    let (_, launches, _) = two_steps(config, SHORT, policy);
    let expected = [("NormAndFactor", 1), ("Squares", 2), ("Update", 2)];
    assert_eq!(launches, BTreeMap::from(expected));
}

#[test]
fn one_that_moves_by_its_columns_costs_a_sum_more_and_nothing_runs_in_one_unit() {
    let mut config = config(0.5, AdamW::default().into());
    config.inactive = Some(InactiveRule::normalised());
    let policy = Fixed::new(vec!["one".to_owned()]).unwrap();
    let (_, launches, _) = two_steps(config, SHORT, policy);
    // A vector's column is summed as a norm is, into a zero.
    let expected = [
        ("FullKernel", 1),
        ("MoveAlong", 1),
        ("NormAndFactor", 1),
        ("Squares", 3),
        ("Update", 1),
    ];
    assert_eq!(launches, BTreeMap::from(expected));
}

#[test]
fn a_parameter_with_coded_state_costs_one_launch_too() {
    let mut config = config(0.0, AdamW::default().into());
    config.moment_precision = MomentPrecision::Int8;
    let (_, launches, _) = two_steps(config, LONG, largest());
    let expected = [
        ("AddUp", 2),
        ("NormAndFactor", 1),
        ("Squares", 2),
        ("UpdateCoded", 2),
    ];
    assert_eq!(launches, BTreeMap::from(expected));
}

#[test]
fn a_long_parameter_costs_one_launch_more_for_its_norm() {
    for (sparsity, updates) in [(0.0, 2), (0.9, 1)] {
        let config = config(sparsity, AdamW::default().into());
        let (_, launches, _) = two_steps(config, LONG, largest());
        let expected = [
            ("AddUp", 2),
            ("NormAndFactor", 1),
            ("Squares", 2),
            ("Update", updates),
        ];
        assert_eq!(launches, BTreeMap::from(expected));
    }
}

#[test]
fn a_mask_costs_six_launches_per_parameter_and_the_zeros_that_are_counted_in() {
    for (sparsity, last, masked, zeros) in [(0.2, "MarkKept", 2, 9), (0.9, "ListKept", 1, 8)] {
        let config = config(sparsity, AdamW::default().into());
        let (mut launches, ..) = two_steps(config, SHORT, largest());
        let expected = [
            ("CountMagnitudes", 3),
            ("CountBlocks", 1),
            ("AddBlocks", 1),
            (last, 1),
        ];
        for (kernel, count) in expected {
            assert_eq!(launches.remove(kernel), Some(count * masked), "{kernel}");
        }
        for kernel in ["NormAndFactor", "Squares", "Update"] {
            launches.remove(kernel).unwrap();
        }
        // What is left fills histograms, counts and state with zeros.
        assert_eq!(launches.remove("FullKernel"), Some(zeros));
        assert!(launches.is_empty(), "{launches:?}");
    }
}
