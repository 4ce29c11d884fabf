//! LoRA adapters as PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, both ways.
//!
//! PEFT keeps the factors as PyTorch keeps linear weights, `lora_A.weight` as `[r, in]` and `lora_B.weight` as
//! `[out, r]`; burn's `a` is `[in, r]` and its `b` `[r, out]`: each is the other transposed.
//!
//! Of a classifier PEFT keeps the head too, whole, under the keys that it has in the model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blockllm_tensors::{HeldTensor, write_tensors};
use burn::module::{LoraAdapter, Param, Reparameterizer};
use burn::tensor::{DType, Device, Tensor};

use super::adaptable::Adaptable;
use super::adapter_config::AdapterConfig;
use super::adapter_file::{AdapterFile, Factors, PREFIX, require};
use super::folder::WeightFolder;
use super::module::{load_module_except, module_tensors};
use super::save::{NOTE, Unfinished, write_text};
use crate::ModelError;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Saves the LoRA adapters of `model`, and its head if it is a classifier, for `peft.PeftModel.from_pretrained`, in f32.
///
/// `base_model` is the name or folder of the model they belong to, where PEFT looks for it.
///
/// # Errors
///
/// When no linear layer is adapted, something else is, ranks or scales differ between layers, or the folder cannot be
/// written.
pub fn save_adapter<M: Adaptable>(model: &M, base_model: Option<&str>, dir: &Path) -> Result<(), ModelError> {
    let adapters = adapters(model)?;
    let config = config_of(model, &adapters, base_model)?;
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let key_of = model.key_of();
    let mut tensors = Vec::new();
    for (path, adapter) in &adapters {
        let key = key_of(path);
        for (name, factor) in [("lora_A", &adapter.a), ("lora_B", &adapter.b)] {
            let tensor = HeldTensor::transposed(factor.val().inner()).in_format(DType::F32);
            tensors.push((format!("{PREFIX}{key}.{name}.weight"), tensor));
        }
    }
    if M::HEAD.is_some() {
        let all = module_tensors(model, &key_of).into_iter();
        let head = all.filter(|(key, _)| M::is_of_head(key));
        tensors.extend(head.map(|(key, tensor)| (format!("{PREFIX}{key}"), tensor.in_format(DType::F32))));
    }
    let mut unfinished = Unfinished::default();
    write_tensors(unfinished.beside(&dir.join(WEIGHTS)), &tensors, NOTE)?;
    unfinished.publish()?;
    let text =
        serde_json::to_string_pretty(&config).expect("a configuration of plain values is always valid JSON");
    write_text(&dir.join(CONFIG), &(text + "\n"))
}

/// `model` with the LoRA adapters that PEFT's `save_pretrained` or [`save_adapter`] has written, and with the head that lies
/// beside them if it is a classifier; everything else is frozen, as after `Module::apply_lora`, and so is a classifier's own
/// head where none lies there.
///
/// # Errors
///
/// When a file is missing or corrupt, the adapters are more than plain LoRA on linear layers, or they do not belong to
/// this model; or when it has adapters already.
pub fn load_adapter<M: Adaptable>(model: M, dir: &Path) -> Result<M, ModelError> {
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
    let config = AdapterConfig::parse(&read_text(&path)?, &path, M::heads())?;
    let keeps_head = config
        .modules_to_save
        .as_ref()
        .is_some_and(|kept| !kept.is_empty());
    let mut file = AdapterFile::open(dir.join(WEIGHTS))?;
    let mut factors = BTreeMap::new();
    let key_of = model.key_of();
    // A head that is kept whole has no factors: those of a file are left over, and told.
    let mut linears = model.linears();
    linears.retain(|(path, _)| !(keeps_head && M::is_of_head(path)));
    for (path, linear) in linears {
        let key = key_of(&path);
        if file.has(&key) {
            config.check_picks(&key, &origin)?;
            let [inputs, outputs] = linear.weight.lazy_shape().dims();
            let pair = file.take(&key, [inputs, config.r, outputs])?;
            factors.insert(format!("{path}.weight"), pair);
        }
    }
    let model = if keeps_head {
        with_head(model, &mut file, &dir.join(WEIGHTS))?
    } else {
        model
    };
    file.finish()?;
    let mut attach = Attach {
        factors,
        scale: config.scale(),
        is_trained: if keeps_head { M::is_of_head } else { |_| false },
        error: None,
    };
    let model = model.apply_reparameterization(&mut attach);
    attach.error.map_or(Ok(model), Err)
}

/// `model` with the head of `file`, all of it.
fn with_head<M: Adaptable>(model: M, file: &mut AdapterFile, path: &Path) -> Result<M, ModelError> {
    let mut folder = WeightFolder::of_tensors(path, file.take_head(M::is_of_head));
    let dtype = model
        .linears()
        .first()
        .map_or(DType::F32, |(_, linear)| linear.weight.base().dtype());
    let key_of = model.key_of();
    let key_of = |path: &str| format!("{PREFIX}{}", key_of(path));
    let (model, _) = load_module_except(model, &mut folder, dtype.into(), &key_of, &|path| {
        !M::is_of_head(path)
    })?;
    folder.finish(|_| false)?;
    Ok(model)
}

/// The adapters by path; at least one.
fn adapters<M: Adaptable>(model: &M) -> Result<Vec<(String, &LoraAdapter)>, ModelError> {
    let refuse = |field: &str, expected: &str, found: &str| {
        let mend = "give LoRA a parameter group of linear layers alone, without the head of a classifier";
        Err(ModelError::config("the model", field, expected, found, mend))
    };
    for (path, embedding) in model.embeddings() {
        if embedding.weight.adapter().is_some() {
            return refuse(path, "no adapter", "an adapter");
        }
    }
    let adapted = model
        .linears()
        .into_iter()
        .filter_map(|(path, linear)| Some((path, linear.weight.adapter()?)));
    let adapted: Vec<_> = adapted.collect();
    if let Some((path, _)) = adapted.iter().find(|(path, _)| M::is_of_head(path)) {
        return refuse(path, "no adapter: PEFT keeps a head whole", "an adapter");
    }
    if adapted.is_empty() {
        return refuse("adapters", "at least one", "none");
    }
    Ok(adapted)
}

/// The configuration of these adapters, which must agree in rank and scale.
fn config_of<M: Adaptable>(
    model: &M,
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
    let (alpha, targets) = (scale * rank as f64, targets(model, &paths));
    Ok(AdapterConfig::lora(
        rank,
        alpha,
        base_model,
        targets,
        M::TASK,
        M::heads(),
    ))
}

/// Module names where all modules of that name are adapted, whole paths otherwise.
fn targets<M: Adaptable>(model: &M, adapted: &[&str]) -> Vec<String> {
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
        adapted.iter().map(|path| (model.key_of())(path)).collect()
    }
}

fn read_text(path: &Path) -> Result<String, ModelError> {
    require(path)?;
    fs::read_to_string(path).map_err(ModelError::io(path, "read"))
}

/// Freezes everything but what stays trained, and gives the layers at these parameter paths their factors, until the first
/// error.
struct Attach {
    factors: BTreeMap<String, Factors>,
    scale: f64,
    is_trained: fn(&str) -> bool,
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
        if (self.is_trained)(path) {
            return (param, None);
        }
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
