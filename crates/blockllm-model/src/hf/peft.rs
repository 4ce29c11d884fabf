//! LoRA adapters as PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, both ways.
//!
//! PEFT keeps the factors as PyTorch keeps linear weights, `lora_A.weight` as `[r, in]` and `lora_B.weight` as
//! `[out, r]`; burn's `a` is `[in, r]` and its `b` `[r, out]`: each is the other transposed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blockllm_tensors::{HeldTensor, write_tensors};
use burn::module::{LoraAdapter, Module, Param, Reparameterizer};
use burn::tensor::{DType, Device, Tensor};

use super::adapter_config::AdapterConfig;
use super::adapter_file::{AdapterFile, Factors, PREFIX, require};
use super::linears::Linears;
use super::save::{NOTE, Unfinished, write_text};
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
            let tensor = HeldTensor::transposed(factor.val().inner()).in_format(DType::F32);
            tensors.push((format!("{PREFIX}{path}.{name}.weight"), tensor));
        }
    }
    let mut unfinished = Unfinished::default();
    write_tensors(unfinished.beside(&dir.join(WEIGHTS)), &tensors, NOTE)?;
    unfinished.publish()?;
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
    if let Some((path, _)) = model
        .linears()
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
    let origin = path.display().to_string();
    let config = AdapterConfig::parse(&read_text(&path)?, &path)?;
    let mut file = AdapterFile::open(dir.join(WEIGHTS))?;
    let mut factors = BTreeMap::new();
    for (path, linear) in model.linears() {
        if file.has(&path) {
            config.check_picks(&path, &origin)?;
            let [inputs, outputs] = linear.weight.lazy_shape().dims();
            let pair = file.take(&path, [inputs, config.r, outputs])?;
            factors.insert(format!("{path}.weight"), pair);
        }
    }
    file.finish()?;
    let mut attach = Attach {
        factors,
        scale: config.scale(),
        error: None,
    };
    let model = model.apply_reparameterization(&mut attach);
    attach.error.map_or(Ok(model), Err)
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
    let adapted = model
        .linears()
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
    let all = model
        .linears()
        .iter()
        .all(|(path, _)| adapted.contains(&path.as_str()) || !names.contains(&name(path)));
    if all {
        names
    } else {
        adapted.iter().map(|path| (*path).to_owned()).collect()
    }
}

fn read_text(path: &Path) -> Result<String, ModelError> {
    require(path)?;
    fs::read_to_string(path).map_err(ModelError::io(path, "read"))
}

/// Freezes everything, and gives the layers at these parameter paths their factors, until the first error.
struct Attach {
    factors: BTreeMap<String, Factors>,
    scale: f64,
    error: Option<ModelError>,
}

impl Attach {
    /// The adapter of a matrix in the type of its weights.
    fn adapter(&self, factors: &Factors, dtype: DType, device: &Device) -> Result<LoraAdapter, ModelError> {
        let [a, b] =
            factors.read(dtype)?.map(|data| {
                Param::from_tensor(device.memory_persistent_allocations(data, |data| {
                    Tensor::<2>::from_data(data, (device, dtype))
                }))
            });
        let scale = self.scale;
        Ok(LoraAdapter { a, b, scale })
    }
}

impl Reparameterizer for &mut Attach {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        let param = param.set_require_grad(false);
        let Some(factors) = self.factors.remove(path) else {
            return (param, None);
        };
        let (dtype, device) = (param.base().dtype(), param.base().device());
        match self.adapter(&factors, dtype, &device) {
            Ok(adapter) => (param, Some(adapter)),
            Err(error) => {
                self.error.get_or_insert(error);
                (param, None)
            }
        }
    }
}
