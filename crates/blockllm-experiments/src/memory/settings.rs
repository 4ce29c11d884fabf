//! What the memory experiment measures, by scale: sizes, methods, batch.
use crate::{Cli, Scale};
use anyhow::Result;
use blockllm_model::llama::LlamaConfig;
use blockllm_train::{Method, TrainConfig, WhenToCheck};

/// The methods, unless the command line names others: three sparsities beside what the paper compares with.
const METHODS: [&str; 11] = [
    "adamw",
    "galore:32+svd=randomized",
    "lora:8",
    "badam:1",
    "lisa:2",
    "scale",
    "blockllm-sgd:0.95",
    "blockllm:0.5",
    "blockllm:0.9",
    "blockllm:0.95",
    "blockllm:0.95+state=int8",
];

/// Rows and tokens of the paper's instruction tuning.
pub(super) const PAPER_BATCH: [u64; 2] = [1, 512];

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names and shapes of the models.
    pub sizes: Vec<(String, LlamaConfig)>,
    /// What is compared.
    pub methods: Vec<Method>,
    /// Rows of a batch.
    pub rows: usize,
    /// Tokens of a row.
    pub tokens: usize,
    /// Steps of a run: the first makes state, the second finds it there.
    pub steps: u64,
}

impl Settings {
    /// Those of the command line.
    ///
    /// # Errors
    /// When it names a method twice, or a model that is none.
    pub fn of(cli: &Cli) -> Result<Self> {
        let methods = if cli.methods.is_empty() {
            METHODS.map(Method::parse).into_iter().collect::<Result<_, _>>()?
        } else {
            cli.methods.clone()
        };
        crate::options::check_methods(cli, &methods)?;
        let sizes = match (&cli.model, cli.scale) {
            (Some(name), _) => vec![(name.clone(), LlamaConfig::preset(name)?)],
            (None, Scale::Quick) => vec![
                ("2m".to_owned(), LlamaConfig::new(2048, 160, 432, 4, 4)),
                ("tiny".to_owned(), LlamaConfig::preset("tiny")?),
                ("11m".to_owned(), LlamaConfig::new(4096, 320, 864, 7, 5)),
            ],
            (None, Scale::Cpu) => presets(&["tiny", "60m", "130m"])?,
            (None, Scale::Paper) => presets(&["60m", "130m", "350m", "1b"])?,
        };
        Ok(Self {
            sizes,
            methods,
            rows: 2,
            tokens: 128,
            steps: cli.steps.unwrap_or(3),
        })
    }

    /// How each run trains.
    pub fn train_config(&self, cli: &Cli) -> TrainConfig {
        TrainConfig {
            steps: self.steps,
            weights: cli.weights,
            backward: cli.backward,
            grad_accum_steps: cli.grad_accum_steps as usize,
            memory_sample_every: 1,
            self_check: WhenToCheck::Never,
            ..TrainConfig::default()
        }
    }

    /// One line for the terminal.
    pub fn describe(&self) -> String {
        let sizes: Vec<_> = self
            .sizes
            .iter()
            .map(|(name, config)| format!("{name} ({:.1} M)", config.num_parameters() as f64 / 1e6))
            .collect();
        format!(
            "memory: {} methods on {}; {} steps of {} x {} tokens",
            self.methods.len(),
            sizes.join(", "),
            self.steps,
            self.rows,
            self.tokens
        )
    }
}

fn presets(names: &[&str]) -> Result<Vec<(String, LlamaConfig)>> {
    let one = |name: &&str| Ok(((*name).to_owned(), LlamaConfig::preset(name)?));
    names.iter().map(one).collect()
}
