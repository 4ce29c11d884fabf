//! The scores of a task: means over its items with their standard errors, of every subject and of all.
use super::statistics::{mean, pooled_standard_error, standard_error};
use super::task_run::{ItemResult, Outcome};
use blockllm_data::tasks::{AnswerFilter, EvalTask};
use std::collections::BTreeMap;

/// A mean over items.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name in the harness, with the filter behind a comma where there are several.
    pub name: String,
    /// Items.
    pub count: usize,
    /// The mean.
    pub value: f64,
    /// Its standard error; none for a single item.
    pub standard_error: Option<f64>,
}

/// The scores of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskScores {
    /// Over all items. Where there are several subjects the standard error is the pooled one, as that of the harness' group.
    pub overall: Vec<Metric>,
    /// Of every subject by its name, where there are several.
    pub subjects: BTreeMap<String, Vec<Metric>>,
}

impl TaskScores {
    /// Of all results of a task.
    pub fn new(task: EvalTask, results: &[ItemResult]) -> Self {
        let mut parts: BTreeMap<&str, Vec<&ItemResult>> = BTreeMap::new();
        for result in results {
            let subject = result.subject.as_deref().unwrap_or_default();
            parts.entry(subject).or_default().push(result);
        }
        let mut overall = metrics(task, &results.iter().collect::<Vec<_>>());
        if parts.len() < 2 {
            return Self {
                overall,
                subjects: BTreeMap::new(),
            };
        }
        let parts = parts.into_iter();
        let subjects: BTreeMap<String, Vec<Metric>> = parts
            .map(|(subject, results)| (subject.to_owned(), metrics(task, &results)))
            .collect();
        for (at, metric) in overall.iter_mut().enumerate() {
            let of_parts = subjects
                .values()
                .map(|part| (part[at].count, part[at].standard_error));
            metric.standard_error = pooled_standard_error(&of_parts.collect::<Vec<_>>());
        }
        Self { overall, subjects }
    }
}

/// The metrics of a task, over some of its results.
fn metrics(task: EvalTask, results: &[&ItemResult]) -> Vec<Metric> {
    let metric = |name: &str, value: &dyn Fn(&Outcome) -> f64| {
        let values: Vec<f64> = results.iter().map(|result| value(&result.outcome)).collect();
        Metric {
            name: name.to_owned(),
            count: values.len(),
            value: mean(&values),
            standard_error: standard_error(&values),
        }
    };
    if !task.has_choices() {
        let filters = AnswerFilter::ALL.iter().enumerate();
        let of_filter = |(at, filter): (usize, &AnswerFilter)| {
            metric(&format!("exact_match,{}", filter.name()), &|outcome| {
                right(outcome, at)
            })
        };
        return filters.map(of_filter).collect();
    }
    let mut found = vec![metric("acc", &|outcome| accuracy(outcome, false))];
    if task.has_acc_norm() {
        found.push(metric("acc_norm", &|outcome| accuracy(outcome, true)));
    }
    found
}

fn accuracy(outcome: &Outcome, is_normed: bool) -> f64 {
    match outcome {
        Outcome::Choice(chosen) if is_normed => chosen.acc_norm(),
        Outcome::Choice(chosen) => chosen.acc(),
        Outcome::Text { .. } => 0.0,
    }
}

fn right(outcome: &Outcome, filter: usize) -> f64 {
    match outcome {
        Outcome::Text { is_right, .. } => f64::from(u8::from(is_right[filter])),
        Outcome::Choice(_) => 0.0,
    }
}
