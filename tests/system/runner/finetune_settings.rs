//! `finetune` with settings that others of its tests leave alone: half precision, courses, accumulation, every method.
use super::fixtures::llama2c_folder;
use super::folders::{report_in, run_in};
use super::process::{Ended, succeed, text};
use blockllm::train::Methods;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct")
}

/// Calls `command` on the fixture's model and data.
fn on_fixture(command: &[&str], out: &Path, more: &str) -> Ended {
    let data = fixture().join("examples.jsonl");
    let files = ["--data", text(&data), "--out", text(out), "--device", "flex"];
    let words = more.split(' ');
    succeed(command.iter().copied().chain(files).chain(words))
}

#[test]
fn half_precision_a_linear_course_and_micro_batches_make_a_model_that_answers() {
    let (model, out) = (fixture(), tempfile::tempdir().unwrap());
    let command = ["finetune", "--model", text(&model)];
    let settings = "--weights bf16 --schedule linear --batch 4 --grad-accum-steps 2 --max-length 64 --steps 3 --method adamw@1e-3";
    on_fixture(&command, out.path(), settings);
    let run = run_in(&out.path().join("instruct"), "adamw-1e-3-0");
    let config = fs::read_to_string(run.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let found = config.to_string();
    for part in ["\"bf16\"", "\"linear\"", "\"grad_accum_steps\":2"] {
        assert!(found.contains(part), "`{part}` is not in {found}");
    }
    let saved = run.join("model");
    let weights = fs::read(saved.join("model.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&weights[8..200]);
    assert!(header.contains("BF16"), "{header}");
    let words = [
        "generate",
        "--device",
        "flex",
        "--chat",
        "--greedy",
        "--prompt",
        "What is 3 + 4?",
    ];
    succeed(words.into_iter().chain(["--model", text(&saved)]));
}

#[test]
fn a_model_is_tuned_by_every_method() {
    let (model, out) = (fixture(), tempfile::tempdir().unwrap());
    let methods = Methods::built_in().examples();
    let joined = methods.join(",");
    let command = ["instruct", "--model-dir", text(&model), "--methods", &joined];
    on_fixture(&command, out.path(), "--max-length 64 --steps 2");
    let report = fs::read_to_string(report_in(out.path(), "instruct").join("report.md")).unwrap();
    for method in &methods {
        let row = report
            .lines()
            .find(|line| line.starts_with(&format!("| {method} ")))
            .unwrap_or_else(|| panic!("{method} is not in {report}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [after, before]: [f64; 2] = [4, 5].map(|place| cells[place].parse().unwrap());
        assert!(after < before, "{row}");
        assert!(cells[12].contains(':'), "no time of training: {row}");
    }
    assert!(report.contains("| training time |"), "{report}");
}

#[test]
fn the_experiment_tunes_a_folder_of_llama2c() {
    let (model, out) = (llama2c_folder(), tempfile::tempdir().unwrap());
    let command = ["instruct", "--model-dir", text(model.path())];
    on_fixture(&command, out.path(), "--methods blockllm:0.9 --steps 3");
    let report = fs::read_to_string(report_in(out.path(), "instruct").join("report.md")).unwrap();
    let mut lines = report.lines();
    let row = lines.find(|line| line.starts_with("| blockllm:0.9 ")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [after, before]: [f64; 2] = [4, 5].map(|place| cells[place].parse().unwrap());
    assert!(after < before, "{row}");
}

#[test]
fn fewer_validation_rows_are_evaluated_where_they_are_asked_for() {
    let (model, out) = (fixture(), tempfile::tempdir().unwrap());
    let command = ["finetune", "--model", text(&model)];
    let shown =
        |more: &str| on_fixture(&command, out.path(), &format!("--dry-run --rows padded {more}")).stdout;
    let answers = |shown: &str| -> usize {
        let line = shown
            .lines()
            .find(|line| line.starts_with("validation "))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (all, one) = (
        shown("--max-length 64"),
        shown("--max-length 64 --validation-rows 1"),
    );
    assert!(
        one.contains("in at most 1 rows, evenly spaced") && !all.contains("evenly spaced"),
        "{one}{all}"
    );
    assert!(0 < answers(&one) && answers(&one) < answers(&all), "{one}{all}");
}
