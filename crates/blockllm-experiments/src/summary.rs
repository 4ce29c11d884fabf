//! From run records to what the report shows: rows, curves, bars and selection maps.
use crate::report::{Curve, MemoryBar, MemoryParts, MethodRow, Selection, SelectionMap};
use blockllm_train::{Record, RunResult};
use std::collections::BTreeMap;

/// One row per method, in the order of their first run; seeds are gathered into it.
pub fn method_rows<'a>(results: impl IntoIterator<Item = &'a RunResult>) -> Vec<MethodRow> {
    let mut rows: Vec<MethodRow> = Vec::new();
    for result in results {
        let known = rows.iter().position(|row| row.method == result.method);
        let row = known.unwrap_or_else(|| {
            rows.push(empty_row(result));
            rows.len() - 1
        });
        add_seed(&mut rows[row], result);
    }
    rows
}

fn empty_row(result: &RunResult) -> MethodRow {
    MethodRow {
        method: result.method.clone(),
        learning_rate: result.train_config.learning_rate,
        tokens_seen: result.tokens_seen,
        ..MethodRow::default()
    }
}

fn add_seed(row: &mut MethodRow, result: &RunResult) {
    row.validation_perplexity
        .push(result.last.evaluation.perplexity());
    row.untrained_perplexity
        .push(result.untrained.evaluation.perplexity());
    row.tokens_per_second.push(result.tokens_per_second);
    row.step_ms.push(result.step_ms);
    row.wait_share.push(result.wait_share);
    row.trained_share = row.trained_share.max(result.trained_share);
    if result.memory.peak_bytes >= row.peak_bytes {
        row.peak_bytes = result.memory.peak_bytes;
        row.memory = parts(result);
        row.estimated_optimizer_state_bytes = result.memory.optimizer_state_bytes.estimated;
    }
}

fn parts(result: &RunResult) -> MemoryParts {
    MemoryParts {
        weights_bytes: result.memory.weights_bytes,
        gradients_bytes: result.memory.gradients_bytes,
        optimizer_state_bytes: result.memory.optimizer_state_bytes.measured,
        activations_bytes: result.memory.activations_bytes,
    }
}

/// One bar per row.
pub fn memory_bars(rows: &[MethodRow]) -> Vec<MemoryBar> {
    rows.iter()
        .map(|row| MemoryBar {
            label: row.method.clone(),
            parts: row.memory,
        })
        .collect()
}

/// Training loss over tokens.
pub fn loss_curve(label: &str, records: &[Record]) -> Curve {
    let point = |record: &Record| match record {
        Record::Step(step) => Some((step.tokens_seen as f64, step.loss)),
        _ => None,
    };
    Curve {
        label: label.to_owned(),
        points: records.iter().filter_map(point).collect(),
    }
}

/// Validation perplexity over tokens.
pub fn validation_curve(label: &str, records: &[Record]) -> Curve {
    let point = |record: &Record| match record {
        Record::Evaluation(evaluation) => {
            Some((evaluation.tokens_seen as f64, evaluation.evaluation.perplexity()))
        }
        _ => None,
    };
    Curve {
        label: label.to_owned(),
        points: records.iter().filter_map(point).collect(),
    }
}

/// Which blocks were trained when; `None` when the run selected only once.
///
/// `blocks` are all blocks of the partition, in order.
pub fn selection_map(title: &str, blocks: &[String], steps: u64, records: &[Record]) -> Option<SelectionMap> {
    let index: BTreeMap<&str, usize> = blocks
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let selection = |record: &Record| match record {
        Record::Selection(event) => Some(Selection {
            from_step: event.step + 1,
            blocks: event
                .blocks
                .iter()
                .filter_map(|name| index.get(name.as_str()).copied())
                .collect(),
        }),
        _ => None,
    };
    let selections: Vec<_> = records.iter().filter_map(selection).collect();
    (selections.len() > 1).then(|| SelectionMap {
        title: title.to_owned(),
        blocks: blocks.to_vec(),
        steps,
        selections,
    })
}
