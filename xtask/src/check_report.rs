//! Checks the records and the report of a run for its figures: does the report tell what was measured, and does what
//! was measured hold what the paper promises?

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The figures of one run that are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub method: String,
    pub validation_perplexity: f64,
    pub untrained_perplexity: f64,
    pub state_measured_bytes: u64,
    pub state_estimated_bytes: u64,
    pub peak_bytes: u64,
}

/// Reads `out/<experiment>/*/result.json`, the report and its plots, and fails with all that is wrong with them.
/// Gives one line for each run that holds.
pub fn check(out: &Path, experiment: &str, methods: &[&str]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut runs = Vec::new();
    for file in result_files(&out.join(experiment))? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        match figures(&value) {
            Ok(run) => runs.push(run),
            Err(wrong) => problems.extend(wrong.iter().map(|wrong| format!("{}: {wrong}", file.display()))),
        }
    }
    problems.extend(judge(&runs, methods));
    match report_of(&out.join(experiment)) {
        Ok(text) => problems.extend(missing_rows(&text, &runs)),
        Err(error) => problems.push(format!("{error:#}")),
    }
    if !has_plot(out) {
        problems.push(format!(
            "no plot (a non-empty .svg or .png) lies under {}",
            out.display()
        ));
    }
    if problems.is_empty() {
        return Ok(runs.iter().map(summary).collect());
    }
    bail!("the report does not hold:\n  {}", problems.join("\n  "))
}

/// The figures in a `result.json`, or every field that is missing or of the wrong kind.
pub fn figures(result: &Value) -> Result<Figures, Vec<String>> {
    let mut wrong = Vec::new();
    let figures = Figures {
        method: text(result, "method", &mut wrong),
        validation_perplexity: number(result, "last.metrics.perplexity", &mut wrong),
        untrained_perplexity: number(result, "untrained.metrics.perplexity", &mut wrong),
        state_measured_bytes: bytes(result, "memory.optimizer_state_bytes.measured", &mut wrong),
        state_estimated_bytes: bytes(result, "memory.optimizer_state_bytes.estimated", &mut wrong),
        peak_bytes: bytes(result, "memory.peak_bytes", &mut wrong),
    };
    if wrong.is_empty() { Ok(figures) } else { Err(wrong) }
}

/// What the figures of all runs break of what they must hold.
pub fn judge(runs: &[Figures], methods: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for method in methods
        .iter()
        .filter(|method| !runs.iter().any(|run| run.method == **method))
    {
        let found: Vec<&str> = runs.iter().map(|run| run.method.as_str()).collect();
        problems.push(format!(
            "no result.json with \"method\": \"{method}\" (found: {})",
            found.join(", ")
        ));
    }
    let dense_peak = runs
        .iter()
        .find(|run| run.method == "adamw")
        .map(|run| run.peak_bytes);
    for run in runs {
        let name = &run.method;
        let (after, before) = (run.validation_perplexity, run.untrained_perplexity);
        if !after.is_finite() || !before.is_finite() || after <= 1.0 || after >= before {
            problems.push(format!(
                "{name}: validation perplexity {after} is not between 1 and the untrained {before}"
            ));
        }
        if !name.starts_with("blockllm") {
            continue;
        }
        let (measured, estimated) = (run.state_measured_bytes, run.state_estimated_bytes);
        if measured != estimated || measured == 0 {
            problems.push(format!(
                "{name}: {measured} bytes of optimizer state measured, {estimated} estimated"
            ));
        }
        if dense_peak.is_some_and(|peak| run.peak_bytes >= peak) {
            problems.push(format!(
                "{name}: its peak of {} bytes is not below AdamW's {dense_peak:?}",
                run.peak_bytes
            ));
        }
    }
    problems
}

/// The runs whose method no row of a table in the report names.
pub fn missing_rows(report: &str, runs: &[Figures]) -> Vec<String> {
    let rows: Vec<&str> = report
        .lines()
        .filter(|line| line.trim_start().starts_with('|'))
        .collect();
    let missing = runs
        .iter()
        .filter(|run| !rows.iter().any(|row| row.contains(&run.method)));
    missing
        .map(|run| format!("report.md: no table row names the method `{}`", run.method))
        .collect()
}

fn summary(run: &Figures) -> String {
    format!(
        "checked {}: perplexity {:.2} (untrained {:.2}), {} bytes of optimizer state as estimated, peak {} bytes",
        run.method,
        run.validation_perplexity,
        run.untrained_perplexity,
        run.state_measured_bytes,
        run.peak_bytes
    )
}

fn field<'v>(value: &'v Value, path: &str, wrong: &mut Vec<String>) -> Option<&'v Value> {
    let found = path.split('.').try_fold(value, |value, key| value.get(key));
    if found.is_none() {
        wrong.push(format!("the field `{path}` is missing"));
    }
    found
}

fn text(value: &Value, path: &str, wrong: &mut Vec<String>) -> String {
    let Some(found) = field(value, path, wrong) else {
        return String::new();
    };
    if let Some(text) = found.as_str() {
        return text.to_owned();
    }
    wrong.push(format!("the field `{path}` is {found}, not text"));
    String::new()
}

/// JSON has no NaN: serde writes it as null, so null is told as what it is.
fn number(value: &Value, path: &str, wrong: &mut Vec<String>) -> f64 {
    let Some(found) = field(value, path, wrong) else {
        return f64::NAN;
    };
    found.as_f64().unwrap_or_else(|| {
        wrong.push(format!("the field `{path}` is {found}, not a finite number"));
        f64::NAN
    })
}

fn bytes(value: &Value, path: &str, wrong: &mut Vec<String>) -> u64 {
    let Some(found) = field(value, path, wrong) else {
        return 0;
    };
    found.as_u64().unwrap_or_else(|| {
        wrong.push(format!("the field `{path}` is {found}, not a number of bytes"));
        0
    })
}

fn result_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading the runs in {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("result.json"))
        .collect();
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// The text of the only report of an experiment.
fn report_of(experiment: &Path) -> Result<String> {
    let entries =
        std::fs::read_dir(experiment).with_context(|| format!("reading {}", experiment.display()))?;
    let reports: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("report.md"))
        .filter(|report| report.is_file())
        .collect();
    match &reports[..] {
        [report] => std::fs::read_to_string(report).with_context(|| format!("reading {}", report.display())),
        _ => bail!(
            "{} reports in {}, where one is expected",
            reports.len(),
            experiment.display()
        ),
    }
}

fn has_plot(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        let is_picture = path
            .extension()
            .is_some_and(|extension| extension == "svg" || extension == "png");
        (is_picture && entry.metadata().is_ok_and(|data| data.len() > 0))
            || (path.is_dir() && has_plot(&path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(method: &str, peak: u64) -> Value {
        json!({
            "method": method,
            "last": { "metrics": { "perplexity": 210.5 } }, "untrained": { "metrics": { "perplexity": 4096.0 } },
            "memory": { "peak_bytes": peak, "optimizer_state_bytes": { "measured": 800, "estimated": 800 } },
        })
    }

    fn runs() -> Vec<Figures> {
        [("adamw", 5000), ("blockllm:0.5", 4000)]
            .map(|(method, peak)| figures(&result(method, peak)).unwrap())
            .to_vec()
    }

    #[test]
    fn a_run_that_holds_breaks_nothing() {
        assert!(judge(&runs(), &["adamw", "blockllm:0.5"]).is_empty());
    }

    #[test]
    fn every_missing_field_is_named() {
        let wrong = figures(&json!({ "method": "adamw", "last": { "metrics": { "perplexity": null } } }))
            .unwrap_err();
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        assert_eq!(
            wrong[0],
            "the field `last.metrics.perplexity` is null, not a finite number"
        );
        assert_eq!(
            wrong[2],
            "the field `memory.optimizer_state_bytes.measured` is missing"
        );
    }

    #[test]
    fn broken_promises_are_named() {
        let mut broken = runs();
        broken[0].validation_perplexity = 5000.0;
        broken[1].state_measured_bytes = 801;
        broken[1].peak_bytes = 6000;
        let problems = judge(&broken, &["adamw", "blockllm:0.5", "blockllm:0.9"]).join("\n");
        for expected in ["blockllm:0.9", "5000 is not between", "801 bytes", "peak of 6000"] {
            assert!(problems.contains(expected), "`{expected}` is not in:\n{problems}");
        }
    }

    #[test]
    fn a_method_without_a_table_row_is_named() {
        let report = "blockllm:0.5 is only in the text\n| method | perplexity |\n| adamw | 210.50 |\n";
        let problems = missing_rows(report, &runs());
        assert_eq!(
            problems,
            ["report.md: no table row names the method `blockllm:0.5`"]
        );
    }

    #[test]
    fn a_whole_folder_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [
            ("adamw-0", result("adamw", 5000)),
            ("blockllm-0", result("blockllm:0.5", 4000)),
        ] {
            std::fs::create_dir_all(folder.path().join("c4").join(name)).unwrap();
            std::fs::write(
                folder.path().join("c4").join(name).join("result.json"),
                value.to_string(),
            )
            .unwrap();
        }
        let report = folder.path().join("c4/report-12345678");
        std::fs::create_dir_all(&report).unwrap();
        std::fs::write(report.join("report.md"), "| adamw |\n| blockllm:0.5 |\n").unwrap();
        let without_plot = check(folder.path(), "c4", &["adamw", "blockllm:0.5"]).unwrap_err();
        assert!(without_plot.to_string().contains("no plot"), "{without_plot}");
        std::fs::write(folder.path().join("c4/loss.svg"), "<svg/>").unwrap();
        assert_eq!(
            check(folder.path(), "c4", &["adamw", "blockllm:0.5"])
                .unwrap()
                .len(),
            2
        );
    }
}
