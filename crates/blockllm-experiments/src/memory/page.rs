//! The page of the memory experiment.
use super::Settings;
use super::settings::PAPER_BATCH;
use crate::Cli;
use crate::byte_size::gigabytes;
use crate::estimate::{self, Compared};
use crate::experiment::{PartRun, Runs};
use crate::plan::SIZES;
use crate::report::format::{UNKNOWN, bytes};
use crate::report::{
    Align, MemoryBar, Page, Section, Table, memory_bars_svg, quoted_c4_table, quoted_memory_table,
};
use crate::summary::diverged_section;
use anyhow::Result;
use blockllm_model::llama::LlamaConfig;
use blockllm_train::memory::{BackwardMode, MemoryPlan, ModelShape, Workload};
use blockllm_train::{Method, WeightType};

/// Tables, pictures and the published figures.
pub(super) fn build(
    cli: &Cli,
    settings: &Settings,
    Runs { complete, diverged }: &Runs<usize>,
) -> Result<Page> {
    let by_size = compared(settings, complete)?;
    let mut page = Page {
        title: "Memory: methods, sizes, sparsities".into(),
        sections: vec![Section::Text(introduction(cli, settings))],
    }
    .with_all(diverged_section(diverged))
    .with(Section::Table {
        caption: "Measured here: the peak of each run, beside what was estimated before it, in one cell.".into(),
        table: peaks(settings, &by_size),
    })
    .with(Section::Table {
        caption: format!(
            "ESTIMATED, not measured: the peak of a step in bf16 on a GPU, {} x {} tokens, with a whole backward pass / \
             layer by layer. Weights, gradients, state, masters, activations and temporaries are all in it.",
            PAPER_BATCH[0], PAPER_BATCH[1]
        ),
        table: estimated(settings)?,
    });
    let measured = settings.sizes.iter().zip(&by_size);
    for ((name, _), rows) in measured.filter(|(_, rows)| !rows.is_empty()) {
        let title = format!("Peak memory on {name}, measured and estimated");
        page = page
            .with(Section::Heading(name.clone()))
            .with(estimate::section(rows, ""))
            .with(Section::figure(
                format!("{name}.svg"),
                &title,
                memory_bars_svg(&title, &bars(rows))?,
            ));
    }
    let title = "Llama 7B in bf16, 1 x 512 tokens: ESTIMATED peaks";
    let largest = memory_bars_svg(title, &largest(settings)?)?;
    let page = page.with(Section::figure("7b-estimated.svg", title, largest));
    Ok(page.with(quoted_memory_table()).with(quoted_c4_table()))
}

fn introduction(cli: &Cli, settings: &Settings) -> String {
    format!(
        "{} on {}. Every run is measured above what was live before its model was made. How many entries a method trains \
         is exact; which blocks a selection takes depends on gradients, and the estimate beside a measured run knows them \
         from its records.",
        settings.describe(),
        cli.device.name()
    )
}

/// The runs of each size, in the order of the methods.
fn compared(settings: &Settings, runs: &[PartRun<usize>]) -> Result<Vec<Vec<Compared>>> {
    let mut by_size = vec![Vec::new(); settings.sizes.len()];
    for PartRun { part: size, run } in runs {
        let model = ModelShape::Llama(settings.sizes[*size].1.clone());
        let batch = [settings.rows, settings.tokens];
        let records = run.folder.records()?;
        by_size[*size].push(estimate::compared(&run.result, &records, &model, batch));
    }
    Ok(by_size)
}

/// Methods by measured sizes.
fn peaks(settings: &Settings, by_size: &[Vec<Compared>]) -> Table {
    let sizes = settings.sizes.iter().map(|(name, config)| {
        let millions = config.num_parameters() as f64 / 1e6;
        (format!("{name} ({millions:.1} M)"), Align::Right)
    });
    let mut table = Table::new([("method".to_owned(), Align::Left)].into_iter().chain(sizes));
    for method in &settings.methods {
        let cell = |rows: &Vec<Compared>| {
            // One that diverged has no figures.
            let Some(run) = rows.iter().find(|run| run.method == method.label) else {
                return UNKNOWN.to_owned();
            };
            let estimated = run
                .estimated
                .map_or(UNKNOWN.to_owned(), |parts| bytes(parts.peak_bytes));
            let peak = run.measured.peak_bytes;
            let first = rows
                .first()
                .filter(|first| first.method == settings.methods[0].label);
            let share = first.map_or(UNKNOWN.to_owned(), |first| {
                let share = peak as f64 / first.measured.peak_bytes.max(1) as f64;
                format!("{:.0} %", share * 100.0)
            });
            format!("{} (estimated {estimated}), {share}", bytes(peak))
        };
        table.push_row([method.label.clone()].into_iter().chain(by_size.iter().map(cell)));
    }
    table
}

/// Methods by the sizes of the paper's field, estimated.
fn estimated(settings: &Settings) -> Result<Table> {
    let sizes = SIZES.map(|size| (size, Align::Right));
    let mut table = Table::new([("method", Align::Left)].into_iter().chain(sizes));
    for method in &settings.methods {
        let mut row = vec![method.label.clone()];
        for size in SIZES {
            let model = ModelShape::Llama(LlamaConfig::preset(size)?);
            let peak = |backward| Ok::<_, anyhow::Error>(plan(&model, method, backward)?.peak_bytes());
            row.push(format!(
                "{} / {}",
                gigabytes(peak(BackwardMode::Whole)?),
                gigabytes(peak(BackwardMode::LayerWise)?)
            ));
        }
        table.push_row(row);
    }
    Ok(table)
}

/// A step of the paper's instruction tuning.
fn plan(model: &ModelShape, method: &Method, backward: BackwardMode) -> Result<MemoryPlan> {
    let [rows, tokens] = PAPER_BATCH;
    Ok(MemoryPlan::estimate(&Workload {
        weights: WeightType::Bf16,
        backward,
        ..Workload::new(model, method, rows, tokens)
    })?)
}

fn bars(rows: &[Compared]) -> Vec<MemoryBar> {
    let both = |run: &Compared| {
        let bar = |what: &str, parts| MemoryBar {
            label: format!("{} {what}", run.method),
            parts,
        };
        [
            Some(bar("measured", run.measured)),
            run.estimated.map(|parts| bar("estimated", parts)),
        ]
    };
    rows.iter().flat_map(both).flatten().collect()
}

/// Every method on the largest size, layer by layer.
fn largest(settings: &Settings) -> Result<Vec<MemoryBar>> {
    let model = ModelShape::Llama(LlamaConfig::preset("7b")?);
    let mut bars = Vec::new();
    for method in &settings.methods {
        let plan = plan(&model, method, BackwardMode::LayerWise)?;
        bars.push(MemoryBar {
            label: format!("{} layer-wise", method.label),
            parts: estimate::parts_of(&plan),
        });
    }
    Ok(bars)
}
