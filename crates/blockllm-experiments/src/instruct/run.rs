//! The runs of instruction tuning: the same weights and order of examples for every method of a seed.
use super::answers::{self, Answer};
use super::{Checkpoint, DELTA, Plan, Save, Settings};
use crate::Cli;
use crate::byte_size::gigabytes;
use crate::experiment::PlannedRun;
use crate::recorded_run::{self, FolderAndTerminal, Job};
use crate::report::format::learning_rate;
use crate::run_place::RunPlace;
use anyhow::Result;
use blockllm_data::instruct::InstructBatches;
use blockllm_model::hf::save_adapter;
use blockllm_model::llama::LlamaForCausalLM;
use blockllm_train::tell_line;
use blockllm_train::{
    Checkpoints, CountingAllocator, LanguageModeling, MemoryMeter, Method, Progress, RunFolder, RunResult,
    Setup, TrainConfig, TrainError, train_resumable,
};
use burn::module::Module;
use serde::Serialize;
use std::path::Path;

/// What a run is a function of, beside its data manifest.
#[derive(Serialize)]
struct RunConfig<'a> {
    method: &'a Method,
    train: &'a TrainConfig,
    model: String,
    settings: &'a Settings,
    device: &'a str,
}

/// What pins its data.
#[derive(Serialize)]
struct Manifest<'a> {
    train: &'a str,
    validation: &'a str,
    template_sha256: String,
    tokenizer_sha256: &'a str,
    checkpoint_sha256: Option<&'a str>,
}

/// One run; everything that it needs.
struct InstructJob<'a> {
    cli: &'a Cli,
    plan: &'a Plan,
    method: &'a Method,
    config: TrainConfig,
}

/// Every method of every seed.
pub(super) fn planned<'a>(cli: &'a Cli, plan: &'a Plan) -> Result<Vec<PlannedRun<'a, ()>>> {
    let mut runs = Vec::new();
    for seed in cli.seeds() {
        for method in &plan.methods {
            let job = InstructJob {
                cli,
                plan,
                method,
                config: plan.train_config(cli, method, plan.settings.seed + seed)?,
            };
            let rate = learning_rate(job.config.learning_rate);
            runs.push(PlannedRun {
                place: job.place()?,
                part: (),
                method: &method.label,
                title: format!("method `{}`, seed {}", method.label, job.config.seed),
                settings: format!("{} at {rate}, {} steps", job.label(), job.config.steps),
                job: Box::new(job),
            });
        }
    }
    Ok(runs)
}

impl InstructJob<'_> {
    fn place(&self) -> Result<RunPlace> {
        let Self { cli, plan, .. } = self;
        let config = RunConfig {
            method: self.method,
            train: &self.config,
            model: plan.checkpoint.describe(),
            settings: &plan.settings,
            device: cli.device.name(),
        };
        let manifest = Manifest {
            train: &plan.train.identity,
            validation: &plan.validation_identity,
            template_sha256: plan.template_sha256(),
            tokenizer_sha256: plan.encoder.tokenizer().sha256(),
            checkpoint_sha256: plan.checkpoint_sha256.as_deref(),
        };
        let name = self.method.folder_name(self.config.seed);
        RunPlace::find(cli, &cli.out.join("instruct"), &name, &config, &manifest)
    }

    /// `error`; where the model was broken before any step, with its place.
    fn named(&self, error: TrainError) -> anyhow::Error {
        let is_before = matches!(error, TrainError::BadEvaluation { step: 0, .. });
        match &self.plan.checkpoint {
            Checkpoint::Pretrained(model) if is_before => {
                anyhow::Error::from(error).context(format!("the model {}", model.reference()))
            }
            _ => error.into(),
        }
    }

    fn label(&self) -> String {
        format!("{} (seed {})", self.method.label, self.config.seed)
    }

    /// Answers of the trained model beside those of the data, and the model itself where it was asked for.
    fn outputs_of(&self, model: &LlamaForCausalLM, folder: &Path) -> Result<()> {
        let found: Vec<Answer> = answers::of(model, &self.plan.encoder, &self.plan.shown)?;
        answers::write(&found, folder)?;
        let Some(name) = self.plan.save.folder() else {
            return Ok(());
        };
        let dir = folder.join(name);
        recorded_run::write_whole(&dir, |dir| match self.plan.save {
            Save::Adapter => Ok(save_adapter(
                model,
                Some(&self.plan.checkpoint.base()?.reference()),
                dir,
            )?),
            Save::Delta => self.save_delta(model, dir),
            Save::Model | Save::Nothing => self.save(model, dir),
        })?;
        tell_line!("{}: saved to {}", self.label(), dir.display());
        Ok(())
    }

    fn save(&self, model: &LlamaForCausalLM, dir: &Path) -> Result<()> {
        let plan = self.plan;
        plan.checkpoint
            .save(model, plan.encoder.template(), self.config.weights, dir)
    }

    /// What training has changed of the base, by way of the whole model, which goes again.
    fn save_delta(&self, model: &LlamaForCausalLM, dir: &Path) -> Result<()> {
        let base = self.plan.checkpoint.base()?.path();
        let whole = dir.join("whole");
        self.save(model, &whole)?;
        let summary = blockllm_delta::diff(base, &whole, &dir.join(DELTA), &mut |_, _| {})?;
        std::fs::remove_dir_all(&whole)?;
        let (bytes, model) = (gigabytes(summary.bytes), gigabytes(summary.model_bytes));
        tell_line!("{}: the delta has {bytes}, the model {model}", self.label());
        Ok(())
    }
}

impl Job for InstructJob<'_> {
    fn train(&self, folder: &mut RunFolder, checkpoints: &Checkpoints) -> Result<RunResult> {
        let (plan, config) = (self.plan, &self.config);
        let device = self.cli.device.open()?.autodiff();
        let batches = plan.settings.batches(config.seed);
        let mut batches = CountingAllocator::apart(|| InstructBatches::new(plan.train.clone(), batches))?;
        let meter = MemoryMeter::start(&device);
        let model = plan.checkpoint.load(config.seed, config.weights, &device)?;
        let path = folder.path().to_owned();
        let mut observer = FolderAndTerminal {
            folder,
            progress: Progress::new(&self.label(), config.steps),
        };
        let setup = Setup {
            objective: &LanguageModeling::default(),
            method: self.method,
            config,
            validation: &plan.validation,
            device: &device,
        };
        let trained = train_resumable(&setup, model, &mut batches, meter, &mut observer, checkpoints)
            .map_err(|error| self.named(error))?;
        self.outputs_of(&trained.model.valid(), &path)?;
        Ok(RunResult::new(
            self.method,
            config,
            self.cli.device.name(),
            &trained,
        ))
    }

    fn outputs(&self) -> Vec<&'static str> {
        self.plan.save.folder().into_iter().collect()
    }

    fn write_outputs(&self, folder: &Path, checkpoints: &Checkpoints, result: &RunResult) -> Result<()> {
        let device = self.cli.device.open()?.autodiff();
        let (config, checkpoint) = (&self.config, &self.plan.checkpoint);
        let model = checkpoint.load(config.seed, config.weights, &device)?;
        let model = checkpoints.trained(model, self.method, config, result.weights_step)?;
        self.outputs_of(&model.valid(), folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scale;
    use crate::instruct::Request;
    use blockllm_train::{Methods, WeightType};

    #[test]
    fn the_runs_of_the_paper_s_scale_have_its_settings() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/instruct");
        let data = fixture.join("examples.jsonl");
        let out = tempfile::tempdir().unwrap();
        let mut words = vec!["runner", "instruct", "--scale", "paper", "--seeds", "1"];
        let paths = [
            ("--model-dir", &*fixture),
            ("--data", &*data),
            ("--out", out.path()),
        ];
        for (option, path) in paths {
            words.extend([option, path.to_str().unwrap()]);
        }
        let cli = Cli::try_read(words, vec!["instruct"], &Methods::built_in()).unwrap();
        let plan = Plan::new(&cli, Request::of(&cli).unwrap()).unwrap();
        let runs = planned(&cli, &plan).unwrap();
        let told: Vec<&str> = runs.iter().map(|run| run.settings.as_str()).collect();
        assert!(
            told.iter()
                .any(|run| run.starts_with("blockllm:0.95 (seed 0) at 1e-5,")),
            "{told:?}"
        );
        let mut methods = plan.methods.iter();
        let blockllm = methods.find(|method| method.label == "blockllm:0.95").unwrap();
        let config = plan.train_config(&cli, blockllm, 0).unwrap();
        assert_eq!(config.schedule, Settings::of(Scale::Paper).schedule);
        assert_eq!(config.weights, WeightType::Bf16);
        let method = serde_json::to_string(blockllm).unwrap();
        assert!(method.contains("\"patience\":100"), "{method}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
