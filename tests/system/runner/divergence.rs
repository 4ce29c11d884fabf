//! A run that explodes ends with an error that names the step, and keeps what it has told.
use super::fixtures::c4_folder;
use super::folders::{reports_in, run_in};
use super::process::{refuse, text};
use blockllm::train::{Record, RunFolder};

#[test]
fn a_run_with_an_absurd_learning_rate_names_the_step_keeps_its_records_and_has_no_result() {
    let data = c4_folder();
    let out = data.path().join("out");
    let mut arguments = vec!["c4", "--steps", "8", "--methods", "adamw@1e30"];
    arguments.extend(["--data", text(data.path()), "--out", text(&out)]);
    let ended = refuse(
        &arguments,
        &[
            "method `adamw@1e30`, seed 0",
            "diverged",
            "lower the learning rate",
        ],
    );

    let folder = run_in(&out.join("c4"), "adamw-1e30-0");
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "the last line is whole: {text}");
    let records = RunFolder::new(&folder).records().unwrap();
    let steps = records
        .iter()
        .filter(|record| matches!(record, Record::Step(_)))
        .count();
    assert!(steps > 0, "the first step's loss is still a number: {records:?}");
    let failed = format!("at step {}", steps + 1);
    assert!(
        ended.stderr.contains(&failed),
        "`{failed}` is not in: {}",
        ended.stderr
    );
    assert!(
        matches!(records[0], Record::Evaluation(_)),
        "the untrained model was evaluated first"
    );
    for (name, expected) in [
        ("config.json", true),
        ("manifest.json", true),
        ("result.json", false),
    ] {
        assert_eq!(folder.join(name).exists(), expected, "{name}");
    }
    assert!(reports_in(&out, "c4").is_empty());
}
