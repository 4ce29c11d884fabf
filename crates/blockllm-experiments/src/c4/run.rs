//! The runs of the C4 experiment: the same initial weights and data order for every method of a seed.
use super::Plan;
use crate::Cli;
use anyhow::{Context, Result};
use blockllm_data::{LmBatch, LoaderConfig, validation_batches};
use blockllm_model::hf::save_pretrained;
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_optim::{Parameter, parameters};
use blockllm_policy::{Role, Roles};
use blockllm_train::{
    Algorithm, Checkpoints, LanguageModeling, MemoryMeter, Method, Progress, Record, RunFolder, RunObserver,
    RunResult, Setup, TextBatches, TrainConfig, TrainError, train_resumable,
};
use burn::module::Module;
use serde::Serialize;

/// A complete run: its result, and its folder for the curves.
#[derive(Debug)]
pub struct CompleteRun {
    /// The figures.
    pub result: RunResult,
    /// Where its records are.
    pub folder: RunFolder,
}

/// What a run is a function of, beside its data manifest.
#[derive(Serialize)]
struct RunConfig<'a> {
    method: &'a Method,
    train: &'a TrainConfig,
    model: &'a LlamaConfig,
    loader: &'a LoaderConfig,
    device: &'a str,
    validation_labels: usize,
}

/// Runs every seed of every method.
pub(super) fn all(cli: &Cli, plan: &Plan) -> Result<Vec<CompleteRun>> {
    let validation = validation_batches(
        &plan.corpus,
        &plan.tokenizer,
        &plan.loader(0),
        plan.settings.validation_labels,
    )?;
    let mut runs = Vec::new();
    for seed in 0..cli.seeds {
        for method in &plan.methods {
            let run = one(cli, plan, method, seed, &validation);
            runs.push(run.with_context(|| format!("method `{}`, seed {seed}", method.label))?);
        }
    }
    Ok(runs)
}

fn one(cli: &Cli, plan: &Plan, method: &Method, seed: u64, validation: &[LmBatch]) -> Result<CompleteRun> {
    let loader = plan.loader(seed);
    let train_config = plan.train_config(cli, method, seed);
    let config = RunConfig {
        method,
        train: &train_config,
        model: &plan.model,
        loader: &loader,
        device: cli.device.name(),
        validation_labels: plan.settings.validation_labels,
    };
    let mut folder = RunFolder::new(cli.out.join("c4").join(method.folder_name(seed)));
    if cli.resume
        && let Some(result) = folder.finished(&config, &plan.manifest)?
    {
        eprintln!("{}: complete, not run again", folder.path().display());
        return Ok(CompleteRun { result, folder });
    }
    let checkpoints = Checkpoints::new(folder.path(), cli.checkpoint_every);
    let resumed = match checkpoints.newest().filter(|_| cli.resume) {
        Some(step) => folder.resume(&config, &plan.manifest, step)?,
        None => false,
    };
    if !resumed {
        checkpoints.clear()?;
        folder.start(&config, &plan.manifest)?;
    }
    let result = train_one(cli, plan, method, &train_config, loader, validation, &mut folder)?;
    folder.finish(&result)?;
    checkpoints.clear()?;
    Ok(CompleteRun { result, folder })
}

fn train_one(
    cli: &Cli,
    plan: &Plan,
    method: &Method,
    config: &TrainConfig,
    loader: LoaderConfig,
    validation: &[LmBatch],
    folder: &mut RunFolder,
) -> Result<RunResult> {
    let device = cli.device.open()?.autodiff();
    let mut batches = TextBatches::new(plan.corpus.clone(), plan.tokenizer.clone(), loader)?;
    let meter = MemoryMeter::start(&device);
    let model = plan.model.init(config.seed, &device);
    let label = format!("{} (seed {})", method.label, config.seed);
    warn_of_untrained(&label, &model, method);
    let checkpoints = Checkpoints::new(folder.path(), cli.checkpoint_every);
    let saved_model = folder.path().join("model");
    let mut observer = Both {
        folder,
        progress: Progress::new(&label, config.steps),
    };
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method,
        config,
        validation,
        device: &device,
    };
    let trained = train_resumable(&setup, model, &mut batches, meter, &mut observer, &checkpoints)?;
    if cli.save_model {
        save_pretrained(&trained.model.valid(), &plan.model, &saved_model)?;
        plan.tokenizer.save(&saved_model.join("tokenizer.json"))?;
        eprintln!("{label}: saved to {}", saved_model.display());
    }
    Ok(RunResult {
        method: method.label.clone(),
        seed: config.seed,
        method_config: method.clone(),
        train_config: config.clone(),
        device: cli.device.name().to_owned(),
        validation_perplexity: trained.last.evaluation.perplexity,
        untrained_perplexity: trained.untrained.evaluation.perplexity,
        validation_labels: trained.last.evaluation.labels,
        steps: config.steps,
        tokens_seen: trained.tokens_seen,
        step_ms: trained.step_ms,
        tokens_per_second: trained.tokens_per_second,
        parameters: trained.parameters,
        trained_entries: trained.trained_entries,
        trained_share: trained.trained_entries as f64 / trained.parameters as f64,
        selections: trained.selections,
        blocks: trained.blocks,
        memory: trained.memory,
    })
}

/// In pretraining, what is never trained stays random: the user may not have meant that.
fn warn_of_untrained(label: &str, model: &LlamaForCausalLM, method: &Method) {
    let Algorithm::Blocks(blocks) = &method.algorithm else {
        return;
    };
    let roles = Roles {
        always: vec![],
        never: blocks.never.clone(),
    };
    let parameters = parameters(model);
    let entries =
        |parameters: &mut dyn Iterator<Item = &Parameter>| parameters.map(|p| p.info.numel).sum::<u64>();
    let never = entries(
        &mut parameters
            .iter()
            .filter(|parameter| roles.role(&parameter.info.path) == Role::Never),
    );
    if never > 0 {
        let share = 100.0 * never as f64 / entries(&mut parameters.iter()) as f64;
        eprintln!(
            "warning: {label}: {share:.1} % of the model is never trained and stays at its random initial weights"
        );
    }
}

/// Tells the run's folder and the terminal.
struct Both<'a> {
    folder: &'a mut RunFolder,
    progress: Progress,
}

impl RunObserver for Both<'_> {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.folder.record(record)?;
        self.progress.record(record)
    }
}
