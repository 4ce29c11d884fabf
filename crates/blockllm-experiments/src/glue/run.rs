//! The runs of the GLUE experiment: the same weights, head and batches for every method of a seed.
use super::checkpoint::{Checkpoint, Opened, open_encoder, open_llama};
use super::rows::EVALUATION_BATCH;
use super::{Plan, Source, TaskPlan};
use crate::Cli;
use crate::recorded_run::{CompleteRun, FolderAndTerminal};
use anyhow::{Context, Result, bail};
use blockllm_data::DataError;
use blockllm_data::glue::{EpochConfig, GlueData, GlueTask, evaluation_batches, write_submission};
use blockllm_train::{
    Checkpoints, ExampleBatches, MemoryMeter, Method, Progress, RunFolder, RunResult, SequenceClassification,
    SequenceClassifier, Setup, TrainConfig, TrainError, evaluate, train_resumable,
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

/// All that was run.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The complete ones.
    pub complete: Vec<TaskRun>,
    /// Those whose loss, gradients or logits were no longer numbers: which, and what was said.
    pub diverged: Vec<String>,
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
    rows_sha256: &'a str,
    tokenizer_sha256: &'a str,
    checkpoint_sha256: Option<&'a str>,
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

/// Runs every seed of every method on every task; one that diverges does not take the others with it.
pub(super) fn all(cli: &Cli, plan: &Plan) -> Result<Runs> {
    let mut runs = Runs::default();
    for task in &plan.tasks {
        for seed in cli.seeds() {
            for method in &plan.methods {
                let name = task.data.task.name();
                let label = format!("{name}, method `{}`, seed {seed}", method.label);
                match one(cli, plan, task, method, seed) {
                    Ok(run) => runs.complete.push(TaskRun {
                        task: task.data.task,
                        run,
                    }),
                    Err(error) if is_divergence(&error) => {
                        eprintln!("{label}: {error:#}; going on with the other runs");
                        runs.diverged.push(format!("{label}: {error:#}"));
                    }
                    Err(error) => return Err(error.context(label)),
                }
            }
        }
    }
    Ok(runs)
}

fn is_divergence(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<TrainError>()
        .is_some_and(TrainError::is_divergence)
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
        rows_sha256: &task.rows_sha256,
        tokenizer_sha256: plan.encoder.tokenizer().sha256(),
        checkpoint_sha256: plan.checkpoint_sha256.as_deref(),
    };
    let folder = cli.out.join("glue").join(task.data.task.name());
    let path = folder.join(method.folder_name(seed));
    let run = CompleteRun::of(cli, path, &config, &manifest, |folder, checkpoints| {
        let task = task.data.task;
        let pad_id = u32::try_from(plan.encoder.pad_id())?;
        match &plan.checkpoint {
            Checkpoint::Llama(path, _) => runner.train(folder, checkpoints, |device| {
                open_llama(path, task, seed, pad_id, device)
            }),
            checkpoint => runner.train(folder, checkpoints, |device| {
                open_encoder(checkpoint, task, seed, device)
            }),
        }
    })?;
    for (asked, name) in [(cli.predict_test, "submission"), (cli.save_model, "model")] {
        let output = run.folder.path().join(name);
        if asked && !output.is_dir() {
            bail!(
                "{} is missing, and the weights of this complete run were not kept: train it again without --resume, or \
                 in another --out",
                output.display()
            );
        }
    }
    Ok(run)
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
        {
            let diagnostic = match GlueData::open(folder, GlueTask::Ax) {
                Err(DataError::NoTask { .. }) => Vec::new(),
                opened => opened?.test(false)?,
            };
            if diagnostic.is_empty() {
                eprintln!(
                    "AX: no diagnostic/diagnostic.tsv in {}, so no predictions",
                    folder.display()
                );
            }
            let rows = encoder.encode_all(&diagnostic)?;
            let batches = evaluation_batches(&rows, EVALUATION_BATCH, encoder.pad_id());
            write(GlueTask::Ax, false, &batches)?;
        }
        Ok(())
    }
}
