//! What the tests share: devices, fixtures, gradients by key, comparisons.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use safetensors::SafeTensors;

/// Flex always, and wgpu (a software Vulkan will do) where it is compiled in.
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ]
}

/// The folder of a fixture that `tests/fixtures/llama_reference.py` made.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A config small enough for every backend.
pub fn small_config() -> LlamaConfig {
    let config = LlamaConfig::new(96, 32, 40, 2, 4).with_num_key_value_heads(2);
    LlamaConfig {
        initializer_range: 0.2,
        ..config.with_max_position_embeddings(64)
    }
}

/// A small model with fresh weights.
pub fn small_model(device: &Device) -> LlamaForCausalLM {
    small_config().init(11, device)
}

/// A `[B, T]` tensor of tokens.
pub fn ids<const B: usize, const T: usize>(rows: [[i32; T]; B], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::from(rows), device)
}

/// `batch * length` tokens below `vocab`, the same on every call, as `[B, T]`.
pub fn some_ids(batch: usize, length: usize, vocab: usize, salt: usize, device: &Device) -> Tensor<2, Int> {
    let values = (0..batch * length)
        .map(|i| ((i * 37 + salt * 101 + i * i * 7) % vocab) as i32)
        .collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [batch, length]), device)
}

/// The numbers of a tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .inner()
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .unwrap()
}

/// The largest absolute difference.
pub fn max_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        found.iter().all(|value| value.is_finite()),
        "not finite: {found:?}"
    );
    worst
}

/// All tensors of a safetensors file, as f32 numbers and shapes.
pub fn read_safetensors(path: &Path) -> BTreeMap<String, (Vec<f32>, Vec<usize>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let number = |dtype, quad: &[u8; 4]| match dtype {
        safetensors::Dtype::I32 => i32::from_le_bytes(*quad) as f32,
        _ => f32::from_le_bytes(*quad),
    };
    let read = |(name, view): (&str, safetensors::tensor::TensorView)| {
        let (quads, _) = view.data().as_chunks::<4>();
        let values = quads.iter().map(|quad| number(view.dtype(), quad)).collect();
        (name.to_owned(), (values, view.shape().to_vec()))
    };
    file.iter().map(read).collect()
}

/// The gradient of every parameter that has one, by path, in burn's layout, with its shape.
pub fn gradients<M: Module>(model: &M, grads: &Gradients) -> BTreeMap<String, (Vec<f32>, Vec<usize>)> {
    let mut collector = Collector {
        path: Vec::new(),
        grads,
        found: BTreeMap::new(),
    };
    model.visit(&mut collector);
    collector.found
}

struct Collector<'a> {
    path: Vec<String>,
    grads: &'a Gradients,
    found: BTreeMap<String, (Vec<f32>, Vec<usize>)>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = param.grad(self.grads) {
            let shape = grad.dims().to_vec();
            self.found.insert(self.path.join("."), (values(grad), shape));
        }
    }
}
