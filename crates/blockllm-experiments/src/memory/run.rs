//! The measured runs: a few steps on tokens that mean nothing, each above a baseline of its own; on a GPU each in a process
//! of its own.
use super::Settings;
use crate::Cli;
use crate::experiment::PlannedRun;
use crate::recorded_run::{FolderAndTerminal, Job};
use crate::run_place::RunPlace;
use anyhow::Result;
use blockllm_data::LmBatch;
use blockllm_model::llama::LlamaConfig;
use blockllm_train::{
    Checkpoints, LanguageModeling, MemoryMeter, Method, Progress, Record, RunFolder, RunObserver, RunResult,
    Setup, TrainConfig, TrainError, train,
};
use serde::Serialize;
use std::path::Path;

/// What a run is a function of.
#[derive(Serialize)]
struct RunConfig<'a> {
    method: &'a Method,
    train: &'a TrainConfig,
    model: &'a LlamaConfig,
    rows: usize,
    tokens: usize,
    device: &'a str,
}

/// Every method on every size.
pub(super) fn planned<'a>(cli: &'a Cli, settings: &'a Settings) -> Result<Vec<PlannedRun<'a, usize>>> {
    let train = settings.train_config(cli);
    let mut runs = Vec::new();
    for (size, (name, model)) in settings.sizes.iter().enumerate() {
        for method in &settings.methods {
            let config = RunConfig {
                method,
                train: &train,
                model,
                rows: settings.rows,
                tokens: settings.tokens,
                device: cli.device.name(),
            };
            let parent = cli.out.join("memory").join(name);
            let title = format!("method `{}` on {name}", method.label);
            runs.push(PlannedRun {
                place: RunPlace::find(cli, &parent, &method.folder_name(0), &config, &"counted tokens")?,
                part: size,
                method: &method.label,
                settings: title.clone(),
                title,
                job: Box::new(MemoryJob {
                    cli,
                    settings,
                    model,
                    method,
                }),
            });
        }
    }
    Ok(runs)
}

/// One run of a few steps, whose weights nobody wants.
struct MemoryJob<'a> {
    cli: &'a Cli,
    settings: &'a Settings,
    model: &'a LlamaConfig,
    method: &'a Method,
}

impl Job for MemoryJob<'_> {
    fn train(&self, folder: &mut RunFolder, _: &Checkpoints) -> Result<RunResult> {
        let mut observer = FolderAndTerminal {
            folder,
            progress: Progress::new(&self.method.label, self.settings.steps),
        };
        measure(self.cli, self.settings, self.model, self.method, &mut observer)
    }

    fn outputs(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn write_outputs(&self, _: &Path, _: &Checkpoints, _: &RunResult) -> Result<()> {
        Ok(())
    }
}

/// Threads, tables and workspaces are made once in a process, and are no run's.
pub(super) fn warm_up(cli: &Cli, settings: &Settings) -> Result<()> {
    struct Nobody;
    impl RunObserver for Nobody {
        fn record(&mut self, _: &Record) -> Result<(), TrainError> {
            Ok(())
        }
    }
    let model = LlamaConfig::new(256, 64, 128, 2, 2);
    for method in ["lora:4", "adamw"] {
        measure(cli, settings, &model, &Method::parse(method)?, &mut Nobody)?;
    }
    Ok(())
}

fn measure(
    cli: &Cli,
    settings: &Settings,
    model: &LlamaConfig,
    method: &Method,
    observer: &mut dyn RunObserver,
) -> Result<RunResult> {
    let device = cli.device.open()?.autodiff();
    let config = settings.train_config(cli);
    let batch = |step: u64| counted(settings, model.vocab_size, step);
    let mut step = 0;
    let batches = || {
        step += 1;
        Ok(batch(step))
    };
    let validation = [batch(0)];
    let meter = MemoryMeter::start(&device);
    let model = model.init(config.seed, &device);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method,
        config: &config,
        validation: &validation,
        device: &device,
    };
    let trained = train(&setup, model, batches, meter, observer)?;
    Ok(RunResult::new(method, &config, cli.device.name(), &trained))
}

/// Tokens that go through the vocabulary: memory does not depend on what they are.
fn counted(settings: &Settings, vocab: usize, step: u64) -> LmBatch {
    let ids = |shift: usize| -> Vec<i32> {
        let id = |place: usize| (place * 7919 + step as usize * 31 + shift) % vocab;
        (0..settings.rows * settings.tokens)
            .map(|place| id(place) as i32)
            .collect()
    };
    LmBatch {
        batch_size: settings.rows,
        seq_len: settings.tokens,
        input_ids: ids(0),
        labels: ids(1),
        segment_ids: None,
    }
}
