//! Every fused operation on the device against the same operation on flex: values and gradients.
use super::findings::{Findings, close};
use super::operations::{OPERATIONS, Operation};
use burn::tensor::{DType, Device, Tensor, TensorData};

const TOPIC: &str = "Kernels against flex";

/// Differences allowed, relative to the largest number.
const TYPES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::BF16, 2e-2)];

pub(super) fn check(device: &Device, flex: &Device, findings: &mut Findings) {
    for operation in &OPERATIONS {
        for shapes in operation.shapes {
            for (dtype, allowed) in TYPES {
                let what = format!("{} {shapes:?} {dtype:?}", operation.name);
                if !device.supports_dtype(dtype) {
                    findings.tell(TOPIC, &what, "the device has no such type");
                    continue;
                }
                let on = |device: &Device| numbers(operation, shapes, dtype, device);
                let result = on(device).and_then(|found| close(&found, &on(flex)?, allowed));
                findings.add(TOPIC, &what, result);
            }
        }
    }
}

/// The output, then the gradient of every input, as one list.
fn numbers(
    operation: &Operation,
    shapes: &[[usize; 2]],
    dtype: DType,
    device: &Device,
) -> Result<Vec<f64>, String> {
    let inputs: Vec<_> = (1..)
        .zip(shapes)
        .map(|(seed, shape)| Tensor::from_inner(random(*shape, seed, device).cast(dtype)).require_grad())
        .collect();
    let output = (operation.run)(&inputs);
    let weights = random(output.dims(), 99, device).cast(dtype);
    let gradients = (output.clone() * Tensor::from_inner(weights)).sum().backward();
    let mut numbers = read(output.inner())?;
    for input in &inputs {
        let gradient = input.grad(&gradients).ok_or("an input has no gradient")?;
        numbers.extend(read(gradient)?);
    }
    Ok(numbers)
}

fn read(tensor: Tensor<2>) -> Result<Vec<f64>, String> {
    let data = tensor.try_into_data().map_err(|error| error.to_string())?;
    Ok(data.iter::<f64>().collect())
}

/// Numbers between -1 and 1, the same on every device.
fn random(shape: [usize; 2], seed: u64, device: &Device) -> Tensor<2> {
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
