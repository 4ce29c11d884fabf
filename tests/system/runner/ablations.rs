//! Ablations: each question a table and a picture; what stands in two tables is run once, and taken from `c4`'s runs.
use super::fixtures::c4_folder;
use super::folders::report_in;
use super::process::{refuse, succeed, text};
use std::fs;

#[test]
fn each_question_has_its_table_and_plot_and_no_run_is_made_twice() {
    let (data, out) = (c4_folder(), tempfile::tempdir().unwrap());
    let common = [
        "--steps",
        "2",
        "--data",
        text(data.path()),
        "--out",
        text(out.path()),
    ];
    succeed(
        ["c4", "--methods", "blockllm:0.9", "--patience", "10"]
            .into_iter()
            .chain(common),
    );
    let ended = succeed(
        ["ablations", "--ablations", "norm,probes", "--scale", "quick"]
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
        &["c4", "--ablations", "norm"],
        &["--ablations", "another experiment"],
    );
}
