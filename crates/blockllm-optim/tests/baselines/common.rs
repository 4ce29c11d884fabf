//! What the tests share: devices, the MLP of `tests/fixtures/galore_reference.py`, its numbers.
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// Numbers and shape, by name.
pub type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

/// Flex always, and wgpu (a software Vulkan will do) where it is compiled in.
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ]
}

/// One tall, one square and one wide matrix as PyTorch lays them, and a head.
#[derive(Module, Debug)]
pub struct Mlp {
    pub tall: Linear,
    pub square: Linear,
    pub wide: Linear,
    pub head: Linear,
}

impl Mlp {
    /// The reference's weights before training.
    pub fn from_reference(reference: &Tensors, device: &Device) -> Self {
        let linear = |name: &str| Linear {
            weight: Param::from_tensor(matrix(reference, &format!("init.{name}.weight"), device).transpose()),
            bias: reference
                .get(&format!("init.{name}.bias"))
                .map(|(values, _)| Param::from_tensor(Tensor::from_floats(values.as_slice(), device))),
        };
        Self {
            tall: linear("tall"),
            square: linear("square"),
            wide: linear("wide"),
            head: linear("head"),
        }
    }

    /// `x: [B, 8]`, `y: [B, 2]`; the mean squared error, `[1]`.
    pub fn loss(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        let x = self.tall.forward(x).tanh();
        let x = self.square.forward(x).tanh();
        let x = self.wide.forward(x).tanh();
        (self.head.forward(x) - y).square().mean()
    }

    /// The weights of the four layers, as PyTorch lays them.
    pub fn weights(&self) -> BTreeMap<String, Vec<f32>> {
        let layers = [
            ("tall", &self.tall),
            ("square", &self.square),
            ("wide", &self.wide),
            ("head", &self.head),
        ];
        let mut weights = BTreeMap::new();
        for (name, layer) in layers {
            weights.insert(
                format!("{name}.weight"),
                values(layer.weight.val().inner().transpose()),
            );
            if let Some(bias) = &layer.bias {
                weights.insert(format!("{name}.bias"), values(bias.val().inner()));
            }
        }
        weights
    }
}

/// What `tests/fixtures/galore_reference.py` wrote.
pub fn reference() -> Tensors {
    #[derive(serde::Deserialize)]
    struct Entry {
        shape: Vec<usize>,
        values: Vec<f32>,
    }
    let entries: BTreeMap<String, Entry> =
        serde_json::from_str(include_str!("../fixtures/galore_reference.json")).unwrap();
    let pair = |(name, entry): (String, Entry)| (name, (entry.values, entry.shape));
    entries.into_iter().map(pair).collect()
}

/// A matrix of the reference.
pub fn matrix(reference: &Tensors, name: &str, device: &Device) -> Tensor<2> {
    let (values, shape) = &reference[name];
    Tensor::from_data(TensorData::new(values.clone(), [shape[0], shape[1]]), device)
}

/// Inputs and targets of one step.
pub fn batch(reference: &Tensors, step: usize, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let of = |name: &str| {
        let (values, shape) = &reference[name];
        let size = shape[1] * shape[2];
        let values = values[step * size..(step + 1) * size].to_vec();
        Tensor::from_data(TensorData::new(values, [shape[1], shape[2]]), device)
    };
    (of("x"), of("y"))
}

/// The numbers of a tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// The largest absolute difference.
pub fn max_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f32::max)
}
