//! A run on disk: `config.json`, `manifest.json`, `sessions.json`, `metrics.jsonl`, then `result.json` or `diverged.json`.
use crate::metrics_file::{self, MetricsFile};
use crate::{Divergence, Environment, Record, RunObserver, RunResult, Session, TrainError};
use blockllm_data::atomic_file::write_atomically;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: Option<MetricsFile>,
    /// Held by the operating system for as long as this process has the file open, so a killed one leaves no lock.
    lock: Option<File>,
    /// Whether it was told that records find no room.
    told_full: bool,
}

impl RunFolder {
    /// The run's folder; nothing is created yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            metrics: None,
            lock: None,
            told_full: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder and keeps other processes out of it until this is dropped.
    ///
    /// # Errors
    /// [`TrainError::Locked`] when another process trains this run; when the folder cannot be written.
    pub fn lock(&mut self) -> Result<(), TrainError> {
        if self.lock.is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.path).map_err(|source| self.error("", source))?;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path.join("run.lock"))
            .map_err(|source| self.error("run.lock", source))?;
        match try_to_lock(&file) {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(TrainError::Locked {
                    path: self.path.clone(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(self.error("run.lock", source)),
        }
        Ok(())
    }

    /// Starts the run afresh: creates the folder, forgets an earlier result, and writes what the run is made of.
    ///
    /// # Errors
    /// When another process trains it, or the folder cannot be written.
    pub fn start(&mut self, config: &impl Serialize, manifest: &impl Serialize) -> Result<(), TrainError> {
        self.lock()?;
        for name in ["result.json", "diverged.json", "sessions.json"] {
            let path = self.path.join(name);
            if path.exists() {
                std::fs::remove_file(&path).map_err(|source| self.error(name, source))?;
            }
        }
        self.write_json("config.json", config)?;
        self.write_json("manifest.json", manifest)?;
        self.metrics = Some(MetricsFile::with(self.path.join("metrics.jsonl"), &[])?);
        Ok(())
    }

    /// Goes on with a run of the very same `config` and `manifest`, of which `steps` are done: later records are
    /// dropped, since those steps are run again. Lines that are no records are left out, and `tell` is told; the
    /// checkpoint is what counts.
    ///
    /// # Errors
    /// When the run on disk has another configuration, another process trains it, or a file cannot be read.
    pub fn resume(
        &mut self,
        config: &impl Serialize,
        manifest: &impl Serialize,
        steps: u64,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), TrainError> {
        self.lock()?;
        self.check_same(config, manifest, tell)?;
        let path = self.path.join("metrics.jsonl");
        let mut read = match metrics_file::read(&path) {
            Err(TrainError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                tell("its metrics.jsonl is missing: the curve begins at the checkpoint");
                metrics_file::Read::default()
            }
            read => read?,
        };
        if read.torn {
            tell("the last line of its metrics.jsonl was not finished and is dropped");
        }
        if !read.damaged.is_empty() {
            tell(&format!(
                "lines {:?} of its metrics.jsonl are no records and are left out of the curve",
                read.damaged
            ));
        }
        read.records.retain(|record| record.belongs_to_first(steps));
        self.metrics = Some(MetricsFile::with(path, &read.records)?);
        Ok(())
    }

    /// Adds a session of this `environment` that begins after `after_step`; gives what differs from the session before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin_session(
        &self,
        after_step: u64,
        environment: &Environment,
    ) -> Result<Vec<String>, TrainError> {
        // Sessions tell where a run comes from; a damaged list must not keep it from going on.
        let mut sessions: Vec<Session> = self.read_json("sessions.json").unwrap_or_default();
        let differences = sessions
            .last()
            .map(|last| environment.differences(&last.environment))
            .unwrap_or_default();
        sessions.push(Session {
            after_step,
            environment: environment.clone(),
        });
        self.write_json("sessions.json", &sessions)?;
        Ok(differences)
    }

    /// Writes the result: the run is complete from here on.
    ///
    /// # Errors
    /// When a file cannot be written, such as records that found no room so far.
    pub fn finish(&mut self, result: &RunResult) -> Result<(), TrainError> {
        if let Some(metrics) = &mut self.metrics {
            metrics.flush()?;
        }
        self.write_json("result.json", result)
    }

    /// The result of an earlier, complete run of the very same `config` and `manifest`; `None` when there is none. A
    /// result that is damaged is told and counts as none: the last checkpoint makes it again.
    ///
    /// # Errors
    /// When the run on disk has another configuration, or a file is not readable.
    pub fn finished(
        &self,
        config: &impl Serialize,
        manifest: &impl Serialize,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Option<RunResult>, TrainError> {
        if !self.path.join("result.json").exists() {
            return Ok(None);
        }
        self.check_same(config, manifest, tell)?;
        match self.read_json("result.json") {
            Ok(result) => Ok(Some(result)),
            Err(TrainError::Record { message, .. }) => {
                tell(&format!(
                    "its result.json is damaged ({message}): it is made again from the last checkpoint"
                ));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The mark of a run that diverged; `None` when there is none or it is damaged.
    pub fn divergence(&self) -> Option<Divergence> {
        self.read_json("diverged.json").ok()
    }

    /// All records of the run, in order, but for lines that are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, TrainError> {
        Ok(metrics_file::read(&self.path.join("metrics.jsonl"))?.records)
    }

    /// Refuses a folder of another configuration. A file that is damaged is written again, since the folder is found by
    /// what the run is made of.
    fn check_same(
        &self,
        config: &impl Serialize,
        manifest: &impl Serialize,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), TrainError> {
        for (name, wanted) in [
            ("config.json", to_value(config)),
            ("manifest.json", to_value(manifest)),
        ] {
            match self.read_json::<serde_json::Value>(name) {
                Ok(found) if found == wanted => {}
                Ok(_) => {
                    return Err(TrainError::OtherRun {
                        path: self.path.clone(),
                        what: name.to_owned(),
                    });
                }
                Err(TrainError::Record { .. }) => {
                    tell(&format!("its {name} is damaged and is written again"));
                    self.write_json(name, &wanted)?;
                }
                Err(TrainError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    tell(&format!("its {name} is missing and is written again"));
                    self.write_json(name, &wanted)?;
                }
                Err(error) => return Err(error),
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
    /// Keeps the record. Without room on the disk it is kept in memory until there is, and training goes on.
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        let Some(metrics) = &mut self.metrics else {
            return Ok(());
        };
        match metrics.append(record) {
            Ok(()) => self.told_full = false,
            Err(error) if !self.told_full => {
                self.told_full = true;
                self.warn(&format!(
                    "{error} Training goes on; its records are kept in memory until they can be written"
                ));
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn diverged(&mut self, divergence: &Divergence) -> Result<(), TrainError> {
        self.write_json("diverged.json", divergence)
    }
}

/// Locks `file`, within a tenth of a second: a child that is just being started has all files of its parent open until it is
/// another program, so a lock that was given up may be held a moment longer.
fn try_to_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            locked => return locked,
        }
    }
    file.try_lock()
}

/// As it would be read back from disk: an f32 of 0.9 is written as `0.9`, but is another number as an f64.
pub(crate) fn to_value(value: &impl Serialize) -> serde_json::Value {
    let text = serde_json::to_string(value).expect("run records have only string keys");
    serde_json::from_str(&text).expect("what was just written is JSON")
}
