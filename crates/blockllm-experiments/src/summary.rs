//! From run records to what the report shows: rows, curves, bars and selection maps.
use crate::outcome::DivergedRun;
use crate::report::format::mean;
use crate::report::{Curve, MemoryBar, MemoryParts, MethodRow, Section, Selection, SelectionMap};
use blockllm_train::{Evaluation, Record, RunResult};
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
        row.memory = measured_parts(result);
        row.estimated_optimizer_state_bytes = result.memory.optimizer_state_bytes.estimated;
    }
}

/// The peak by its parts, as it was measured.
pub fn measured_parts(result: &RunResult) -> MemoryParts {
    MemoryParts {
        weights_bytes: result.memory.weights_bytes,
        gradients_bytes: result.memory.gradients_bytes,
        optimizer_state_bytes: result.memory.optimizer_state_bytes.measured,
        activations_bytes: result.memory.activations_bytes,
        peak_bytes: result.memory.peak_bytes,
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

/// Which runs are missing, and why; nothing where none is.
pub fn diverged_section(diverged: &[DivergedRun]) -> Option<Section> {
    let all: Vec<_> = diverged.iter().map(|run| run.description.as_str()).collect();
    (!all.is_empty())
        .then(|| Section::Text(format!("Diverged, so missing in all tables: {}.", all.join("; "))))
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
        band: Vec::new(),
    }
}

/// The mean training loss over the last tenth of the steps, of one at least; NaN where none was made.
pub fn final_training_loss(records: &[Record]) -> f64 {
    let losses: Vec<f64> = loss_curve("", records)
        .points
        .iter()
        .map(|(_, loss)| *loss)
        .collect();
    mean(&losses[losses.len() - losses.len().div_ceil(10)..])
}

/// Validation perplexity over tokens.
pub fn validation_curve(label: &str, records: &[Record]) -> Curve {
    evaluation_curve(label, records, Evaluation::perplexity)
}

/// A figure of the evaluations over tokens.
pub fn evaluation_curve(label: &str, records: &[Record], figure: impl Fn(&Evaluation) -> f64) -> Curve {
    let point = |record: &Record| match record {
        Record::Evaluation(record) => Some((record.tokens_seen as f64, figure(&record.evaluation))),
        _ => None,
    };
    Curve {
        label: label.to_owned(),
        points: records.iter().filter_map(point).collect(),
        band: Vec::new(),
    }
}

/// One curve of every method, in the order of their first runs, over all its seeds; each is labelled with its method.
pub fn by_method(runs: impl IntoIterator<Item = Curve>) -> Vec<Curve> {
    let mut methods: Vec<Vec<Curve>> = Vec::new();
    for curve in runs {
        match methods.iter_mut().find(|seeds| seeds[0].label == curve.label) {
            Some(seeds) => seeds.push(curve),
            None => methods.push(vec![curve]),
        }
    }
    methods
        .iter()
        .map(|seeds| over_seeds(&seeds[0].label, seeds))
        .collect()
}

/// The mean of the seeds' curves, point by point, with the band from the least to the most; as long as the shortest.
fn over_seeds(label: &str, seeds: &[Curve]) -> Curve {
    let length = seeds.iter().map(|curve| curve.points.len()).min().unwrap_or(0);
    let count = seeds.len() as f64;
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for place in 0..length {
        let at = || seeds.iter().map(|curve| curve.points[place]);
        let x = at().map(|(x, _)| x).sum::<f64>() / count;
        let values = || at().map(|(_, y)| y);
        points.push((x, values().sum::<f64>() / count));
        band.push((
            x,
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        ));
    }
    if seeds.len() < 2 {
        band.clear();
    }
    Curve {
        label: label.to_owned(),
        points,
        band,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_training_loss_is_the_mean_of_the_last_tenth_of_the_steps() {
        let steps = |count: u64| -> Vec<Record> {
            let step = |step| {
                let json = serde_json::json!({
                    "kind": "step", "step": step, "loss": step as f64, "grad_norm": 1.0, "learning_rate": 1.0,
                    "tokens_seen": step, "step_ms": 1.0, "trained_entries": 1, "memory_bytes": 1
                });
                serde_json::from_value(json).unwrap()
            };
            (1..=count).map(step).collect()
        };
        // The last one, the last two of 11, the last two of 20.
        let found = [1, 11, 20].map(|count| final_training_loss(&steps(count)).to_bits());
        assert_eq!(found, [1.0, 10.5, 19.5_f64].map(f64::to_bits));
        assert!(final_training_loss(&[]).is_nan());
    }

    #[test]
    fn seeds_are_one_line_and_a_band_as_long_as_the_shortest() {
        let seed = |values: &[f64]| Curve {
            points: (1..).map(f64::from).zip(values.iter().copied()).collect(),
            ..Curve::default()
        };
        let seeds = [seed(&[4.0, 3.0]), seed(&[2.0, 3.5, 9.0])].map(|curve| Curve {
            label: "adamw".into(),
            ..curve
        });
        let [curve] = by_method(seeds).try_into().unwrap();
        assert_eq!(curve.label, "adamw");
        assert_eq!(curve.points, [(1.0, 3.0), (2.0, 3.25)]);
        assert_eq!(curve.band, [(1.0, 2.0, 4.0), (2.0, 3.0, 3.5)]);
        let one = over_seeds("adamw", &[seed(&[4.0])]);
        assert_eq!((one.points, one.band.len()), (vec![(1.0, 4.0)], 0));
    }
}
