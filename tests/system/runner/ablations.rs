//! Ablations: each question a table and pictures; what stands in two tables is run once, and taken from the runs of `c4` and
//! `glue`.
use super::fixtures::c4_folder;
use super::folders::{report_in, run_in};
use super::glue::result;
use super::process::{refuse, succeed, text};
use std::fs;
use std::path::Path;

#[test]
fn each_question_has_its_table_and_plot_and_no_run_is_made_twice() {
    let (data, out) = (c4_folder(), tempfile::tempdir().unwrap());
    // At the quick scale these runs are shorter than those of `c4`, and nobody else's.
    let common = [
        "--scale",
        "cpu",
        "--steps",
        "2",
        "--data",
        text(data.path()),
        "--out",
        text(out.path()),
    ];
    succeed(["c4", "--methods", "blockllm:0.9"].into_iter().chain(common));
    let ended = succeed(
        ["ablations", "--ablations", "norm,probes"]
            .into_iter()
            .chain(common),
    );
    assert_eq!(
        ended.stderr.matches("complete, not run again").count(),
        1,
        "blockllm:0.9 stands in both, and `c4` has made it: {}",
        ended.stderr
    );
    let report = report_in(out.path(), "ablations");
    let markdown = fs::read_to_string(report.join("report.md")).unwrap();
    for part in [
        "norm: Which norm should rank blocks?",
        "probes: How many unselected blocks",
        "| blockllm:0.9+norm=grad",
        "| blockllm:0.9+probes=8",
    ] {
        assert!(markdown.contains(part), "{part}\n{markdown}");
    }
    assert_eq!(markdown.matches("\n| blockllm:0.9 ").count(), 2, "{markdown}");
    for file in ["norm.svg", "probes.svg"] {
        assert!(report.join(file).is_file(), "{file}");
    }
}

/// Mean ± sample deviation of two seeds, as a cell has it.
fn of_two(values: [f64; 2], decimals: usize) -> String {
    let mean = f64::midpoint(values[0], values[1]);
    let deviation = (values[0] - values[1]).abs() / 2.0_f64.sqrt();
    format!("{mean:.decimals$} ± {deviation:.decimals$}")
}

/// The rows of the only table in `markdown` that begin with `method`, cell by cell.
fn cells<'a>(markdown: &'a str, method: &str) -> Vec<&'a str> {
    let mut lines = markdown.lines();
    let row = lines.find(|line| line.split('|').nth(1).is_some_and(|cell| cell.trim() == method));
    row.unwrap().split('|').map(str::trim).collect()
}

fn evaluation(out: &Path, run: &str) -> blockllm_train::Evaluation {
    result(&run_in(&out.join("glue/MRPC"), run)).last.evaluation
}

#[test]
fn fine_tuning_has_the_task_s_own_scores_over_seeds_and_takes_what_glue_has_made() {
    let out = tempfile::tempdir().unwrap();
    let common = ["--steps", "20", "--epochs", "1", "--out", text(out.path())];
    let of_glue = ["glue", "--tasks", "MRPC", "--methods", "blockllm:0.95"];
    succeed(of_glue.into_iter().chain(common));
    let words = "ablations --on fine-tuning --ablations norm --seeds 2";
    let first = succeed(words.split(' ').chain(common));
    assert_eq!(
        first.stderr.matches("complete, not run again").count(),
        1,
        "`glue` has made seed 0 of blockllm:0.95: {}",
        first.stderr
    );
    let again = succeed(words.split(' ').chain(common));
    assert_eq!(
        again.stderr.matches("complete, not run again").count(),
        6,
        "{}",
        again.stderr
    );
    let report = report_in(out.path(), "ablations");
    let markdown = fs::read_to_string(report.join("report.md")).unwrap();
    for part in [
        "## Fine-tuning on MRPC",
        "norm: Which norm should rank blocks? (generated stand-in, not GLUE)",
        "| F1 ↑ |",
        "the higher the better",
    ] {
        let squeezed = markdown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(part), "{part}\n{markdown}");
    }
    for (method, run) in [
        ("blockllm:0.95", "blockllm-0.95"),
        ("blockllm:0.95+norm=grad", "blockllm-0.95-norm-grad"),
    ] {
        let seeds = [0, 1].map(|seed| evaluation(out.path(), &format!("{run}-{seed}")));
        let over_seeds = |name: &str| seeds.each_ref().map(|seed| 100.0 * seed.metrics[name]);
        let row = cells(&markdown, method);
        assert_eq!(
            row[3..6],
            [
                "2",
                &of_two(over_seeds("F1"), 2),
                &of_two(over_seeds("accuracy"), 2)
            ]
        );
        assert_eq!(row[6], of_two(seeds.each_ref().map(|seed| seed.loss), 4));
        assert!(row[7].contains(" ± "), "the training loss: {row:?}");
    }
    for file in ["MRPC-norm.svg", "MRPC-norm-score.svg"] {
        let svg = fs::read_to_string(report.join(file)).unwrap();
        assert!(svg.contains("generated stand-in"), "{file}");
    }
}

#[test]
fn both_stages_are_planned_in_one_call_each_in_its_own_folder() {
    let out = tempfile::tempdir().unwrap();
    let words = "ablations --on pretraining,fine-tuning --ablations norm --dry-run --out";
    let plan = succeed(words.split(' ').chain([text(out.path())])).stdout;
    for folder in ["c4/blockllm-0.9", "glue/MRPC/blockllm-0.95"] {
        let in_folder = format!("to be trained in {}", out.path().join(folder).display());
        assert_eq!(plan.matches(&in_folder).count(), 3, "{plan}");
    }
    for stage in ["pretraining", "fine-tuning"] {
        let told = format!("{stage} runs  1 question, 3 runs, about ");
        assert!(plan.contains(&told), "{plan}");
    }
    assert!(plan.contains("512 tokens: 4 rows of 128"), "{plan}");
}

#[test]
fn a_question_that_is_none_and_methods_of_one_s_own_are_refused() {
    refuse(
        &["ablations", "--ablations", "colour"],
        &["`colour`", "sparsity, patience"],
    );
    refuse(
        &["ablations", "--methods", "adamw"],
        &["--methods", "each question has its own"],
    );
    refuse(
        &["ablations", "--tasks", "MRPC"],
        &["--tasks", "--on fine-tuning"],
    );
    refuse(
        &["ablations", "--on", "fine-tuning", "--ablations", "rule"],
        &["`rule` is not asked in fine-tuning"],
    );
    refuse(&["glue", "--on", "fine-tuning"], &["--on", "`ablations --on`"]);
    refuse(
        &["c4", "--ablations", "norm"],
        &["--ablations", "another experiment"],
    );
}
