//! How every operation is held against a composition of burn's own: values and gradients, on every backend, in every
//! type that the device has.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// The devices that this build has backends for.
pub fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

/// The float types to test on `device`, each with the largest difference allowed, relative to the largest number.
pub fn float_types(device: &Device) -> Vec<(DType, f64)> {
    [(DType::F32, 2e-6), (DType::BF16, 1.6e-2)]
        .into_iter()
        .filter(|(dtype, _)| device.supports_dtype(*dtype))
        .collect()
}

/// Numbers between -1 and 1, the same for every device; `seed` makes others.
pub fn random(shape: [usize; 2], seed: u64, device: &Device) -> Tensor<2> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let numbers: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::F32))
}

/// A function of some matrices.
pub type Function<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Holds `kernel` against `composed`: values with and without autodiff, and the gradient of every input, for inputs of the
/// given shapes, on every device and in every type.
///
/// # Panics
///
/// When they differ by more than the type allows.
pub fn assert_agreement(name: &str, shapes: &[[usize; 2]], kernel: Function<'_>, composed: Function<'_>) {
    for device in devices() {
        for (dtype, allowed) in float_types(&device) {
            let what = |part: &str| format!("{name} {shapes:?} {dtype:?} {device:?}: {part}");
            let (expected, expected_grads) = value_and_gradients(shapes, composed, dtype, &device);
            let (found, found_grads) = value_and_gradients(shapes, kernel, dtype, &device);
            assert_close(&what("value"), &found, &expected, allowed);
            for (input, (found, expected)) in found_grads.iter().zip(&expected_grads).enumerate() {
                assert_close(&what(&format!("gradient {input}")), found, expected, allowed);
            }
            let plain: Vec<_> = inputs(shapes, dtype, &device);
            assert_close(
                &what("value without autodiff"),
                &numbers(kernel(&plain)),
                &expected,
                allowed,
            );
        }
    }
}

fn inputs(shapes: &[[usize; 2]], dtype: DType, device: &Device) -> Vec<Tensor<2>> {
    let one = |(seed, shape): (usize, &[usize; 2])| random(*shape, seed as u64 + 1, device).cast(dtype);
    shapes.iter().enumerate().map(one).collect()
}

fn value_and_gradients(
    shapes: &[[usize; 2]],
    function: Function<'_>,
    dtype: DType,
    device: &Device,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let tracked: Vec<_> = inputs(shapes, dtype, device)
        .into_iter()
        .map(|input| Tensor::from_inner(input).require_grad())
        .collect();
    let output = function(&tracked);
    let weights = random(output.dims(), 99, device).cast(output.dtype());
    let gradients = (output.clone() * Tensor::from_inner(weights)).sum().backward();
    let gradients = tracked.iter().map(|input| {
        let gradient = input.grad(&gradients).expect("every input is tracked");
        numbers(gradient)
    });
    (numbers(output.inner()), gradients.collect())
}

/// The entries of a tensor.
pub fn numbers<const R: usize>(tensor: Tensor<R>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Asserts that no number differs by more than `allowed` times the largest, or times 0.1 where all are smaller: they are
/// sums of terms about as large as the inputs, whose roundings stay when the terms cancel.
///
/// # Panics
///
/// When one does.
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], allowed: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: how many");
    let largest = expected
        .iter()
        .fold(0.1_f64, |largest, number| largest.max(number.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= allowed * largest,
            "{what}: entry {index} is {found}, not {expected} (of at most {largest})"
        );
    }
}
