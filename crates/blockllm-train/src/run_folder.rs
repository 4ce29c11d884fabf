//! A run on disk: `config.json`, `manifest.json`, `metrics.jsonl`, `result.json`.
use crate::{Record, RunObserver, RunResult, TrainError};
use blockllm_data::atomic_file::write_atomically;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: Option<File>,
}

impl RunFolder {
    /// The run's folder; nothing is created yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            metrics: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts the run afresh: creates the folder, forgets an earlier result, and writes what the run is made of.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn start(&mut self, config: &impl Serialize, manifest: &impl Serialize) -> Result<(), TrainError> {
        std::fs::create_dir_all(&self.path).map_err(|source| self.error("", source))?;
        let result = self.path.join("result.json");
        if result.exists() {
            std::fs::remove_file(&result).map_err(|source| self.error("result.json", source))?;
        }
        self.write_json("config.json", config)?;
        self.write_json("manifest.json", manifest)?;
        let file = File::create(self.path.join("metrics.jsonl"));
        self.metrics = Some(file.map_err(|source| self.error("metrics.jsonl", source))?);
        Ok(())
    }

    /// Goes on with a run of the very same `config` and `manifest`, of which `steps` are done: later records are
    /// dropped, since those steps are run again. False when there is no such run to go on with.
    ///
    /// # Errors
    /// When the run on disk has another configuration, or a file is not readable.
    pub fn resume(
        &mut self,
        config: &impl Serialize,
        manifest: &impl Serialize,
        steps: u64,
    ) -> Result<bool, TrainError> {
        if !self.path.join("metrics.jsonl").exists() {
            return Ok(false);
        }
        self.check_same(config, manifest)?;
        let kept = self
            .records()?
            .into_iter()
            .filter(|record| record.belongs_to_first(steps));
        let text: String = kept.map(|record| line(&record)).collect();
        let path = self.path.join("metrics.jsonl");
        write_atomically(&path, text.as_bytes())?;
        let file = File::options().append(true).open(&path);
        self.metrics = Some(file.map_err(|source| self.error("metrics.jsonl", source))?);
        Ok(true)
    }

    /// Writes the result: the run is complete from here on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&self, result: &RunResult) -> Result<(), TrainError> {
        self.write_json("result.json", result)
    }

    /// The result of an earlier, complete run of the very same `config` and `manifest`; `None` when there is none.
    ///
    /// # Errors
    /// When the run on disk has another configuration, or a file is not readable.
    pub fn finished(
        &self,
        config: &impl Serialize,
        manifest: &impl Serialize,
    ) -> Result<Option<RunResult>, TrainError> {
        if !self.path.join("result.json").exists() {
            return Ok(None);
        }
        self.check_same(config, manifest)?;
        self.read_json("result.json").map(Some)
    }

    /// All records of the run, in order.
    ///
    /// # Errors
    /// Names the line that is not a record.
    pub fn records(&self) -> Result<Vec<Record>, TrainError> {
        let path = self.path.join("metrics.jsonl");
        let file = File::open(&path).map_err(|source| self.error("metrics.jsonl", source))?;
        let mut records = Vec::new();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|source| self.error("metrics.jsonl", source))?;
            let record = serde_json::from_str(&line).map_err(|error| TrainError::Record {
                path: path.clone(),
                message: format!("line {} is not a record: {error}", number + 1),
            })?;
            records.push(record);
        }
        Ok(records)
    }

    fn check_same(&self, config: &impl Serialize, manifest: &impl Serialize) -> Result<(), TrainError> {
        for (name, wanted) in [
            ("config.json", to_value(config)),
            ("manifest.json", to_value(manifest)),
        ] {
            if self.read_json::<serde_json::Value>(name)? != wanted {
                return Err(TrainError::OtherRun {
                    path: self.path.clone(),
                    what: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        let mut text = serde_json::to_string_pretty(value).expect("run records have only string keys");
        text.push('\n');
        Ok(write_atomically(&self.path.join(name), text.as_bytes())?)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, TrainError> {
        let path = self.path.join(name);
        let text = std::fs::read_to_string(&path).map_err(|source| self.error(name, source))?;
        serde_json::from_str(&text).map_err(|error| TrainError::Record {
            path,
            message: format!("not what this version writes: {error}"),
        })
    }

    fn error(&self, name: &str, source: std::io::Error) -> TrainError {
        TrainError::File {
            path: self.path.join(name),
            source,
        }
    }
}

impl RunObserver for RunFolder {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = line(record);
        // One write per line: whatever stops the run, the file ends with a whole record.
        let written = self
            .metrics
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(line.as_bytes()));
        written.map_err(|source| self.error("metrics.jsonl", source))
    }
}

/// As it would be read back from disk: an f32 of 0.9 is written as `0.9`, but is another number as an f64.
fn to_value(value: &impl Serialize) -> serde_json::Value {
    let text = serde_json::to_string(value).expect("run records have only string keys");
    serde_json::from_str(&text).expect("what was just written is JSON")
}

fn line(record: &Record) -> String {
    let mut line = serde_json::to_string(record).expect("run records have only string keys");
    line.push('\n');
    line
}
