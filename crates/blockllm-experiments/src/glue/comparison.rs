//! Every method beside full fine-tuning: points lost or won, and the shares of state, memory and time that it takes.
use crate::report::format::{UNKNOWN, mean, percent, sample_deviation};
use crate::report::{Align, Table};
use blockllm_data::glue::GlueTask;
use blockllm_train::{Method, RunResult};
use std::collections::{BTreeMap, BTreeSet};

/// Points below full fine-tuning, on average over the tasks, up to which a method counts as its equal.
pub const TOLERANCE: f64 = 1.5;

/// How a method stands beside full fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Close,
    Below,
    Undecided,
}

/// A run, its task and its main score x 100.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored<'a> {
    pub task: GlueTask,
    pub score: f64,
    pub result: &'a RunResult,
}

/// A method's runs beside those of full fine-tuning on the same tasks and seeds.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// The method.
    pub method: String,
    /// Points above full fine-tuning, averaged over the tasks: one value for each seed.
    pub differences: Vec<f64>,
    /// The task with the lowest difference, averaged over seeds.
    pub worst: (GlueTask, f64),
    state: f64,
    peak: f64,
    step: f64,
}

impl Comparison {
    /// Points above full fine-tuning, averaged over tasks and seeds.
    pub fn mean(&self) -> f64 {
        mean(&self.differences)
    }

    fn difference(&self) -> String {
        let deviation = sample_deviation(&self.differences);
        if deviation.is_finite() {
            format!("{} ± {deviation:.2}", points(self.mean()))
        } else {
            points(self.mean())
        }
    }

    /// Whether it lost no more than [`TOLERANCE`], by more than the standard error over seeds where there are several.
    fn judgement(&self) -> Judgement {
        let error = sample_deviation(&self.differences) / (self.differences.len() as f64).sqrt();
        let error = if error.is_finite() { error } else { 0.0 };
        if self.mean() - error >= -TOLERANCE {
            Judgement::Close
        } else if self.mean() + error < -TOLERANCE {
            Judgement::Below
        } else {
            Judgement::Undecided
        }
    }
}

/// Compares every method with the first that is full fine-tuning; empty when there is none, or nothing beside it.
pub(super) fn compare(methods: &[Method], runs: &[Scored<'_>]) -> Vec<Comparison> {
    let Some(full) = methods.iter().find(|method| method.algorithm.is_baseline()) else {
        return Vec::new();
    };
    let others = methods.iter().filter(|method| method.label != full.label);
    others
        .filter_map(|method| compare_one(&method.label, &full.label, runs))
        .collect()
}

fn compare_one(method: &str, full: &str, runs: &[Scored<'_>]) -> Option<Comparison> {
    let partner = |run: &Scored<'_>| {
        runs.iter().find(|other| {
            other.result.method == full && other.task == run.task && other.result.seed == run.result.seed
        })
    };
    let pairs: Vec<_> = runs
        .iter()
        .filter(|run| run.result.method == method)
        .filter_map(|run| Some((run, partner(run)?)))
        .collect();
    let mut by_task: BTreeMap<GlueTask, Vec<f64>> = BTreeMap::new();
    let mut by_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (run, other) in &pairs {
        let difference = run.score - other.score;
        by_task.entry(run.task).or_default().push(difference);
        by_seed.entry(run.result.seed).or_default().push(difference);
    }
    let share = |of: fn(&RunResult) -> f64| {
        let shares = pairs.iter().map(|(run, other)| of(run.result) / of(other.result));
        mean(&shares.collect::<Vec<_>>())
    };
    Some(Comparison {
        method: method.to_owned(),
        differences: by_seed.values().map(|differences| mean(differences)).collect(),
        worst: by_task
            .into_iter()
            .map(|(task, differences)| (task, mean(&differences)))
            .min_by(|a, b| a.1.total_cmp(&b.1))?,
        state: share(|result| result.memory.optimizer_state_bytes.measured as f64),
        peak: share(|result| result.memory.peak_bytes as f64),
        step: share(|result| result.step_ms),
    })
}

/// One row per method.
pub(super) fn table(comparisons: &[Comparison]) -> Table {
    let mut table = Table::new([
        ("method", Align::Left),
        ("mean difference (points)", Align::Right),
        ("worst task", Align::Right),
        ("optimizer state", Align::Right),
        ("peak memory", Align::Right),
        ("step time", Align::Right),
    ]);
    for comparison in comparisons {
        let (task, difference) = comparison.worst;
        table.push_row([
            comparison.method.clone(),
            comparison.difference(),
            format!("{} {}", task.name(), points(difference)),
            percent(comparison.state),
            percent(comparison.peak),
            percent(comparison.step),
        ]);
    }
    table
}

/// Which methods are as good as full fine-tuning here, in a sentence. A method of which a run diverged is not judged by those
/// that did not. `mark` says it where the rows are not GLUE's.
pub(super) fn verdict(
    comparisons: &[Comparison],
    diverged: &BTreeSet<&str>,
    tasks: &[GlueTask],
    mark: &str,
) -> String {
    let (unsound, sound): (Vec<_>, Vec<_>) = comparisons
        .iter()
        .partition(|comparison| diverged.contains(comparison.method.as_str()));
    let named = |judgement: Judgement| {
        let chosen = sound
            .iter()
            .filter(|comparison| comparison.judgement() == judgement);
        let names: Vec<_> = chosen
            .map(|comparison| format!("{} ({})", comparison.method, comparison.difference()))
            .collect();
        if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        }
    };
    let tasks: Vec<_> = tasks.iter().map(|task| task.name()).collect();
    let seeds = if comparisons
        .iter()
        .all(|comparison| comparison.differences.len() == 1)
    {
        " and one seed"
    } else {
        ""
    };
    let mut text = format!(
        "On average over {}{seeds}{mark}, within {TOLERANCE} points of full fine-tuning or above it: {}. Further below: {}.",
        tasks.join(", "),
        named(Judgement::Close),
        named(Judgement::Below)
    );
    let undecided = named(Judgement::Undecided);
    if undecided != "none" {
        text = format!("{text} Left open by the spread over seeds: {undecided}.");
    }
    if !unsound.is_empty() {
        let names: Vec<_> = unsound
            .iter()
            .map(|comparison| comparison.method.as_str())
            .collect();
        text = format!(
            "{text} Not judged, since runs of theirs diverged: {}.",
            names.join(", ")
        );
    }
    text
}

/// A difference of scores x 100, with its sign.
fn points(value: f64) -> String {
    if value.is_finite() {
        format!("{value:+.2}")
    } else {
        UNKNOWN.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(method: &str, differences: &[f64]) -> Comparison {
        Comparison {
            method: method.into(),
            differences: differences.to_vec(),
            worst: (GlueTask::Cola, -3.5),
            state: 0.07,
            peak: 0.63,
            step: 0.65,
        }
    }

    #[test]
    fn the_verdict_heeds_the_spread_and_runs_that_diverged() {
        let comparisons = [
            comparison("blockllm:0.95", &[-1.9, -0.9]),
            comparison("lora:8", &[-1.51]),
            comparison("lisa:2", &[0.2]),
        ];
        insta::assert_snapshot!(table(&comparisons).to_markdown(), @r"
        | method        | mean difference (points) | worst task | optimizer state | peak memory | step time |
        | ------------- | -----------------------: | ---------: | --------------: | ----------: | --------: |
        | blockllm:0.95 |             -1.40 ± 0.71 | CoLA -3.50 |           7.0 % |      63.0 % |    65.0 % |
        | lora:8        |                    -1.51 | CoLA -3.50 |           7.0 % |      63.0 % |    65.0 % |
        | lisa:2        |                    +0.20 | CoLA -3.50 |           7.0 % |      63.0 % |    65.0 % |
        ");
        let all = |diverged: &[&'static str]| {
            let diverged = diverged.iter().copied().collect();
            verdict(&comparisons, &diverged, &[GlueTask::Cola, GlueTask::Rte], "")
        };
        assert_eq!(
            all(&[]),
            "On average over CoLA, RTE, within 1.5 points of full fine-tuning or above it: lisa:2 (+0.20). Further below: \
             lora:8 (-1.51). Left open by the spread over seeds: blockllm:0.95 (-1.40 ± 0.71)."
        );
        let without = all(&["lisa:2"]);
        assert!(
            without.contains("or above it: none.")
                && without.ends_with("Not judged, since runs of theirs diverged: lisa:2."),
            "{without}"
        );
        let one = verdict(
            &comparisons[1..2],
            &BTreeSet::new(),
            &[GlueTask::Rte],
            " (generated)",
        );
        assert!(
            one.starts_with("On average over RTE and one seed (generated), within"),
            "{one}"
        );
    }
}
