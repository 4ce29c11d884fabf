//! Where a run lies below `--out`: a folder named after its method, its seed and a hash of all that it is made of.
use crate::Cli;
use anyhow::{Context, Result};
use blockllm_data::hashing::sha256_hex;
use blockllm_train::tell_line;
use blockllm_train::{Checkpoints, Schedule, ScheduleKind};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Digits of the hash in a folder's name.
const HASH_DIGITS: usize = 8;
/// The key of a run that was made longer, beside its other settings.
const EXTENDED: &str = "extended_from_steps";

/// A run that is to be made, or is made already.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlace {
    /// Its folder.
    pub path: PathBuf,
    /// What it is a function of, beside its data: `config.json`.
    pub config: Value,
    /// What pins its data: `manifest.json`.
    pub manifest: Value,
    /// The shorter run whose end it goes on from, and that one's steps.
    pub extends: Option<(PathBuf, u64)>,
}

impl RunPlace {
    /// Whether it is complete, or has diverged: no step of it is left to be made.
    pub fn is_over(&self) -> bool {
        ["result.json", "diverged.json"]
            .iter()
            .any(|name| self.path.join(name).exists())
    }

    /// Whether it goes on from a run that had other learning rates or evaluations.
    pub fn is_extended(&self) -> bool {
        !self.config[EXTENDED].is_null()
    }

    /// The place below `parent` of the run called `name` (method and seed) of this configuration and data: the newest one
    /// of its kind, or with `--fresh` a new one beside it, whose folder is made at once.
    ///
    /// # Errors
    /// When a folder cannot be read or made.
    pub fn find(
        cli: &Cli,
        parent: &Path,
        name: &str,
        config: &impl Serialize,
        manifest: &impl Serialize,
    ) -> Result<Self> {
        let to_value = |value: String| serde_json::from_str(&value).expect("what was just written is JSON");
        // Through text, so that an f32 is what it is when it is read back.
        let mut config: Value = to_value(serde_json::to_string(config)?);
        let manifest: Value = to_value(serde_json::to_string(manifest)?);
        let the_same = if is_same_curve(&config) {
            shorter(parent, name, &config, &manifest, SameEvaluations::Yes)?
        } else {
            None
        };
        let alike = match &the_same {
            Some(_) => None,
            None => shorter(parent, name, &config, &manifest, SameEvaluations::Whatever)?,
        };
        let extends = match alike {
            Some((path, steps)) if cli.extend => {
                config[EXTENDED] = steps.into();
                Some((path, steps))
            }
            Some((path, steps)) => {
                tell_line!(
                    "note: {} is this run with {steps} steps, but with other learning rates or evaluations; `--extend` goes on \
                     from its end, at those of the longer run",
                    path.display()
                );
                None
            }
            None => the_same,
        };
        let base = format!("{name}-{}", hash(&config, &manifest));
        // A process that was made for one run takes the folder that it is given, and makes none.
        let path = match &cli.alone {
            Some(alone) if is_one_of(alone, parent, &base) => alone.clone(),
            None if cli.fresh => make_fresh(parent, &base)?,
            _ => parent.join(newest(parent, &base)?.unwrap_or(base)),
        };
        let is_new = || !path.join("result.json").exists() && Checkpoints::new(&path, 0).newest().is_none();
        if cli.extend && cli.alone.is_none() && extends.is_none() && is_new() {
            tell_line!(
                "note: --extend: {} has no complete run of {name} that differs in its steps alone and has kept its last \
                 checkpoint, so this one begins at its first step",
                parent.display()
            );
        }
        Ok(Self {
            path,
            config,
            manifest,
            extends,
        })
    }
}

/// Of the names and values of `config` and `manifest`.
fn hash(config: &Value, manifest: &Value) -> String {
    let mut hash = sha256_hex(format!("{config}\n{manifest}").as_bytes());
    hash.truncate(HASH_DIGITS);
    hash
}

/// A constant rate from the first step on does not depend on the number of steps, so a longer run begins as the shorter;
/// unless the evaluation at the shorter one's end counts for stopping early.
fn is_same_curve(config: &Value) -> bool {
    if may_stop_early(config) {
        return false;
    }
    let schedule: Option<Schedule> = serde_json::from_value(config["train"]["schedule"].clone()).ok();
    schedule.is_some_and(|schedule| schedule.kind == ScheduleKind::Constant && schedule.warmup == 0.0)
}

/// Whether a shorter run must have been evaluated at the steps at which this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SameEvaluations {
    Yes,
    Whatever,
}

/// The longest complete run beside this one that has fewer steps and else the same settings and data, and kept the
/// checkpoint of its last step.
fn shorter(
    parent: &Path,
    name: &str,
    config: &Value,
    manifest: &Value,
    evaluations: SameEvaluations,
) -> Result<Option<(PathBuf, u64)>> {
    let wanted_steps = steps_of(config);
    let without_steps = |config: &Value| {
        let mut config = config.clone();
        if let Some(fields) = config.as_object_mut() {
            fields.remove(EXTENDED);
        }
        forget(
            &mut config,
            &["/train/steps", "/settings/steps", "/settings/epochs"],
        );
        if evaluations == SameEvaluations::Whatever && !may_stop_early(&config) {
            forget(
                &mut config,
                &["/train/evaluate_every", "/settings/evaluate_every"],
            );
        }
        config
    };
    let mut found: Option<(PathBuf, u64)> = None;
    for folder in folders(parent)? {
        let path = parent.join(&folder);
        if !folder.starts_with(&format!("{name}-")) || !path.join("result.json").exists() {
            continue;
        }
        let read = |name: &str| -> Option<Value> {
            serde_json::from_slice(&std::fs::read(path.join(name)).ok()?).ok()
        };
        let (Some(other), Some(data)) = (read("config.json"), read("manifest.json")) else {
            continue;
        };
        let steps = steps_of(&other);
        if steps < wanted_steps
            && data == *manifest
            && without_steps(&other) == without_steps(config)
            && Checkpoints::new(&path, 0).has(steps)
            && found.as_ref().is_none_or(|(_, longest)| steps > *longest)
        {
            found = Some((path, steps));
        }
    }
    Ok(found)
}

/// Makes nothing of what stands at these places, where something does.
fn forget(config: &mut Value, places: &[&str]) {
    for place in places {
        if let Some(value) = config.pointer_mut(place) {
            *value = Value::Null;
        }
    }
}

/// Whether evaluations decide when the run ends.
fn may_stop_early(config: &Value) -> bool {
    config["train"]["stop_after"].as_u64().unwrap_or(0) > 0
}

fn steps_of(config: &Value) -> u64 {
    config["train"]["steps"].as_u64().unwrap_or(0)
}

/// The folder of the highest number among `base`, `base-2`, `base-3`, ..
fn newest(parent: &Path, base: &str) -> Result<Option<String>> {
    Ok(folders(parent)?
        .into_iter()
        .filter(|folder| number(folder, base).is_some())
        .max_by_key(|folder| number(folder, base)))
}

/// The number of a folder among those of `base`.
fn number(folder: &str, base: &str) -> Option<u64> {
    let rest = folder.strip_prefix(base)?;
    if rest.is_empty() {
        return Some(1);
    }
    rest.strip_prefix('-')?.parse().ok()
}

/// Whether `path` is a folder of `base` in `parent`.
fn is_one_of(path: &Path, parent: &Path, base: &str) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    path.parent() == Some(parent) && name.is_some_and(|name| number(&name, base).is_some())
}

/// Makes the next folder beside the others of `base`; two processes never get the same.
fn make_fresh(parent: &Path, base: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(parent)
        .with_context(|| format!("making {}; is the folder writable?", parent.display()))?;
    let names = std::iter::once(base.to_owned()).chain((2_u64..).map(|number| format!("{base}-{number}")));
    for name in names {
        let path = parent.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("making {}; is the folder writable?", path.display()));
            }
        }
    }
    unreachable!("there is always a next number")
}

/// The names of all folders in `parent`, in order; none where it is not there yet.
fn folders(parent: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", parent.display())),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    fn cli(more: &[&str]) -> Cli {
        Cli::parse_from([&["runner", "c4"], more].concat())
    }

    fn config(steps: u64, kind: &str) -> Value {
        json!({ "train": { "steps": steps, "schedule": { "kind": kind, "warmup": 0.0, "final_share": 0.1 } } })
    }

    fn place(out: &Path, config: &Value, more: &[&str]) -> RunPlace {
        RunPlace::find(&cli(more), out, "adamw-0", config, &"data").unwrap()
    }

    fn complete(place: &RunPlace, steps: u64) {
        std::fs::create_dir_all(place.path.join(format!("checkpoints/step-{steps}"))).unwrap();
        std::fs::write(place.path.join("result.json"), "{}").unwrap();
        std::fs::write(place.path.join("config.json"), place.config.to_string()).unwrap();
        std::fs::write(place.path.join("manifest.json"), place.manifest.to_string()).unwrap();
    }

    #[test]
    fn one_configuration_has_one_folder_and_another_has_its_own() {
        let out = tempfile::tempdir().unwrap();
        let first = place(out.path(), &config(4, "cosine"), &[]);
        assert_eq!(place(out.path(), &config(4, "cosine"), &[]), first);
        assert_ne!(place(out.path(), &config(4, "linear"), &[]).path, first.path);
        let other_data = RunPlace::find(&cli(&[]), out.path(), "adamw-0", &config(4, "cosine"), &"other");
        assert_ne!(other_data.unwrap().path, first.path);
    }

    #[test]
    fn a_fresh_run_lies_beside_the_old_one_and_is_the_one_that_is_gone_on_with() {
        let out = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..12)
            .map(|_| place(out.path(), &config(4, "cosine"), &["--fresh"]).path)
            .collect();
        assert!(
            paths[0].is_dir() && paths[11].to_string_lossy().ends_with("-12"),
            "{paths:?}"
        );
        assert_eq!(place(out.path(), &config(4, "cosine"), &[]).path, paths[11]);
    }

    #[test]
    fn a_process_made_for_a_run_takes_its_folder_and_makes_none() {
        let out = tempfile::tempdir().unwrap();
        let config = config(4, "cosine");
        let fresh = |_| place(out.path(), &config, &["--fresh"]).path;
        let [first, second] = [0, 1].map(fresh);
        for alone in [first, second.clone()] {
            let words = ["--fresh", "--alone", alone.to_str().unwrap()];
            assert_eq!(place(out.path(), &config, &words).path, alone);
        }
        let elsewhere = out.path().join("other/adamw-0-12345678");
        let words = ["--fresh", "--alone", elsewhere.to_str().unwrap()];
        assert_eq!(place(out.path(), &config, &words).path, second);
    }

    #[test]
    fn a_longer_run_goes_on_from_a_shorter_one_where_the_rates_allow_it_or_it_is_asked_for() {
        let out = tempfile::tempdir().unwrap();
        for (kind, flag, goes_on, same_identity) in [
            ("constant", &[][..], true, true),
            ("cosine", &[], false, true),
            ("cosine", &["--extend"], true, false),
        ] {
            let parent = out.path().join(format!("{kind}{}", flag.len()));
            for steps in [2, 4] {
                complete(&place(&parent, &config(steps, kind), &[]), steps);
            }
            let longer = place(&parent, &config(8, kind), flag);
            let expected = place(&parent, &config(4, kind), &[]).path;
            assert_eq!(
                longer.extends,
                goes_on.then_some((expected, 4)),
                "{kind} {flag:?}"
            );
            assert_eq!(longer.config == config(8, kind), same_identity, "{kind} {flag:?}");
        }
    }

    #[test]
    fn what_follows_from_the_steps_does_not_keep_a_run_from_being_extended() {
        let out = tempfile::tempdir().unwrap();
        let config = |steps: u64, patience: u64, stop_after: u64| {
            let mut config = config(steps, "cosine");
            config["train"]["evaluate_every"] = (steps / 2).into();
            config["train"]["stop_after"] = stop_after.into();
            config["settings"] =
                json!({ "steps": steps, "epochs": steps / 4, "evaluate_every": null, "patience": patience });
            config
        };
        complete(&place(out.path(), &config(4, 1, 0), &[]), 4);
        complete(&place(out.path(), &config(4, 1, 2), &[]), 4);
        let extends = |config: &Value| place(out.path(), config, &["--extend"]).extends;
        assert_eq!(extends(&config(8, 1, 0)).map(|(_, steps)| steps), Some(4));
        assert_eq!(extends(&config(8, 2, 0)), None);
        assert_eq!(extends(&config(8, 1, 2)), None);
    }
}
