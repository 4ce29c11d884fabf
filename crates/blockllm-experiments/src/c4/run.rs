//! The runs of the C4 experiment: the same initial weights and data order for every method of a seed.
use super::Plan;
use crate::experiment::PlannedRun;
use crate::recorded_run::{self, FolderAndTerminal, Job};
use crate::report::format::learning_rate;
use crate::run_place::RunPlace;
use crate::{Cli, tokenizer_files};
use anyhow::Result;
use blockllm_data::LoaderConfig;
use blockllm_model::hf::{SaveOptions, save_pretrained_with};
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_optim::{Parameter, parameters};
use blockllm_policy::{Role, Roles};
use blockllm_train::tell_line;
use blockllm_train::{
    Checkpoints, MemoryMeter, Method, Progress, RunFolder, RunResult, Setup, TextBatches, TrainConfig,
    train_resumable,
};
use burn::module::Module;
use serde::Serialize;
use std::path::Path;

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

/// One run; everything that it needs.
struct C4Job<'a> {
    cli: &'a Cli,
    plan: &'a Plan,
    method: &'a Method,
    config: TrainConfig,
    loader: LoaderConfig,
}

/// Every method of every seed.
pub(super) fn planned<'a>(cli: &'a Cli, plan: &'a Plan) -> Result<Vec<PlannedRun<'a, ()>>> {
    let mut runs = Vec::new();
    for seed in cli.seeds() {
        for method in &plan.methods {
            let job = C4Job {
                cli,
                plan,
                method,
                config: plan.train_config(cli, method, seed)?,
                loader: plan.loader(seed),
            };
            let rate = learning_rate(job.config.learning_rate);
            runs.push(PlannedRun {
                place: job.place()?,
                part: (),
                method: &method.label,
                title: format!("method `{}`, seed {seed}", method.label),
                settings: format!("{} at {rate}", job.label()),
                job: Box::new(job),
            });
        }
    }
    Ok(runs)
}

impl C4Job<'_> {
    fn place(&self) -> Result<RunPlace> {
        let config = RunConfig {
            method: self.method,
            train: &self.config,
            model: &self.plan.model,
            loader: &self.loader,
            device: self.cli.device.name(),
            validation_labels: self.plan.settings.validation_labels,
        };
        let name = self.method.folder_name(self.config.seed);
        RunPlace::find(
            self.cli,
            &self.cli.out.join("c4"),
            &name,
            &config,
            &self.plan.manifest,
        )
    }

    fn label(&self) -> String {
        format!("{} (seed {})", self.method.label, self.config.seed)
    }

    fn save(&self, model: &LlamaForCausalLM, folder: &Path) -> Result<()> {
        let dir = folder.join("model");
        recorded_run::write_whole(&dir, |dir| {
            let options = SaveOptions::of(self.config.weights.into());
            save_pretrained_with(model, &self.plan.model, dir, &options)?;
            tokenizer_files::write(&self.plan.tokenizer, self.plan.model.max_position_embeddings, dir)
        })?;
        tell_line!("{}: saved to {}", self.label(), dir.display());
        Ok(())
    }
}

impl Job for C4Job<'_> {
    fn train(&self, folder: &mut RunFolder, checkpoints: &Checkpoints) -> Result<RunResult> {
        let (plan, config) = (self.plan, &self.config);
        let device = self.cli.device.open()?.autodiff();
        config.weights.check(&device)?;
        let mut batches = TextBatches::new(plan.corpus.clone(), plan.tokenizer.clone(), self.loader.clone())?;
        let meter = MemoryMeter::start(&device);
        let model = plan.model.init_as(config.seed, config.weights.into(), &device);
        warn_of_untrained(&self.label(), &model, self.method);
        let path = folder.path().to_owned();
        let mut observer = FolderAndTerminal {
            folder,
            progress: Progress::new(&self.label(), config.steps),
        };
        let setup = Setup {
            objective: &plan.objective(),
            method: self.method,
            config,
            validation: &plan.validation.batches,
            device: &device,
        };
        let trained = train_resumable(&setup, model, &mut batches, meter, &mut observer, checkpoints)?;
        if self.cli.save_model {
            self.save(&trained.model.valid(), &path)?;
        }
        Ok(RunResult::new(
            self.method,
            config,
            self.cli.device.name(),
            &trained,
        ))
    }

    fn outputs(&self) -> Vec<&'static str> {
        if self.cli.save_model {
            vec!["model"]
        } else {
            Vec::new()
        }
    }

    fn write_outputs(&self, folder: &Path, checkpoints: &Checkpoints, result: &RunResult) -> Result<()> {
        let device = self.cli.device.open()?.autodiff();
        let model = self
            .plan
            .model
            .init_as(self.config.seed, self.config.weights.into(), &device);
        let model = checkpoints.trained(model, self.method, &self.config, result.weights_step)?;
        self.save(&model.valid(), folder)
    }
}

/// In pretraining, what is never trained stays random: the user may not have meant that.
fn warn_of_untrained(label: &str, model: &LlamaForCausalLM, method: &Method) {
    let roles = Roles {
        always: vec![],
        never: method.algorithm.never().to_vec(),
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
        tell_line!(
            "warning: {label}: {share:.1} % of the model is never trained and stays at its random initial weights"
        );
    }
}
