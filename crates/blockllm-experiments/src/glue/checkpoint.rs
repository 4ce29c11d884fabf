//! Where a fine-tuning starts from: a Hugging Face folder of either architecture, or a small encoder from random weights.
use anyhow::{Context, Result, bail};
use blockllm_data::glue::{GlueTask, PairEncoder};
use blockllm_model::encoder::{self, EncoderConfig, EncoderForSequenceClassification, EncoderKind};
use blockllm_model::hf::{
    SaveOptions, WeightDtype, llama_classifier_config, llama_labels, load_llama_classifier_as,
    save_llama_classifier_with,
};
use blockllm_model::llama::{LlamaConfig, LlamaFamily, LlamaForSequenceClassification};
use blockllm_model::{Labels, without_mark};
use blockllm_train::FineTuning;
use blockllm_train::memory::ModelShape;
use blockllm_train::model_place;
use blockllm_train::pretrained_lm::folder_sha256;
use blockllm_train::tell_line;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::path::{Path, PathBuf};

/// What a fine-tuning starts from.
#[derive(Clone, Debug)]
pub enum Checkpoint {
    /// A BERT or RoBERTa folder.
    Encoder(PathBuf, Box<EncoderConfig>),
    /// A folder of Llama's family and its configuration.
    Llama(PathBuf, Box<LlamaConfig>),
    /// A small BERT from random weights, where no folder is given.
    Scratch(Box<EncoderConfig>),
}

/// Writes a trained model to a folder.
pub type Save<M> = Box<dyn Fn(&M, &Path) -> Result<()>>;

/// A model ready to be fine-tuned.
pub struct Opened<M> {
    /// The model, with a head for the task.
    pub model: M,
    /// What of it the methods treat differently.
    pub parts: FineTuning,
    /// Writes it as a Hugging Face folder.
    pub save: Save<M>,
}

impl Checkpoint {
    /// Looks at `dir`, or makes a small encoder for a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// When the folder holds neither a BERT, a RoBERTa nor a model of Llama's family.
    pub fn find(dir: Option<&Path>, vocab_size: usize) -> Result<Self> {
        let Some(dir) = dir else {
            let config = EncoderConfig::new(EncoderKind::Bert, vocab_size, 64, 128, 2, 4);
            return Ok(Self::Scratch(Box::new(config)));
        };
        if dir
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
        {
            bail!(
                "{}: GLUE fine-tunes a Hugging Face folder, with config.json, model.safetensors and tokenizer.json; `finetune` and \
                 `instruct` read GGUF files",
                dir.display()
            );
        }
        model_place::check(dir)?;
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let json: serde_json::Value = serde_json::from_str(without_mark(&text))
            .with_context(|| format!("reading {}", path.display()))?;
        if json["model_type"].as_str().and_then(LlamaFamily::of).is_some() {
            return Ok(Self::Llama(
                dir.to_owned(),
                Box::new(llama_classifier_config(dir)?),
            ));
        }
        Ok(Self::Encoder(
            dir.to_owned(),
            Box::new(EncoderConfig::from_folder(dir)?),
        ))
    }

    /// One line for the report.
    pub fn describe(&self) -> String {
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        match self {
            Self::Encoder(path, config) => format!(
                "{} ({}, {:.1} M parameters)",
                name(path),
                config.kind.name(),
                config.num_parameters() as f64 / 1e6
            ),
            Self::Llama(path, config) => format!("{} ({})", name(path), config.family.model_type()),
            Self::Scratch(config) => format!(
                "a small BERT from random weights ({:.2} M parameters), not pretrained",
                config.num_parameters() as f64 / 1e6
            ),
        }
    }

    /// Its shape, for an estimate of what it needs.
    pub fn shape(&self) -> ModelShape {
        // The few classes of a head do not count.
        const CLASSES: usize = 2;
        match self {
            Self::Encoder(_, config) | Self::Scratch(config) => {
                ModelShape::Encoder(EncoderConfig::clone(config))
            }
            Self::Llama(_, config) => ModelShape::LlamaClassifier(LlamaConfig::clone(config), CLASSES),
        }
    }

    /// The longest text it takes, special tokens included.
    pub fn max_length(&self) -> usize {
        match self {
            Self::Encoder(_, config) | Self::Scratch(config) => config.max_length(),
            Self::Llama(_, config) => config.num_positions(),
        }
    }

    /// The SHA-256 over configuration and weights, which pins a run to its checkpoint whatever the folder is called;
    /// `None` where the weights are drawn from the seed.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn sha256(&self) -> Result<Option<String>> {
        let (Self::Encoder(dir, _) | Self::Llama(dir, _)) = self else {
            return Ok(None);
        };
        Ok(Some(folder_sha256(dir)?))
    }

    /// Copies what the folder says of its tokenizer, which is more than could be written anew.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn copy_tokenizer_settings(&self, to: &Path) -> Result<()> {
        let (Self::Encoder(dir, _) | Self::Llama(dir, _)) = self else {
            return Ok(());
        };
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let from = dir.join(name);
            if from.is_file() {
                std::fs::copy(&from, to.join(name)).with_context(|| format!("copying {}", from.display()))?;
            }
        }
        Ok(())
    }

    /// `encoder` for this checkpoint, after a check that it makes what the checkpoint was trained on, as far as that can
    /// be told.
    ///
    /// # Errors
    /// When it has more words than the checkpoint has embeddings, pads with another token, or puts no special token
    /// around the texts of an encoder.
    pub fn fit(&self, encoder: PairEncoder) -> Result<PairEncoder> {
        match self {
            Self::Encoder(path, config) => {
                let encoder = encoder.fitted(config.vocab_size)?;
                let label = encoder.tokenizer().label();
                if encoder.special_tokens() == 0 {
                    bail!(
                        "the tokenizer {label} puts no special token such as [CLS] around a text, which {} needs: give the \
                         `tokenizer.json` that the checkpoint was trained with",
                        path.display()
                    );
                }
                let pads = encoder.pad_id();
                if usize::try_from(pads).ok() != Some(config.pad_token_id) {
                    bail!(
                        "the tokenizer {label} pads with token {pads}, but {} expects `pad_token_id` {}: give the tokenizer \
                         that the checkpoint was trained with",
                        path.join("config.json").display(),
                        config.pad_token_id
                    );
                }
                Ok(encoder)
            }
            Self::Llama(_, config) => Ok(encoder.fitted(config.vocab_size)?),
            Self::Scratch(config) => Ok(encoder.fitted(config.vocab_size)?),
        }
    }
}

/// An encoder for `task`; its head is drawn from `seed`. A folder is read and saved with its numbers as `weights`.
///
/// # Errors
/// When the folder cannot be read.
pub fn open_encoder(
    checkpoint: &Checkpoint,
    task: GlueTask,
    seed: u64,
    weights: WeightDtype,
    device: &Device,
) -> Result<Opened<EncoderForSequenceClassification>> {
    let labels = labels(task);
    let (model, config, fresh) = match checkpoint {
        Checkpoint::Encoder(path, _) => {
            let loaded =
                encoder::load_for_sequence_classification_as(path, task.num_labels(), seed, weights, device)?;
            let mut model = loaded.model;
            if !loaded.fresh.iter().any(|path| path.starts_with("classifier."))
                && let Some(order) = order_of(path, &loaded.config.labels, &labels)
            {
                let head = &mut model.classifier.out_proj;
                *head = reordered(head.clone(), &order);
            }
            (model, loaded.config, loaded.fresh)
        }
        Checkpoint::Scratch(config) => {
            let config = (**config).clone().with_labels(labels.clone());
            let fresh = ["classifier.out_proj.weight", "classifier.out_proj.bias"].map(String::from);
            (config.init(seed, device), config, fresh.to_vec())
        }
        Checkpoint::Llama(path, _) => bail!("{} is no encoder", path.display()),
    };
    let config = config.with_labels(labels);
    Ok(Opened {
        model,
        parts: FineTuning::encoder(fresh),
        save: Box::new(move |model, dir| {
            let options = SaveOptions::of(weights);
            Ok(encoder::save_pretrained_with(model, &config, dir, &options)?)
        }),
    })
}

/// Where the head of a checkpoint has the classes `wanted`, by their names; `None` where it has them in this order already,
/// or its names say nothing. A head for other classes goes on as it is, and that is told.
fn order_of(path: &Path, found: &Labels, wanted: &Labels) -> Option<Vec<i32>> {
    let lower =
        |labels: &Labels| -> Vec<String> { labels.names().iter().map(|name| name.to_lowercase()).collect() };
    let (found, wanted) = (lower(found), lower(wanted));
    if found == wanted || found.first().is_some_and(|name| name == "label_0") {
        return None;
    }
    let places = wanted.iter().map(|name| {
        found
            .iter()
            .position(|other| other == name)
            .map(|place| place as i32)
    });
    let order = places
        .collect::<Option<Vec<i32>>>()
        .filter(|order| order.len() == found.len());
    let (found, wanted) = (found.join(", "), wanted.join(", "));
    match &order {
        Some(_) => tell_line!(
            "note: the head in {} has the classes {found}; here they are {wanted}, and its rows are put into this order",
            path.display()
        ),
        None => tell_line!(
            "warning: the head in {} has the classes {found}; it goes on as one for {wanted}, in this order",
            path.display()
        ),
    }
    order
}

/// The head whose class `i` is the class `order[i]` of `head`.
fn reordered(head: Linear, order: &[i32]) -> Linear {
    let pick = |device: &Device| {
        let data = TensorData::new(order.to_vec(), [order.len()]);
        Tensor::<1, Int>::from_data(data, &device.clone().without_autodiff())
    };
    Linear {
        weight: head.weight.map(|weight| {
            let tracked = weight.is_require_grad();
            let plain = weight.inner();
            let picked = plain.clone().select(1, pick(&plain.device()));
            Tensor::from_inner(picked).set_require_grad(tracked)
        }),
        bias: head.bias.map(|bias| {
            bias.map(|bias| {
                let tracked = bias.is_require_grad();
                let plain = bias.inner();
                let picked = plain.clone().select(0, pick(&plain.device()));
                Tensor::from_inner(picked).set_require_grad(tracked)
            })
        }),
    }
}

/// A Llama for `task`, its numbers read and saved as `weights`; its head is drawn from `seed`. It is saved as padding with `pad_id`, without which transformers
/// takes one text at a time.
///
/// # Errors
/// When the folder cannot be read.
pub fn open_llama(
    path: &Path,
    task: GlueTask,
    seed: u64,
    pad_id: u32,
    weights: WeightDtype,
    device: &Device,
) -> Result<Opened<LlamaForSequenceClassification>> {
    let loaded = load_llama_classifier_as(path, task.num_labels(), seed, weights, device)?;
    let (mut config, labels) = (loaded.config, labels(task));
    config.pad_token_id = Some(pad_id);
    let mut model = loaded.model;
    if loaded.fresh.is_empty()
        && let Some(order) = order_of(path, &llama_labels(path)?, &labels)
    {
        model.score = reordered(model.score, &order);
    }
    Ok(Opened {
        model,
        parts: FineTuning::llama(loaded.fresh),
        save: Box::new(move |model, dir| {
            let options = SaveOptions::of(weights);
            Ok(save_llama_classifier_with(
                model, &config, &labels, dir, &options,
            )?)
        }),
    })
}

/// The tokenizer of a folder, or of a `tokenizer.json` that is given; cuts to `max_length`.
///
/// # Errors
/// When there is none, or it is broken.
pub fn pair_encoder(dir: &Path, given: Option<&Path>, max_length: usize) -> Result<PairEncoder> {
    let path = given.map_or_else(|| dir.join("tokenizer.json"), Path::to_owned);
    Ok(PairEncoder::from_file(&path, max_length)?)
}

fn labels(task: GlueTask) -> Labels {
    if task.is_regression() {
        Labels::numbered(1)
    } else {
        Labels::new(task.labels().iter().copied())
    }
}
