//! What a run was estimated to need, beside what was measured: a table that stands in every report.
use crate::report::format::{UNKNOWN, bytes};
use crate::report::{Align, MemoryParts, Section, Table};
use crate::summary::measured_parts;
use blockllm_train::memory::{Assumed, BackwardMode, MemoryPlan, MemorySource, ModelShape, Part, Workload};
use blockllm_train::{Backward, Record, RunResult};
use std::collections::BTreeSet;

/// A run's figures, measured and estimated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The method.
    pub method: String,
    /// Measured: each part at its largest, the rest of the peak last.
    pub measured: MemoryParts,
    /// What the device's pool had in use, where it is a pool.
    pub in_use: Option<u64>,
    /// Estimated, in the same way; `None` where the method cannot be planned.
    pub estimated: Option<MemoryParts>,
    /// When the peak is, by the estimate.
    pub moment: &'static str,
}

/// The plan of the run that gave `result`: the method that it used, on micro-batches of `rows` rows of `tokens` tokens,
/// with that selection of its records which needs most: of two as large, that nearer to the embedding keeps more activations.
pub fn plan_of(
    result: &RunResult,
    records: &[Record],
    model: &ModelShape,
    [rows, tokens]: [usize; 2],
) -> Option<MemoryPlan> {
    let config = &result.train_config;
    let selected = |record: &Record| match record {
        Record::Selection(event) => Some(event.blocks.clone()),
        _ => None,
    };
    let selections = records.iter().filter_map(selected).collect();
    let workload = Workload {
        weights: config.weights,
        grad_accum_steps: config.grad_accum_steps as u64,
        clipped: config.holds_all_gradients(),
        backward: match config.backward {
            Backward::LayerWise => BackwardMode::LayerWise,
            Backward::Auto | Backward::Whole => BackwardMode::Whole,
        },
        on_host: result.device == "flex",
        ..Workload::new(model, &result.method_config, rows as u64, tokens as u64)
    };
    heaviest(&workload, selections)
}

/// The plan of `workload` with that of `selections` which needs most; as it is where there are none.
fn heaviest(workload: &Workload<'_>, selections: BTreeSet<Vec<String>>) -> Option<MemoryPlan> {
    if selections.is_empty() {
        return MemoryPlan::estimate(workload).ok();
    }
    let plans = selections.into_iter().filter_map(|blocks| {
        let selection = Assumed::Blocks(blocks);
        let workload = Workload {
            selection,
            ..workload.clone()
        };
        MemoryPlan::estimate(&workload).ok()
    });
    plans.max_by_key(MemoryPlan::peak_bytes)
}

/// The parts of a plan as a measurement has them: each at its largest, and the rest of the peak.
pub fn parts_of(plan: &MemoryPlan) -> MemoryParts {
    let (weights, gradients, state) = (
        plan.most.of(Part::Weights),
        plan.most.of(Part::Gradients),
        plan.most.state(),
    );
    MemoryParts {
        weights_bytes: weights,
        gradients_bytes: gradients,
        optimizer_state_bytes: state,
        activations_bytes: plan.peak_bytes().saturating_sub(weights + gradients + state),
        peak_bytes: plan.peak_bytes(),
    }
}

/// One run compared.
pub fn compared(result: &RunResult, records: &[Record], model: &ModelShape, batch: [usize; 2]) -> Compared {
    let plan = plan_of(result, records, model, batch);
    let memory = &result.memory;
    Compared {
        method: result.method.clone(),
        measured: measured_parts(result),
        in_use: (memory.source == MemorySource::DevicePool).then_some(memory.in_use_bytes),
        estimated: plan.as_ref().map(parts_of),
        moment: plan.map_or(UNKNOWN, |plan| plan.moment.name()),
    }
}

/// Measured beside estimated, two lines for each run.
pub fn table(runs: &[Compared]) -> Table {
    let mut table = Table::new([
        ("method", Align::Left),
        ("", Align::Left),
        ("weights", Align::Right),
        ("gradients", Align::Right),
        ("optimizer state", Align::Right),
        ("rest", Align::Right),
        ("peak", Align::Right),
        ("estimated / measured", Align::Right),
        ("at", Align::Left),
    ]);
    for run in runs {
        let cells = |parts: &MemoryParts| {
            let mut cells: Vec<String> = parts.named().iter().map(|(_, part)| bytes(*part)).collect();
            cells.push(bytes(parts.peak_bytes));
            cells
        };
        let measured = [run.method.clone(), "measured".to_owned()];
        table.push_row(measured.into_iter().chain(cells(&run.measured)));
        if let Some(in_use) = run.in_use {
            let row = ["", "in use when looked at", "", "", "", ""].map(str::to_owned);
            table.push_row(row.into_iter().chain([bytes(in_use)]));
        }
        let estimated = [String::new(), "estimated".to_owned()].into_iter();
        match &run.estimated {
            None => table.push_row(estimated.chain([UNKNOWN.to_owned()])),
            Some(parts) => {
                let ratio = parts.peak_bytes as f64 / run.measured.peak_bytes.max(1) as f64;
                let tail = [format!("{ratio:.3}"), run.moment.to_owned()];
                table.push_row(estimated.chain(cells(parts)).chain(tail));
            }
        }
    }
    table
}

/// The table with its caption.
pub fn section(runs: &[Compared], mark: &str) -> Section {
    Section::Table {
        caption: format!(
            "Peak memory, estimated before the run (`cargo xtask plan`) beside measured{mark}, of the first seed. The \
             estimate replays a step on paper with each selection of the run, and the one that needs most is shown; `at` is when its peak is. A device's \
             pool reserves whole pages, which the estimate does not."
        ),
        table: table(runs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_model::llama::LlamaConfig;
    use blockllm_train::Method;

    #[test]
    fn of_selections_as_large_the_one_counts_that_keeps_more_activations() {
        let model = ModelShape::Llama(LlamaConfig::new(512, 64, 160, 4, 4));
        let method = Method::parse("badam:1").unwrap();
        let workload = Workload::new(&model, &method, 2, 64);
        let of = |layers: &[usize]| {
            let blocks = layers.iter().map(|layer| vec![format!("model.layers.{layer}")]);
            heaviest(&workload, blocks.collect()).unwrap().peak_bytes()
        };
        assert!(of(&[0]) > of(&[3]));
        assert_eq!(of(&[3, 0, 2]), of(&[0]));
    }

    #[test]
    fn measured_and_estimated_stand_below_each_other_with_their_ratio() {
        // The weights and the gradients were never there at once.
        let parts = |peak: u64| MemoryParts {
            weights_bytes: peak - 1024,
            gradients_bytes: peak - 1024,
            peak_bytes: peak,
            ..MemoryParts::default()
        };
        let run = Compared {
            method: "adamw".into(),
            measured: parts(4096),
            in_use: None,
            estimated: Some(parts(4000)),
            moment: "backward",
        };
        let text = table(&[run]).to_markdown();
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert!(
            rows[0].contains("measured") && rows[0].contains("4.00 KiB"),
            "{text}"
        );
        assert!(
            rows[1].contains("0.977") && rows[1].contains("backward"),
            "{text}"
        );
    }
}
