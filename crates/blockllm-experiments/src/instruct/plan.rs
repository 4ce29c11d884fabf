//! What instruction tuning will run: model, data as tokens, template, methods and settings.
use super::{Checkpoint, Save, Settings};
use crate::byte_size::gigabytes;
use crate::{Cli, Scale, backward_choice, options, workspace_dir};
use anyhow::{Context, Result, bail};
use blockllm_data::hashing::sha256_hex;
use blockllm_data::instruct::{
    ChatTemplate, DataFile, EncodedData, InstructData, InstructEncoder, PlacedExample,
    instruct_validation_batches,
};
use blockllm_data::{FileRole, LmBatch, ReadingConfig};
use blockllm_model::llama::LlamaConfig;
use blockllm_train::memory::ModelShape;
use blockllm_train::{CountingAllocator, FineTuning, Method, PretrainedLm, TrainConfig, WeightType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Examples whose answers are shown in the report.
const SHOWN: usize = 3;

/// What is asked for, beside what every experiment's command line has.
#[derive(Debug)]
pub struct Request {
    /// The files; none for the embedded set.
    pub files: Vec<DataFile>,
    /// The folder or GGUF file of the model; a small one from random weights without.
    pub model: Option<PathBuf>,
    /// The template, in place of the tokenizer's own.
    pub template: Option<ChatTemplate>,
    /// Lengths, batches, steps.
    pub settings: Settings,
    /// Whether the length of a row was asked for; another is cut to the model's positions.
    pub is_given_length: bool,
    /// What is kept of each model.
    pub save: Save,
}

/// Everything that all runs share.
#[derive(Debug)]
pub struct Plan {
    /// Lengths, batches, steps.
    pub settings: Settings,
    /// What is tuned.
    pub checkpoint: Checkpoint,
    /// Of its files, if there are any.
    pub checkpoint_sha256: Option<String>,
    /// Renders and tokenizes.
    pub encoder: InstructEncoder,
    /// The data, in words.
    pub source: String,
    /// What is trained on.
    pub train: Arc<EncodedData>,
    /// What is evaluated on.
    pub validation: Vec<LmBatch>,
    /// What pins the validation data.
    pub validation_identity: String,
    /// Examples whose prompts are answered at the end of a run.
    pub shown: Vec<PlacedExample>,
    /// The methods.
    pub methods: Vec<Method>,
    /// In what the weights are kept.
    pub weights: WeightType,
    /// What is kept of each model.
    pub save: Save,
    /// What a user should know before it begins.
    pub notes: Vec<String>,
}

impl Request {
    /// What the command line of the experiment asks for.
    ///
    /// # Errors
    /// When settings do not fit together, or there is no data where it should be.
    pub fn of(cli: &Cli) -> Result<Self> {
        let settings = Settings::of(cli.scale).overridden(cli)?;
        if cli.scale == Scale::Paper && cli.model_dir.is_none() {
            bail!(
                "the paper's scale tunes LLaMA-2 7B: give its folder, with config.json, weights and tokenizer.json, by --model-dir, \
                 or choose another --scale for a small model from random weights"
            );
        }
        Ok(Self {
            files: files(cli.data.as_deref())?,
            model: cli.model_dir.clone(),
            template: None,
            settings,
            is_given_length: cli.max_length.is_some(),
            save: if cli.save_model {
                Save::Model
            } else {
                Save::Nothing
            },
        })
    }
}

impl Plan {
    /// Opens the model, reads the data and makes tokens of it.
    ///
    /// # Errors
    /// When model, tokenizer or data are not there or do not fit together.
    pub fn new(cli: &Cli, request: Request) -> Result<Self> {
        let mut settings = request.settings;
        let reading = ReadingConfig {
            bad_documents: cli.bad_documents,
            ..ReadingConfig::default()
        };
        // Told before the data is read: a name is mistyped sooner than a file is broken.
        let pretrained = match &request.model {
            Some(path) => {
                let model = PretrainedLm::open(path, cli.tokenizer.as_deref())?;
                model.check_weights()?;
                // What `generate` and `chat` would refuse of the saved folder is told before it is trained.
                model.generation()?;
                Some(model)
            }
            None => None,
        };
        let data = InstructData::open(&request.files, workspace_dir::find(), reading)?;
        let mut notes = Vec::new();
        if !data.skipped.is_nothing() {
            notes.push(format!("data: {} left out, being broken", data.skipped));
        }
        let positions = pretrained.as_ref().map(|model| model.config().num_positions());
        if let Some(positions) = positions.filter(|positions| *positions < settings.encoding.max_tokens)
            && !request.is_given_length
        {
            settings.encoding.max_tokens = positions;
            notes.push(format!(
                "rows have {positions} tokens, which are all positions of the model"
            ));
        }
        let length = settings.encoding.max_tokens;
        let (checkpoint, template) = match pretrained {
            Some(model) => with_template(model, request.template, &mut notes),
            None => (
                Checkpoint::scratch(&data, cli.tokenizer.as_deref(), length)?,
                request.template.unwrap_or_else(ChatTemplate::alpaca),
            ),
        };
        check_length(&checkpoint, length)?;
        notes.extend(beyond_window(checkpoint.config(), settings.micro_batch()));
        let methods = methods(cli, &settings)?;
        request.save.check(&checkpoint, &methods)?;
        notes.extend(request.save.note(&methods));
        let encoder = InstructEncoder::new(checkpoint.tokenizer().clone(), template)?;
        let encode =
            |role| CountingAllocator::apart(|| EncodedData::new(&data, role, &encoder, settings.encoding));
        let (train, validation) = (encode(FileRole::Train)?, encode(FileRole::Validation)?);
        notes.extend(told(&train, "training"));
        notes.extend(told(&validation, "validation"));
        let weights = match (cli.scale, cli.is_given("weights")) {
            (Scale::Paper, false) => WeightType::Bf16,
            _ => cli.weights,
        };
        Ok(Self {
            methods,
            checkpoint_sha256: checkpoint.sha256()?,
            checkpoint,
            source: data.description.clone(),
            shown: data
                .validation
                .iter()
                .flat_map(|source| &source.examples)
                .take(SHOWN)
                .cloned()
                .collect(),
            validation: CountingAllocator::apart(|| {
                instruct_validation_batches(&validation, &settings.batches(0), settings.validation_rows)
            }),
            validation_identity: validation.identity,
            train: Arc::new(train),
            encoder,
            weights,
            save: request.save,
            notes,
            settings,
        })
    }

    /// Optimizer steps of a run.
    pub fn steps(&self) -> u64 {
        self.settings.steps_over(self.train.rows(self.settings.layout))
    }

    /// How a method is trained for a seed.
    ///
    /// # Errors
    /// When the method does not fit the model.
    pub fn train_config(&self, cli: &Cli, method: &Method, seed: u64) -> Result<TrainConfig> {
        let rate = self.settings.rate(method, self.checkpoint.is_pretrained());
        let steps = self.steps();
        let config = TrainConfig {
            steps,
            grad_accum_steps: self.settings.grad_accum_steps,
            learning_rate: method.learning_rate.unwrap_or(rate),
            schedule: self.settings.schedule,
            evaluate_every: self.settings.evaluate_every(steps),
            stop_after: self.settings.stop_after,
            weights: self.weights,
            bad_steps: cli.bad_steps,
            seed,
            ..TrainConfig::default()
        };
        let model = self.shape();
        let backward = backward_choice::of_run(cli, &model, method, &config, self.settings.micro_batch())?;
        Ok(TrainConfig { backward, ..config })
    }

    /// The model's shape, for an estimate of what it needs.
    pub fn shape(&self) -> ModelShape {
        ModelShape::Llama(self.checkpoint.config().clone())
    }

    /// A hash of the chat template's source.
    pub fn template_sha256(&self) -> String {
        sha256_hex(self.encoder.template().source().as_bytes())
    }

    /// One line for the terminal and the report.
    pub fn describe(&self) -> String {
        let [rows, tokens] = self.settings.micro_batch();
        let methods = self.methods.len();
        format!(
            "instruct: {}; {}; {} steps, micro-batches of {rows} x {tokens} tokens; {methods} method{}",
            self.checkpoint.describe(),
            self.source,
            self.steps(),
            if methods == 1 { "" } else { "s" }
        )
    }

    /// That only some of the validation rows are evaluated, in words; nothing where all are.
    fn rows_told(&self) -> String {
        match self.settings.validation_rows {
            Some(most) => format!(", in at most {most} rows, evenly spaced over all"),
            None => String::new(),
        }
    }

    /// All that the runs share, by name.
    pub fn table(&self, cli: &Cli) -> Vec<(&'static str, String)> {
        let Settings {
            batch_size,
            grad_accum_steps,
            encoding,
            layout,
            patience,
            ..
        } = &self.settings;
        let labels: usize = self.validation.iter().map(LmBatch::label_tokens).sum();
        vec![
            ("model", self.checkpoint.describe()),
            ("data", self.source.clone()),
            ("examples", self.train.counts.to_string()),
            ("chat template", self.encoder.template().label().to_owned()),
            ("loss", format!("on {:?}", encoding.loss_on).to_lowercase()),
            (
                "a step",
                format!(
                    "{batch_size} rows of {} tokens ({layout:?}), in {grad_accum_steps} micro-batches",
                    encoding.max_tokens
                ),
            ),
            ("steps", self.steps().to_string()),
            ("learning rate", self.settings.describe_rate(&self.methods)),
            (
                "patience",
                format!("{patience} steps without a falling loss, or between selections"),
            ),
            ("weights", format!("{:?}", self.weights).to_lowercase()),
            ("device", cli.device.name().to_owned()),
            (
                "validation",
                format!("{labels} tokens of answers{}", self.rows_told()),
            ),
        ]
    }
}

/// The template that is asked for, else the model's own, else Alpaca's, which is told.
fn with_template(
    model: PretrainedLm,
    asked: Option<ChatTemplate>,
    notes: &mut Vec<String>,
) -> (Checkpoint, ChatTemplate) {
    let (model, template) = match (asked, model.template()) {
        (None, Some(own)) => {
            let own = own.clone();
            (model, own)
        }
        (asked, _) => {
            let template = asked.unwrap_or_else(|| {
                notes.push(
                    "the tokenizer has no chat template: conversations are written in Alpaca's plain form, which is saved with the \
                     model"
                        .to_owned(),
                );
                ChatTemplate::alpaca()
            });
            (model.with_template(template.clone()), template)
        }
    };
    (Checkpoint::Pretrained(Box::new(model)), template)
}

fn check_length(checkpoint: &Checkpoint, length: usize) -> Result<()> {
    let positions = checkpoint.config().num_positions();
    if length > positions {
        bail!("--max-length {length} is more than the {positions} positions of the model: use at most that");
    }
    Ok(())
}

/// What a plan of memory does not count where rows are longer than a sliding window.
fn beyond_window(config: &LlamaConfig, [rows, tokens]: [usize; 2]) -> Option<String> {
    let windows: Vec<usize> = (0..config.num_hidden_layers)
        .filter_map(|layer| config.window_of(layer))
        .filter(|window| tokens > *window)
        .collect();
    let window = *windows.first()?;
    // Scores and their softmax, in f32.
    let bytes = 8 * rows * config.num_attention_heads * (tokens - window) * window;
    Some(format!(
        "rows of {tokens} tokens are longer than the window of {window}: for a whole backward pass each of {} layers keeps about {} \
         that no plan of memory counts; --backward layer-wise has one layer at work, --max-length {window} needs none of it",
        windows.len(),
        gigabytes(bytes as u64)
    ))
}

/// What was cut or left out, if anything was.
fn told(data: &EncodedData, part: &str) -> Vec<String> {
    let counts = data.counts;
    let mut notes = Vec::new();
    if counts.cut + counts.too_long + counts.without_answer > 0 {
        notes.push(format!("{part} data: {counts}"));
    }
    if !data.skipped.is_nothing() {
        notes.push(format!("{part} data: {} left out, being broken", data.skipped));
    }
    notes
}

/// The files that `data` names: itself, or all instruction files of a folder.
fn files(data: Option<&Path>) -> Result<Vec<DataFile>> {
    let Some(path) = data else {
        return Ok(Vec::new());
    };
    if !path.is_dir() {
        return Ok(vec![DataFile::new(path)]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let is_records = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
        [".json", ".jsonl"].iter().any(|end| name.ends_with(end))
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("reading {}", path.display()))?;
    files.retain(is_records);
    files.sort();
    if files.is_empty() {
        bail!(
            "{} holds no .json or .jsonl file: name the folder or file of your instructions",
            path.display()
        );
    }
    Ok(files.into_iter().map(DataFile::new).collect())
}

/// The methods of the command line, or the scale's own, as they tune a pretrained model.
fn methods(cli: &Cli, settings: &Settings) -> Result<Vec<Method>> {
    // The last one is not in the paper.
    let all = [
        "adamw",
        "lora:8",
        "galore:8+svd=randomized",
        "badam:1",
        "lisa:2",
        "blockllm:0.95",
        "blockllm-sgd:0.95",
    ];
    let defaults: &[&str] = match cli.scale {
        Scale::Quick => &["adamw", "blockllm:0.95", "lora:8", "blockllm-sgd:0.95"],
        Scale::Cpu => &all,
        Scale::Paper => &all[..all.len() - 1],
    };
    let parts = FineTuning::language_model();
    let methods = options::methods(cli, defaults, settings.patience)?;
    Ok(methods
        .into_iter()
        .map(|method| method.fine_tuning(&parts))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_model::llama::LlamaFamily;

    #[test]
    fn rows_beyond_a_window_are_told_with_what_they_keep() {
        let config = LlamaConfig {
            family: LlamaFamily::Mistral,
            sliding_window: Some(4096),
            ..LlamaConfig::new(96, 64, 64, 3, 32)
        };
        let told = beyond_window(&config, [1, 8192]).unwrap();
        for part in ["8192 tokens", "window of 4096", "3 layers", "4.29 GB"] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(beyond_window(&config, [1, 4096]), None);
        assert_eq!(
            beyond_window(&LlamaConfig::new(96, 64, 64, 3, 32), [1, 8192]),
            None
        );
    }
}
