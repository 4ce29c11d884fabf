//! The GLUE experiment as a user meets it: the stand-in without data, a Llama, an interruption, tokenizers that do not fit.
use super::folders::{report_in, run_in, runs_in};
use super::process::{refuse, succeed, text};
use crate::training::examples_of_kinds;
use blockllm_train::{Record, RunFolder, RunResult};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Chosen for time, where runs have whole epochs: `BlockLLM`, and what it is compared with in fine-tuning.
const METHODS: [&str; 6] = [
    "adamw",
    "lora:2",
    "galore:4",
    "badam:1",
    "lisa:2",
    "blockllm:0.95",
];

pub(super) fn result(folder: &Path) -> RunResult {
    let path = folder.join("result.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn run_folder(out: &Path, task: &str, method: &str) -> PathBuf {
    let name = format!("{}-0", method.replace([':', '@'], "-"));
    run_in(&out.join("glue").join(task), &name)
}

#[test]
fn without_data_the_stand_in_is_trained_and_labelled_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let methods = METHODS.join(",");
    let ended = succeed([
        "glue",
        "--out",
        text(&out),
        "--methods",
        &methods,
        "--predict-test",
        "--save-model",
    ]);
    assert!(ended.stderr.contains("GENERATED stand-in"), "{}", ended.stderr);
    let report = fs::read_to_string(report_in(&out, "glue").join("report.md")).unwrap();
    assert!(report.starts_with("# Fine-tuning on a generated stand-in (not GLUE)"));
    let measured = report.split("Quoted, not measured here").next().unwrap();
    for caption in [
        "Measured here",
        "The same at the best epoch",
        "Beside full fine-tuning",
        "All metrics and costs",
        "Peak memory and its parts",
    ] {
        let line = measured.lines().find(|line| line.starts_with(caption)).unwrap();
        assert!(line.contains("generated stand-in, not GLUE"), "{line}");
    }
    assert!(
        ended
            .stdout
            .starts_with("Measured here (generated stand-in, not GLUE)"),
        "{}",
        ended.stdout
    );
    let plots: Vec<_> = fs::read_dir(report_in(&out, "glue"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "svg"))
        .collect();
    assert!(plots.len() > 4, "{plots:?}");
    for plot in plots {
        let svg = fs::read_to_string(&plot).unwrap();
        assert!(svg.contains("generated stand-in"), "{}", plot.display());
    }
    let verdict = measured.lines().find(|line| {
        line.starts_with("On average over MRPC, STS-B and one seed (generated stand-in, not GLUE)")
    });
    assert!(verdict.unwrap().contains("blockllm:0.95 ("), "{report}");
    assert!(
        report.contains("| MRPC  |       all 768 |         all 192 |"),
        "{report}"
    );
    for (task, name) in [("MRPC", "accuracy"), ("STS-B", "Pearson")] {
        for method in METHODS {
            let folder = run_folder(&out, task, method);
            let result = result(&folder);
            let (before, after) = (&result.untrained.evaluation, &result.last.evaluation);
            assert!(after.loss < before.loss, "{task} {method}: {before:?} {after:?}");
            assert!(result.memory.optimizer_state_bytes.measured > 0);
            let memory = result.memory;
            let parts = memory.weights_bytes
                + memory.gradients_bytes
                + memory.optimizer_state_bytes.measured
                + memory.activations_bytes;
            assert_eq!(parts, memory.peak_bytes, "{task} {method}");
            assert!(folder.join(format!("submission/{task}.tsv")).is_file());
            assert!(folder.join("model/tokenizer.json").is_file());
        }
        let full = result(&run_folder(&out, task, "adamw"));
        assert!(full.last.evaluation.metrics[name] > 0.9, "{task}: {full:?}");
    }
    let blocks = result(&run_folder(&out, "MRPC", "blockllm:0.95"));
    assert!(
        blocks.trained_share < 0.0501,
        "the head is inside the budget: {}",
        blocks.trained_share
    );
}

#[test]
fn a_llama_folder_is_fine_tuned_by_every_kind_of_method_saved_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let (pretrained, out, again) = (
        dir.path().join("pretrained"),
        dir.path().join("out"),
        dir.path().join("again"),
    );
    let words = "c4 --steps 1 --methods adamw --save-model --out";
    succeed(words.split(' ').chain([text(&pretrained)]));
    let model = run_in(&pretrained.join("c4"), "adamw-0").join("model");
    let fine_tune = |model: &Path, methods: &str, out: &Path| {
        let words = "glue --tasks STS-B --steps 2 --save-model --model-dir";
        succeed(
            words
                .split(' ')
                .chain([text(model), "--methods", methods, "--out", text(out)]),
        )
    };
    let methods = examples_of_kinds();
    let ended = fine_tune(&model, &methods.join(","), &out);
    assert!(
        ended.stderr.contains("drawn afresh and always trained: score"),
        "{}",
        ended.stderr
    );
    for method in &methods {
        let result = result(&run_folder(&out, "STS-B", method));
        assert!(
            result.last.evaluation.loss < result.untrained.evaluation.loss,
            "{method}: {result:?}"
        );
    }
    let saved = run_folder(&out, "STS-B", "blockllm:0.8").join("model");
    let ended = fine_tune(&saved, "adamw", &again);
    assert!(!ended.stderr.contains("drawn afresh"), "{}", ended.stderr);
    let (before, after) = (
        result(&run_folder(&out, "STS-B", "blockllm:0.8")).last.evaluation,
        result(&run_folder(&again, "STS-B", "adamw")).untrained.evaluation,
    );
    assert_eq!((before.loss, before.metrics), (after.loss, after.metrics));
}

#[test]
fn a_killed_run_goes_on_with_the_same_dropout() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = |out: &'static str| {
        let out = text(&dir.path().join(out)).to_owned();
        let fixed = "glue --tasks MRPC --methods blockllm:0.9 --checkpoint-every 20 --resume --out";
        let mut arguments: Vec<String> = fixed.split(' ').map(String::from).collect();
        arguments.push(out);
        arguments
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_runner-under-test"))
        .args(arguments("killed"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let parent = dir.path().join("killed/glue/MRPC");
    let has_saved = || {
        let folders = runs_in(&parent, "blockllm-0.9-0");
        folders.iter().any(|run| run.join("checkpoints/step-20").exists())
    };
    while !has_saved() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !run_in(&parent, "blockllm-0.9-0").join("result.json").exists(),
        "it was killed before its end"
    );
    for out in ["killed", "whole"] {
        succeed(arguments(out).iter().map(String::as_str));
    }
    let losses = |out: &str| -> Vec<u64> {
        let folder = run_folder(&dir.path().join(out), "MRPC", "blockllm:0.9");
        let records = RunFolder::new(folder).records().unwrap();
        let losses = records.iter().filter_map(|record| match record {
            Record::Step(step) => Some(step.loss.to_bits()),
            _ => None,
        });
        losses.collect()
    };
    assert_eq!(losses("killed"), losses("whole"));
}

#[test]
fn a_tokenizer_of_another_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // A checkpoint whose padding is another token than its tokenizer's.
    succeed([
        "glue",
        "--tasks",
        "MRPC",
        "--methods",
        "adamw",
        "--steps",
        "1",
        "--save-model",
        "--out",
        text(&out),
    ]);
    let model = run_folder(&out, "MRPC", "adamw").join("model");
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&config).unwrap();
    let vocabulary = json["vocab_size"].as_u64().unwrap();
    let arguments = [
        "glue",
        "--tasks",
        "MRPC",
        "--out",
        text(&out),
        "--model-dir",
        text(&model),
    ];
    json["pad_token_id"] = 3.into();
    fs::write(model.join("config.json"), json.to_string()).unwrap();
    refuse(&arguments, &["pads with token 0", "`pad_token_id` 3"]);
    json["pad_token_id"] = 0.into();
    json["vocab_size"] = (vocabulary - 1).into();
    fs::write(model.join("config.json"), json.to_string()).unwrap();
    refuse(
        &arguments,
        &[
            "tokenizer.json",
            &vocabulary.to_string(),
            &(vocabulary - 1).to_string(),
        ],
    );
}
