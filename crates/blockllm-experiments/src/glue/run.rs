//! The runs of the GLUE experiment: the same weights, head and batches for every method of a seed.
use super::checkpoint::{Checkpoint, Opened, open_encoder, open_llama};
use super::{Plan, Source, TaskPlan};
use crate::Cli;
use crate::recorded_run::{CompleteRun, FolderAndTerminal};
use anyhow::{Context, Result};
use blockllm_data::glue::{EpochConfig, GlueData, GlueTask, evaluation_batches, write_submission};
use blockllm_train::{
    Checkpoints, ExampleBatches, MemoryMeter, Method, Progress, RunFolder, RunResult, SequenceClassification,
    SequenceClassifier, Setup, TrainConfig, evaluate, train_resumable,
};
use burn::tensor::Device;
use serde::Serialize;
use std::path::Path;

/// A run and its task.
#[derive(Debug)]
pub struct TaskRun {
    /// The task.
    pub task: GlueTask,
    /// The run.
    pub run: CompleteRun,
}

/// What a run is a function of, beside its data.
#[derive(Serialize)]
struct RunConfig<'a> {
    task: GlueTask,
    method: &'a Method,
    train: &'a TrainConfig,
    checkpoint: String,
    epochs: &'a EpochConfig,
    max_length: usize,
    device: &'a str,
}

/// What pins the data of a run.
#[derive(Serialize)]
struct TaskManifest<'a> {
    source: &'a Source,
    train_rows: usize,
    validation_rows: usize,
    rows_sha256: String,
    tokenizer_sha256: &'a str,
}

/// One run of one task; everything that it needs.
struct TaskRunner<'a> {
    cli: &'a Cli,
    plan: &'a Plan,
    task: &'a TaskPlan,
    method: &'a Method,
    config: TrainConfig,
    epochs: EpochConfig,
}

/// Runs every seed of every method on every task.
pub(super) fn all(cli: &Cli, plan: &Plan) -> Result<Vec<TaskRun>> {
    let mut runs = Vec::new();
    for task in &plan.tasks {
        for seed in 0..cli.seeds {
            for method in &plan.methods {
                let name = task.data.task.name();
                let run = one(cli, plan, task, method, seed);
                let run = run.with_context(|| format!("{name}, method `{}`, seed {seed}", method.label))?;
                runs.push(TaskRun {
                    task: task.data.task,
                    run,
                });
            }
        }
    }
    Ok(runs)
}

fn one(cli: &Cli, plan: &Plan, task: &TaskPlan, method: &Method, seed: u64) -> Result<CompleteRun> {
    let epochs = plan.epochs(task.data.task, seed);
    let batches = ExampleBatches::new(task.train.clone(), epochs.clone())?.batches_per_epoch();
    let runner = TaskRunner {
        cli,
        plan,
        task,
        method,
        config: plan.train_config(cli, task.data.task, method, batches, seed),
        epochs,
    };
    let config = RunConfig {
        task: task.data.task,
        method,
        train: &runner.config,
        checkpoint: plan.checkpoint.describe(),
        epochs: &runner.epochs,
        max_length: plan.settings.max_length,
        device: cli.device.name(),
    };
    let manifest = TaskManifest {
        source: &plan.source,
        train_rows: task.data.train.len(),
        validation_rows: task.data.validation.len(),
        rows_sha256: task.data.sha256(),
        tokenizer_sha256: plan.encoder.tokenizer().sha256(),
    };
    let folder = cli.out.join("glue").join(task.data.task.name());
    let path = folder.join(method.folder_name(seed));
    CompleteRun::of(cli, path, &config, &manifest, |folder, checkpoints| {
        let task = task.data.task;
        match &plan.checkpoint {
            Checkpoint::Llama(path, _) => {
                runner.train(folder, checkpoints, |device| open_llama(path, task, seed, device))
            }
            checkpoint => runner.train(folder, checkpoints, |device| {
                open_encoder(checkpoint, task, seed, device)
            }),
        }
    })
}

impl TaskRunner<'_> {
    fn train<M: SequenceClassifier>(
        &self,
        folder: &mut RunFolder,
        checkpoints: &Checkpoints,
        open: impl FnOnce(&Device) -> Result<Opened<M>>,
    ) -> Result<RunResult> {
        let task = self.task.data.task;
        let device = self.cli.device.open()?.autodiff();
        let mut batches = ExampleBatches::new(self.task.train.clone(), self.epochs.clone())?;
        let meter = MemoryMeter::start(&device);
        let opened = open(&device)?;
        let label = format!(
            "{} {} (seed {})",
            task.name(),
            self.method.label,
            self.config.seed
        );
        if !opened.parts.fresh.is_empty() {
            eprintln!(
                "{label}: drawn afresh and always trained: {}",
                opened.parts.fresh.join(", ")
            );
        }
        let method = self.method.clone().fine_tuning(&opened.parts);
        let objective = SequenceClassification::new(task);
        let path = folder.path().to_owned();
        let mut observer = FolderAndTerminal {
            folder,
            progress: Progress::new(&label, self.config.steps),
        };
        let setup = Setup {
            objective: &objective,
            method: &method,
            config: &self.config,
            validation: &self.task.validation,
            device: &device,
        };
        let trained = train_resumable(
            &setup,
            opened.model,
            &mut batches,
            meter,
            &mut observer,
            checkpoints,
        )?;
        let mut result = RunResult::new(&method, &self.config, self.cli.device.name(), &trained);
        if !self.task.validation_mismatched.is_empty() {
            let mismatched = evaluate(
                &objective,
                &trained.model,
                &self.task.validation_mismatched,
                &device,
            )?;
            let metrics = &mut result.last.evaluation.metrics;
            metrics.extend(
                mismatched
                    .metrics
                    .into_iter()
                    .map(|(name, value)| (format!("{name} (mismatched)"), value)),
            );
        }
        let model = trained.model.valid();
        let device = device.without_autodiff();
        if self.cli.predict_test {
            self.predict(&objective, &model, &device, &path)?;
        }
        if self.cli.save_model {
            let dir = path.join("model");
            (opened.save)(&model, &dir)?;
            self.plan.encoder.tokenizer().save(&dir.join("tokenizer.json"))?;
            eprintln!("{label}: saved to {}", dir.display());
        }
        Ok(result)
    }

    /// Writes the submission files of the task, and with MNLI that of the diagnostic set.
    fn predict<M: SequenceClassifier>(
        &self,
        objective: &SequenceClassification<M>,
        model: &M,
        device: &Device,
        path: &Path,
    ) -> Result<()> {
        let task = self.task.data.task;
        let encoder = &self.plan.encoder;
        let dir = path.join("submission");
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let write = |task: GlueTask, mismatched: bool, batches: &[_]| -> Result<()> {
            if batches.is_empty() {
                return Ok(());
            }
            let predicted = objective.predict(model, batches, device)?;
            let file = write_submission(&dir, task, mismatched, &predicted)?;
            eprintln!(
                "{}: {} predictions in {}",
                task.name(),
                predicted.len(),
                file.display()
            );
            Ok(())
        };
        write(task, false, &self.task.test_batches(encoder, false)?)?;
        write(task, true, &self.task.test_batches(encoder, true)?)?;
        if task == GlueTask::Mnli
            && let Source::Files(folder) = &self.plan.source
            && let Ok(diagnostic) = GlueData::open(folder, GlueTask::Ax)
        {
            let rows = encoder.encode_all(&diagnostic.test)?;
            write(
                GlueTask::Ax,
                false,
                &evaluation_batches(&rows, 32, encoder.pad_id()),
            )?;
        }
        Ok(())
    }
}
