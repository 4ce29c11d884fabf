//! The runs of the C4 experiment: the same initial weights and data order for every method of a seed.
use super::Plan;
use crate::Cli;
use crate::recorded_run::{CompleteRun, FolderAndTerminal};
use anyhow::{Context, Result};
use blockllm_data::{LmBatch, LoaderConfig, validation_batches};
use blockllm_model::hf::save_pretrained;
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_optim::{Parameter, parameters};
use blockllm_policy::{Role, Roles};
use blockllm_train::{
    Algorithm, Checkpoints, LanguageModeling, MemoryMeter, Method, Progress, RunFolder, RunResult, Setup,
    TextBatches, TrainConfig, train_resumable,
};
use burn::module::Module;
use serde::Serialize;

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
    for seed in cli.seeds() {
        for method in &plan.methods {
            let run = one(cli, plan, method, seed, &validation);
            runs.push(run.with_context(|| format!("method `{}`, seed {seed}", method.label))?);
        }
    }
    Ok(runs)
}

fn one(cli: &Cli, plan: &Plan, method: &Method, seed: u64, validation: &[LmBatch]) -> Result<CompleteRun> {
    let loader = plan.loader(seed);
    let train_config = plan.train_config(cli, method, seed)?;
    let config = RunConfig {
        method,
        train: &train_config,
        model: &plan.model,
        loader: &loader,
        device: cli.device.name(),
        validation_labels: plan.settings.validation_labels,
    };
    let path = cli.out.join("c4").join(method.folder_name(seed));
    CompleteRun::of(cli, path, &config, &plan.manifest, |folder, checkpoints| {
        train_one(
            cli,
            plan,
            method,
            &train_config,
            loader.clone(),
            validation,
            folder,
            checkpoints,
        )
    })
}

#[allow(clippy::too_many_arguments, reason = "all of a run, named once")]
fn train_one(
    cli: &Cli,
    plan: &Plan,
    method: &Method,
    config: &TrainConfig,
    loader: LoaderConfig,
    validation: &[LmBatch],
    folder: &mut RunFolder,
    checkpoints: &Checkpoints,
) -> Result<RunResult> {
    let device = cli.device.open()?.autodiff();
    let mut batches = TextBatches::new(plan.corpus.clone(), plan.tokenizer.clone(), loader)?;
    let meter = MemoryMeter::start(&device);
    let model = plan.model.init(config.seed, &device);
    let label = format!("{} (seed {})", method.label, config.seed);
    warn_of_untrained(&label, &model, method);
    let saved_model = folder.path().join("model");
    let mut observer = FolderAndTerminal {
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
    let trained = train_resumable(&setup, model, &mut batches, meter, &mut observer, checkpoints)?;
    if cli.save_model {
        save_pretrained(&trained.model.valid(), &plan.model, &saved_model)?;
        plan.tokenizer.save(&saved_model.join("tokenizer.json"))?;
        eprintln!("{label}: saved to {}", saved_model.display());
    }
    Ok(RunResult::new(method, config, cli.device.name(), &trained))
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
