//! What `evaluate` prints.
use crate::report::{Align, Table};
use blockllm_data::tasks::{EvalTask, TaskData};
use blockllm_train::scoring::{Metric, Perplexity, TaskScores};

/// One line: which model was asked what.
pub(super) fn heading(data: &TaskData, model: &str) -> String {
    let (name, version) = data.task.harness();
    let files: Vec<String> = data.files.iter().map(|file| file.display().to_string()).collect();
    let shots = match data.shots {
        0 => "no examples".to_owned(),
        1 => "1 example".to_owned(),
        shots => format!("the first {shots} examples"),
    };
    format!(
        "{model} on {} of {}, as the harness' {name} (version {version}), with {shots} before each\n",
        match data.items.len() {
            1 => "1 item".to_owned(),
            items => format!("{items} items"),
        },
        files.join(", ")
    )
}

/// A row for every metric, subjects first.
pub(super) fn table(scores: &TaskScores, task: EvalTask) -> Table {
    let mut table = Table::new([
        ("task", Align::Left),
        ("metric", Align::Left),
        ("n", Align::Right),
        ("value", Align::Right),
        ("stderr", Align::Right),
    ]);
    for (subject, metrics) in &scores.subjects {
        for metric in metrics {
            table.push_row(row(subject, metric));
        }
    }
    for metric in &scores.overall {
        table.push_row(row(task.name(), metric));
    }
    table
}

fn row(name: &str, metric: &Metric) -> [String; 5] {
    let error = metric.standard_error;
    [
        name.to_owned(),
        metric.name.clone(),
        metric.count.to_string(),
        format!("{:.4}", metric.value),
        error.map_or("-".to_owned(), |error| format!("{error:.4}")),
    ]
}

/// The perplexity of a text per each of its units.
pub(super) fn perplexity(found: &Perplexity) -> Table {
    let table = Table::new([
        ("metric", Align::Left),
        ("n", Align::Right),
        ("value", Align::Right),
    ]);
    table
        .with_row([
            "token_perplexity".to_owned(),
            found.tokens.to_string(),
            shown(found.per_token()),
        ])
        .with_row([
            "word_perplexity".to_owned(),
            found.words.to_string(),
            shown(found.per_word()),
        ])
        .with_row([
            "byte_perplexity".to_owned(),
            found.bytes.to_string(),
            shown(found.per_byte()),
        ])
        .with_row([
            "bits_per_byte".to_owned(),
            found.bytes.to_string(),
            shown(found.bits_per_byte()),
        ])
}

/// Four digits behind the point; a huge number by its power of ten.
fn shown(value: f64) -> String {
    if value < 1e6 {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_stand_above_all_and_a_lone_item_has_no_error() {
        let metric = |count, value, standard_error| Metric {
            name: "acc".to_owned(),
            count,
            value,
            standard_error,
        };
        let scores = TaskScores {
            overall: vec![metric(3, 2.0 / 3.0, Some(0.3333))],
            subjects: [
                ("anatomy".to_owned(), vec![metric(1, 1.0, None)]),
                ("botany".to_owned(), vec![metric(2, 0.5, Some(0.5))]),
            ]
            .into(),
        };
        let text = table(&scores, EvalTask::Mmlu).to_markdown();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| {
                line.split('|')
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(rows[0], ["anatomy", "acc", "1", "1.0000", "-"]);
        assert_eq!(rows[1], ["botany", "acc", "2", "0.5000", "0.5000"]);
        assert_eq!(rows[2], ["mmlu", "acc", "3", "0.6667", "0.3333"]);
    }
}
