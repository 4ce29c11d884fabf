//! LoRA adapters as PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, both ways.
//!
//! PEFT keeps the factors as PyTorch keeps linear weights, `lora_A.weight` as `[r, in]` and `lora_B.weight` as
//! `[out, r]`; burn's `a` is `[in, r]` and its `b` `[r, out]`: each is the other transposed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::module::{LoraAdapter, Module, Param, Reparameterizer};
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::adapter_config::AdapterConfig;
use super::adapter_file::{AdapterFile, Factors, PREFIX, require};
use super::dtype::WeightDtype;
use super::save::{publish, write_text};
use super::transpose::transpose;
use crate::ModelError;
use crate::llama::LlamaForCausalLM;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Saves the LoRA adapters of `model` for `peft.PeftModel.from_pretrained`, in f32.
///
/// `base_model` is the name or folder of the model they belong to, where PEFT looks for it.
///
/// # Errors
///
/// When no linear layer is adapted, something else is, ranks or scales differ between layers, or the folder cannot be
/// written.
pub fn save_adapter(
    model: &LlamaForCausalLM,
    base_model: Option<&str>,
    dir: &Path,
) -> Result<(), ModelError> {
    let adapters = adapters(model)?;
    let config = config_of(model, &adapters, base_model)?;
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let mut tensors = Vec::new();
    for (path, adapter) in &adapters {
        for (name, factor) in [("lora_A", &adapter.a), ("lora_B", &adapter.b)] {
            let value = factor.val();
            let value = if value.is_autodiff() { value.inner() } else { value };
            let [rows, columns] = value.dims();
            let numbers = value.into_data().convert::<f32>();
            let numbers: Vec<f32> = numbers
                .try_into_vec()
                .expect("the data were converted to f32 just above");
            let bytes = WeightDtype::F32.encode(&transpose(&numbers, rows, columns));
            tensors.push((format!("{PREFIX}{path}.{name}.weight"), [columns, rows], bytes));
        }
    }
    write_weights(&tensors, &dir.join(WEIGHTS))?;
    let text =
        serde_json::to_string_pretty(&config).expect("a configuration of plain values is always valid JSON");
    write_text(&dir.join(CONFIG), &(text + "\n"))
}

/// `model` with the LoRA adapters that PEFT's `save_pretrained` or [`save_adapter`] has written; everything else is
/// frozen, as after `Module::apply_lora`.
///
/// # Errors
///
/// When a file is missing or corrupt, the adapters are more than plain LoRA on linear layers, or they do not belong to
/// this model; or when it has adapters already.
pub fn load_adapter(model: LlamaForCausalLM, dir: &Path) -> Result<LlamaForCausalLM, ModelError> {
    if let Some((path, _)) = linears(&model)
        .iter()
        .find(|(_, linear)| linear.weight.adapter().is_some())
    {
        let mend = "merge the adapters first (`Module::materialize`)";
        return Err(ModelError::config(
            "the model",
            path,
            "a plain layer",
            "an adapted one",
            mend,
        ));
    }
    let path = dir.join(CONFIG);
    let config = AdapterConfig::parse(&read_text(&path)?, &path)?;
    let mut file = AdapterFile::read(dir.join(WEIGHTS))?;
    let mut factors = BTreeMap::new();
    for (path, linear) in linears(&model) {
        if file.has(&path) {
            let [inputs, outputs] = linear.weight.lazy_shape().dims();
            let pair = file.take(&path, [inputs, config.r, outputs])?;
            factors.insert(format!("{path}.weight"), pair);
        }
    }
    file.finish()?;
    Ok(model.apply_reparameterization(Attach {
        factors,
        rank: config.r,
        scale: config.scale(),
    }))
}

/// The linear layers by Hugging Face path, in the order of the model.
fn linears(model: &LlamaForCausalLM) -> Vec<(String, &Linear)> {
    let mut linears = Vec::new();
    for (number, layer) in model.model.layers.iter().enumerate() {
        let (attention, mlp) = (&layer.self_attn, &layer.mlp);
        let of_layer = [
            ("self_attn.q_proj", &attention.q_proj),
            ("self_attn.k_proj", &attention.k_proj),
            ("self_attn.v_proj", &attention.v_proj),
            ("self_attn.o_proj", &attention.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ];
        linears.extend(of_layer.map(|(name, linear)| (format!("model.layers.{number}.{name}"), linear)));
    }
    linears.extend(model.lm_head.as_ref().map(|head| ("lm_head".to_owned(), head)));
    linears
}

/// The adapters by path; at least one.
fn adapters(model: &LlamaForCausalLM) -> Result<Vec<(String, &LoraAdapter)>, ModelError> {
    let mend = "give LoRA a parameter group of linear layers alone";
    if model.model.embed_tokens.weight.adapter().is_some() {
        let field = "model.embed_tokens";
        return Err(ModelError::config(
            "the model",
            field,
            "no adapter",
            "an adapter",
            mend,
        ));
    }
    let adapted = linears(model)
        .into_iter()
        .filter_map(|(path, linear)| Some((path, linear.weight.adapter()?)));
    let adapted: Vec<_> = adapted.collect();
    if adapted.is_empty() {
        return Err(ModelError::config(
            "the model",
            "adapters",
            "at least one",
            "none",
            mend,
        ));
    }
    Ok(adapted)
}

/// The configuration of these adapters, which must agree in rank and scale.
fn config_of(
    model: &LlamaForCausalLM,
    adapters: &[(String, &LoraAdapter)],
    base_model: Option<&str>,
) -> Result<AdapterConfig, ModelError> {
    let shape = |adapter: &LoraAdapter| (adapter.a.lazy_shape().dims::<2>()[1], adapter.scale);
    let (rank, scale) = shape(adapters[0].1);
    for (path, adapter) in adapters {
        let found = shape(adapter);
        if found.0 != rank || (found.1 - scale).abs() > f64::EPSILON * scale.abs() {
            let (expected, found) = (format!("{:?}", (rank, scale)), format!("{found:?}"));
            let mend = "give all adapters one rank and one scale";
            return Err(ModelError::config("the model", path, expected, found, mend));
        }
    }
    let paths: Vec<&str> = adapters.iter().map(|(path, _)| path.as_str()).collect();
    Ok(AdapterConfig::lora(
        rank,
        scale * rank as f64,
        base_model,
        targets(model, &paths),
    ))
}

/// Module names where all modules of that name are adapted, whole paths otherwise.
fn targets(model: &LlamaForCausalLM, adapted: &[&str]) -> Vec<String> {
    let name = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let mut names: Vec<String> = adapted.iter().map(|path| name(path)).collect();
    names.sort();
    names.dedup();
    let all = linears(model)
        .iter()
        .all(|(path, _)| adapted.contains(&path.as_str()) || !names.contains(&name(path)));
    if all {
        names
    } else {
        adapted.iter().map(|path| (*path).to_owned()).collect()
    }
}

/// Writes the factors: key, shape, bytes.
fn write_weights(tensors: &[(String, [usize; 2], Vec<u8>)], path: &Path) -> Result<(), ModelError> {
    let temporary = path.with_extension("safetensors.tmp");
    let failed = |error| ModelError::io(&temporary, "write")(std::io::Error::other(error));
    let mut views = Vec::new();
    for (key, shape, bytes) in tensors {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(failed)?;
        views.push((key, view));
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), &temporary).map_err(failed)?;
    publish(&temporary, path)
}

fn read_text(path: &Path) -> Result<String, ModelError> {
    require(path)?;
    fs::read_to_string(path).map_err(ModelError::io(path, "read"))
}

/// Freezes everything, and gives the layers at these parameter paths their factors.
struct Attach {
    factors: BTreeMap<String, Factors>,
    rank: usize,
    scale: f64,
}

impl Reparameterizer for Attach {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        let param = param.set_require_grad(false);
        let Some((first, second)) = self.factors.remove(path) else {
            return (param, None);
        };
        let (dtype, device) = (param.base().dtype(), param.base().device());
        let factor =
            |values: Vec<f32>, shape: [usize; 2]| {
                let data = TensorData::new(values, shape);
                Param::from_tensor(device.memory_persistent_allocations(data, |data| {
                    Tensor::<2>::from_data(data, (&device, dtype))
                }))
            };
        let (inputs, outputs) = (first.len() / self.rank, second.len() / self.rank);
        let adapter = LoraAdapter {
            a: factor(first, [inputs, self.rank]),
            b: factor(second, [self.rank, outputs]),
            scale: self.scale,
        };
        (param, Some(adapter))
    }
}
