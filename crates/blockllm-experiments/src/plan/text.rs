//! What `plan` prints.
use super::args::Args;
use super::model_shape;
use super::planned::{Planned, planned, workload};
use crate::byte_size::{ByteSize, gigabytes};
use crate::report::{Align, Table};
use anyhow::Result;
use blockllm_train::memory::plan::{Advice, Change};
use blockllm_train::memory::{MemoryPlan, ModelShape, Part};
use blockllm_train::{Method, WeightType};
use std::fmt::Write as _;

/// The methods of the table over all.
const METHODS: [&str; 13] = [
    "adamw",
    "galore:128+svd=randomized",
    "apollo-mini",
    "lora:8",
    "badam:1",
    "lisa:2",
    "scale",
    "blockllm-sgd:0.95",
    "blockllm:0.5",
    "blockllm:0.9",
    "blockllm:0.95",
    "blockllm:0.95+state=int8",
    "official-compat:0.95+state=int8",
];

/// The published sizes, which a table over all has.
pub(crate) const SIZES: [&str; 5] = ["60m", "130m", "350m", "1b", "7b"];

/// One line: what is planned.
pub(super) fn heading(
    args: &Args,
    name: &str,
    model: &ModelShape,
    method: &Method,
    planned: &Planned,
) -> String {
    let plan = &planned.typical[0];
    let sparsity = args
        .sparsity
        .map_or(String::new(), |s| format!(" at sparsity {s}"));
    format!(
        "{name}, {:.1} M parameters in {}, {} x {} tokens; {}{sparsity}: {:.1} M entries are trained, \
         gradients exist for {:.1} M\n",
        model.num_parameters() as f64 / 1e6,
        weights(args.weights),
        args.batch,
        args.seq,
        method.label,
        plan.trained_entries as f64 / 1e6,
        plan.gradient_entries as f64 / 1e6,
    )
}

/// The parts at the peak, both ways.
pub(super) fn table(planned: &Planned) -> Table {
    let mut table = Table::new([
        ("at the peak", Align::Left),
        ("whole backward", Align::Right),
        ("layer-wise", Align::Right),
    ]);
    let row = |name: &str, value: &dyn Fn(&MemoryPlan) -> String| {
        [
            name.to_owned(),
            value(&planned.typical[0]),
            value(&planned.typical[1]),
        ]
    };
    for part in Part::ALL {
        if planned.typical.iter().any(|plan| plan.peak.of(part) > 0) {
            table.push_row(row(part.name(), &|plan| gigabytes(plan.peak.of(part))));
        }
    }
    table.push_row(row("total", &|plan| gigabytes(plan.peak_bytes())));
    table.push_row(row("reached at", &|plan| plan.moment.name().to_owned()));
    table.push_row(row("between steps", &|plan| gigabytes(plan.rest.total())));
    table.push_row([
        "total, if the largest block crosses".to_owned(),
        gigabytes(planned.worst[0].peak_bytes()),
        gigabytes(planned.worst[1].peak_bytes()),
    ]);
    table
}

/// The most at each moment, and what was assumed.
pub(super) fn notes(planned: &Planned) -> String {
    let moments = |plan: &MemoryPlan| {
        let moments = plan.moments.iter();
        let shown = moments.map(|peak| format!("{} {}", peak.moment.name(), gigabytes(peak.parts.total())));
        shown.collect::<Vec<_>>().join(", ")
    };
    format!(
        "Moments, whole backward: {}.\nMoments, layer-wise: {}.\nGB are 10^9 bytes. How many entries are trained is exact; \
         which blocks hold them depends on gradients: the table spreads the selection evenly over the model, and its last row \
         lets the largest block cross the budget. A GPU's memory pool reserves whole pages beyond this.",
        moments(&planned.typical[0]),
        moments(&planned.typical[1]),
    )
}

/// Whether it fits, and what would make it fit.
pub(super) fn verdict(planned: &Planned, memory: ByteSize, advice: &[Advice]) -> String {
    let needed = planned.needed();
    if needed <= memory.0 {
        return format!(
            "\nIt fits into {memory}, with {} to spare.",
            gigabytes(memory.0 - needed)
        );
    }
    let missing = gigabytes(needed - memory.0);
    if advice.is_empty() {
        return format!(
            "\nIt does not fit into {memory}: {missing} are missing, and no setting makes up for them."
        );
    }
    let mut text = format!("\nIt does not fit into {memory}: {missing} are missing. It fits with");
    for advice in advice {
        let changes: Vec<_> = advice.changes.iter().map(Change::to_string).collect();
        let _ = write!(
            text,
            "\n  {} ({})",
            changes.join(" and "),
            gigabytes(advice.peak_bytes)
        );
    }
    text
}

/// Methods by sizes: the peak with a whole backward pass, and layer-wise.
pub(super) fn comparison(args: &Args) -> Result<String> {
    let columns = [("method", Align::Left)]
        .into_iter()
        .chain(SIZES.iter().map(|size| (*size, Align::Right)));
    let mut table = Table::new(columns);
    for name in METHODS {
        let method = Method::parse(name)?;
        let mut row = vec![name.to_owned()];
        for size in SIZES {
            let (_, model) = model_shape(size)?;
            let plans = planned(&workload(args, &model, &method))?;
            let [whole, layer_wise] = plans.typical.each_ref().map(MemoryPlan::peak_bytes);
            row.push(format!("{} / {}", gigabytes(whole), gigabytes(layer_wise)));
        }
        table.push_row(row);
    }
    Ok(format!(
        "Peak of a step, whole backward / layer-wise: weights in {}, {} x {} tokens.\n\n{}",
        weights(args.weights),
        args.batch,
        args.seq,
        table.to_markdown()
    ))
}

fn weights(weights: WeightType) -> &'static str {
    match weights {
        WeightType::F32 => "f32",
        WeightType::Bf16 => "bf16",
    }
}
