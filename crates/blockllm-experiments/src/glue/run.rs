//! The runs of the GLUE experiment: the same weights, head and batches for every method of a seed.
use super::checkpoint::{Checkpoint, Opened, Save, open_encoder, open_llama};
use super::rows::EVALUATION_BATCH;
use super::{Plan, Source, TaskPlan};
use crate::experiment::PlannedRun;
use crate::recorded_run::{self, FolderAndTerminal, Job};
use crate::report::format::learning_rate;
use crate::run_place::RunPlace;
use crate::{Cli, tokenizer_files};
use anyhow::Result;
use blockllm_data::DataError;
use blockllm_data::glue::{EpochConfig, GlueData, GlueTask, evaluation_batches, write_submission};
use blockllm_train::tell_line;
use blockllm_train::{
    Checkpoints, ExampleBatches, MemoryMeter, Method, Progress, RunFolder, RunResult, SequenceClassification,
    SequenceClassifier, Setup, TrainConfig, evaluate, train_resumable,
};
use burn::tensor::Device;
use serde::Serialize;
use std::path::Path;

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
    /// Not where they lie: the same rows in another folder are the same data.
    source: &'static str,
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

/// Every method of every seed on every task.
pub(super) fn planned<'a>(cli: &'a Cli, plan: &'a Plan) -> Result<Vec<PlannedRun<'a, GlueTask>>> {
    let mut runs = Vec::new();
    for task in &plan.tasks {
        for seed in cli.seeds() {
            for method in &plan.methods {
                runs.push(TaskRunner::new(cli, plan, task, method, seed)?.planned()?);
            }
        }
    }
    Ok(runs)
}

/// What is done with a model of either architecture once it is open.
trait WithModel {
    type Done;
    fn with<M: SequenceClassifier>(self, opened: Opened<M>, device: &Device) -> Result<Self::Done>;
}

/// Trains it and writes the outputs.
struct Train<'a, 'b> {
    runner: &'a TaskRunner<'b>,
    folder: &'a mut RunFolder,
    checkpoints: &'a Checkpoints,
    batches: ExampleBatches,
    meter: MemoryMeter,
}

impl WithModel for Train<'_, '_> {
    type Done = RunResult;

    fn with<M: SequenceClassifier>(self, opened: Opened<M>, device: &Device) -> Result<RunResult> {
        self.runner.train_opened(opened, device, self)
    }
}

/// Gives it the weights of a complete run and writes the outputs.
struct WriteOutputs<'a, 'b> {
    runner: &'a TaskRunner<'b>,
    folder: &'a Path,
    checkpoints: &'a Checkpoints,
    step: u64,
}

impl WithModel for WriteOutputs<'_, '_> {
    type Done = ();

    fn with<M: SequenceClassifier>(self, opened: Opened<M>, device: &Device) -> Result<()> {
        let runner = self.runner;
        let method = runner.method.clone().fine_tuning(&opened.parts);
        let model = self
            .checkpoints
            .trained(opened.model, &method, &runner.config, self.step)?;
        runner.outputs_of(&model.valid(), &opened.save, device, self.folder)
    }
}

impl Job for TaskRunner<'_> {
    fn train(&self, folder: &mut RunFolder, checkpoints: &Checkpoints) -> Result<RunResult> {
        let device = self.cli.device.open()?.autodiff();
        let batches = ExampleBatches::new(self.task.train.clone(), self.epochs.clone())?;
        let meter = MemoryMeter::start(&device);
        let train = Train {
            runner: self,
            folder,
            checkpoints,
            batches,
            meter,
        };
        self.open(&device, train)
    }

    fn outputs(&self) -> Vec<&'static str> {
        let asked = [
            (self.cli.predict_test, "submission"),
            (self.cli.save_model, "model"),
        ];
        asked
            .into_iter()
            .filter(|(is_asked, _)| *is_asked)
            .map(|(_, name)| name)
            .collect()
    }

    fn write_outputs(&self, folder: &Path, checkpoints: &Checkpoints, result: &RunResult) -> Result<()> {
        let device = self.cli.device.open()?.autodiff();
        let write = WriteOutputs {
            runner: self,
            folder,
            checkpoints,
            step: result.weights_step,
        };
        self.open(&device, write)
    }
}

impl<'a> TaskRunner<'a> {
    fn new(cli: &'a Cli, plan: &'a Plan, task: &'a TaskPlan, method: &'a Method, seed: u64) -> Result<Self> {
        let epochs = plan.epochs(task.data.task, seed);
        let batches = ExampleBatches::new(task.train.clone(), epochs.clone())?.batches_per_epoch();
        Ok(Self {
            cli,
            plan,
            task,
            method,
            config: plan.train_config(cli, task.data.task, method, batches, seed)?,
            epochs,
        })
    }

    fn planned(self) -> Result<PlannedRun<'a, GlueTask>> {
        let (task, method, config) = (self.task.data.task, &self.method.label, &self.config);
        let rate = learning_rate(config.learning_rate);
        Ok(PlannedRun {
            place: self.place()?,
            part: task,
            method,
            title: format!("{}, method `{method}`, seed {}", task.name(), config.seed),
            settings: format!("{} at {rate}, {} steps", self.label(), config.steps),
            job: Box::new(self),
        })
    }

    fn place(&self) -> Result<RunPlace> {
        let Self { plan, task, .. } = self;
        let config = RunConfig {
            task: task.data.task,
            method: self.method,
            train: &self.config,
            checkpoint: plan.checkpoint.describe(),
            epochs: &self.epochs,
            max_length: plan.settings.max_length,
            device: self.cli.device.name(),
        };
        let manifest = TaskManifest {
            source: match plan.source {
                Source::Files(_) => "files",
                Source::Generated => "generated",
            },
            train_rows: task.data.train.len(),
            validation_rows: task.data.validation.len(),
            rows_sha256: &task.rows_sha256,
            tokenizer_sha256: plan.encoder.tokenizer().sha256(),
            checkpoint_sha256: plan.checkpoint_sha256.as_deref(),
        };
        let parent = self.cli.out.join("glue").join(task.data.task.name());
        let name = self.method.folder_name(self.config.seed);
        RunPlace::find(self.cli, &parent, &name, &config, &manifest)
    }

    /// Opens what is fine-tuned, whichever architecture it has.
    fn open<W: WithModel>(&self, device: &Device, then: W) -> Result<W::Done> {
        let (task, seed) = (self.task.data.task, self.config.seed);
        self.config.weights.check(device)?;
        let weights = self.config.weights.into();
        match &self.plan.checkpoint {
            Checkpoint::Llama(path, _) => {
                let pad_id = u32::try_from(self.plan.encoder.pad_id())?;
                then.with(open_llama(path, task, seed, pad_id, weights, device)?, device)
            }
            checkpoint => then.with(open_encoder(checkpoint, task, seed, weights, device)?, device),
        }
    }

    fn label(&self) -> String {
        format!(
            "{} {} (seed {})",
            self.task.data.task.name(),
            self.method.label,
            self.config.seed
        )
    }

    fn train_opened<M: SequenceClassifier>(
        &self,
        opened: Opened<M>,
        device: &Device,
        train: Train<'_, '_>,
    ) -> Result<RunResult> {
        let Train {
            folder,
            checkpoints,
            mut batches,
            meter,
            ..
        } = train;
        let label = self.label();
        if !opened.parts.fresh.is_empty() {
            tell_line!(
                "{label}: drawn afresh and always trained: {}",
                opened.parts.fresh.join(", ")
            );
        }
        let method = self.method.clone().fine_tuning(&opened.parts);
        let objective = SequenceClassification::new(self.task.data.task);
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
            device,
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
                device,
            )?;
            let metrics: Vec<_> = mismatched
                .metrics
                .into_iter()
                .map(|(name, value)| (format!("{name} (mismatched)"), value))
                .collect();
            // Beside the figures of the same weights: the last ones, or the best ones that were kept.
            for record in [&mut result.last, &mut result.best] {
                if record.step == trained.weights_step {
                    record.evaluation.metrics.extend(metrics.iter().cloned());
                }
            }
        }
        self.outputs_of(&trained.model.valid(), &opened.save, device, &path)?;
        Ok(result)
    }

    /// Predictions and the model's folder, as far as they were asked for.
    fn outputs_of<M: SequenceClassifier>(
        &self,
        model: &M,
        save: &Save<M>,
        device: &Device,
        path: &Path,
    ) -> Result<()> {
        if self.cli.predict_test {
            let objective = SequenceClassification::new(self.task.data.task);
            recorded_run::write_whole(&path.join("submission"), |dir| {
                self.predict(&objective, model, &device.clone().without_autodiff(), dir)
            })?;
        }
        if self.cli.save_model {
            let dir = path.join("model");
            recorded_run::write_whole(&dir, |dir| {
                save(model, dir)?;
                let plan = self.plan;
                tokenizer_files::write(plan.encoder.tokenizer(), plan.settings.max_length, dir)?;
                plan.checkpoint.copy_tokenizer_settings(dir)
            })?;
            tell_line!("{}: saved to {}", self.label(), dir.display());
        }
        Ok(())
    }

    /// Writes the submission files of the task, and with MNLI that of the diagnostic set.
    fn predict<M: SequenceClassifier>(
        &self,
        objective: &SequenceClassification<M>,
        model: &M,
        device: &Device,
        dir: &Path,
    ) -> Result<()> {
        let task = self.task.data.task;
        let encoder = &self.plan.encoder;
        let write = |task: GlueTask, mismatched: bool, batches: &[_]| -> Result<()> {
            if batches.is_empty() {
                return Ok(());
            }
            let predicted = objective.predict(model, batches, device)?;
            let file = write_submission(dir, task, mismatched, &predicted)?;
            tell_line!(
                "{}: {} predictions in {}",
                task.name(),
                predicted.len(),
                file.file_name().unwrap_or_default().display()
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
                tell_line!(
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
