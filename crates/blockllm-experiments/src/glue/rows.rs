//! The rows of the GLUE experiment: where they are from, which tasks are there, how many rows of each are used.
use super::Settings;
use crate::{Cli, Scale};
use anyhow::{Context, Result, bail};
use blockllm_data::glue::{
    ClassificationBatch, EncodedExamples, GlueData, GlueTask, PairEncoder, evaluation_batches,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Rows of a batch in evaluations: they keep no activations.
pub(super) const EVALUATION_BATCH: usize = 32;
/// Of the generated stand-in: the same data for every seed of the runs.
const GENERATED_SEED: u64 = 0;

/// Where the rows are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Files of GLUE below this folder.
    Files(PathBuf),
    /// The generated stand-in.
    Generated,
}

/// Everything that the runs of a task share.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    /// Its rows.
    pub data: GlueData,
    /// Their hash.
    pub rows_sha256: String,
    /// The training rows as token ids.
    pub train: Arc<EncodedExamples>,
    /// Training and validation rows that are there; the scale may use fewer.
    pub available: [usize; 2],
    /// The validation rows in batches.
    pub validation: Vec<ClassificationBatch>,
    /// MNLI's mismatched ones.
    pub validation_mismatched: Vec<ClassificationBatch>,
}

impl TaskPlan {
    pub(super) fn new(data: GlueData, available: [usize; 2], encoder: &PairEncoder) -> Result<Self> {
        let batches = |rows| -> Result<_> {
            Ok(evaluation_batches(
                &encoder.encode_all(rows)?,
                EVALUATION_BATCH,
                encoder.pad_id(),
            ))
        };
        Ok(Self {
            train: Arc::new(EncodedExamples::new(encoder.encode_all(&data.train)?)),
            validation: batches(&data.validation)?,
            validation_mismatched: batches(&data.validation_mismatched)?,
            available,
            rows_sha256: data.sha256(),
            data,
        })
    }

    /// Unlabelled rows in batches, for predictions.
    ///
    /// # Errors
    /// When the test file is broken, or the tokenizer refuses a text.
    pub fn test_batches(&self, encoder: &PairEncoder, mismatched: bool) -> Result<Vec<ClassificationBatch>> {
        let rows = self.data.test(mismatched)?;
        Ok(evaluation_batches(
            &encoder.encode_all(&rows)?,
            EVALUATION_BATCH,
            encoder.pad_id(),
        ))
    }
}

/// The given folder, or the `glue` folder in it.
pub(super) fn source(cli: &Cli) -> Result<Source> {
    let Some(dir) = &cli.data else {
        return Ok(Source::Generated);
    };
    let found = [dir.clone(), dir.join("glue"), dir.join("GLUE")]
        .into_iter()
        .find(|dir| !GlueData::available(dir).is_empty());
    found.map(Source::Files).with_context(|| {
        format!(
            "no task of GLUE in {}: expected folders such as MRPC with train.tsv and dev.tsv, or mrpc with the hub's \
             parquet files",
            dir.display()
        )
    })
}

/// The tasks of the command line, or those of the scale whose data is there.
pub(super) fn tasks(cli: &Cli, source: &Source) -> Result<Vec<GlueTask>> {
    let available = match source {
        Source::Files(dir) => GlueData::available(dir),
        Source::Generated => vec![GlueTask::Mrpc, GlueTask::StsB],
    };
    if !cli.tasks.is_empty() {
        return named_tasks(&cli.tasks);
    }
    let quick = [GlueTask::Mrpc, GlueTask::StsB];
    let wanted: Vec<_> = available
        .iter()
        .copied()
        .filter(|task| cli.scale != Scale::Quick || quick.contains(task))
        .collect();
    if wanted.is_empty() {
        bail!("none of the quick tasks MRPC and STS-B is there: name others with --tasks");
    }
    Ok(wanted)
}

/// The tasks of the command line, each once.
fn named_tasks(names: &[String]) -> Result<Vec<GlueTask>> {
    let mut tasks = Vec::new();
    for name in names {
        let task = GlueTask::from_name(name)?;
        if task == GlueTask::Ax {
            bail!(
                "AX has no training data: a model of MNLI predicts it, so give --tasks MNLI --predict-test with AX in \
                 `diagnostic` beside it"
            );
        }
        if tasks.contains(&task) {
            bail!("--tasks names {} twice", task.name());
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// The rows that are used, and how many training and validation rows there are.
pub(super) fn open(source: &Source, task: GlueTask, settings: &Settings) -> Result<(GlueData, [usize; 2])> {
    let mut data = match source {
        Source::Files(dir) => GlueData::open(dir, task)?,
        Source::Generated => GlueData::generated(task, GENERATED_SEED),
    };
    let available = [data.train.len(), data.validation.len()];
    let cut = |rows: &mut Vec<_>, most: usize| {
        if most > 0 {
            rows.truncate(most);
        }
    };
    cut(&mut data.train, settings.max_train_rows);
    cut(&mut data.validation, settings.max_validation_rows);
    cut(&mut data.validation_mismatched, settings.max_validation_rows);
    Ok((data, available))
}
