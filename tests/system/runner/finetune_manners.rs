//! What `finetune` refuses before it computes, what it assumes where nothing is said, and what it says at the end.
use super::folders::runs_in;
use super::process::{Ended, refuse, succeed, text};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A tiny model of 128 positions, and a folder with `count` examples for it.
fn model_and_data(count: usize) -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..count)
        .map(|i| {
            format!(
                r#"{{"prompt": "What is {i} + 1? ", "completion": "It is {}."}}"#,
                i + 1
            )
        })
        .collect();
    fs::write(folder.path().join("sums.jsonl"), lines.join("\n")).unwrap();
    (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct"),
        folder,
    )
}

/// The words of a command line over the data in `folder`, with its output beside them.
fn words(folder: &Path, model: &Path, more: &[&str]) -> Vec<String> {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let mut words = ["finetune", "--device", "flex", "--data"]
        .map(str::to_owned)
        .to_vec();
    words.extend([path("sums.jsonl"), "--model".to_owned(), text(model).to_owned()]);
    for (option, value) in [("--out", path("out")), ("--batch", "4".to_owned())] {
        if !more.contains(&option) {
            words.extend([option.to_owned(), value]);
        }
    }
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words
}

fn tuned(folder: &Path, model: &Path, more: &[&str]) -> Ended {
    succeed(words(folder, model, more).iter().map(String::as_str))
}

fn refused(folder: &Path, model: &Path, more: &[&str], parts: &[&str]) {
    let words = words(folder, model, more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refuse(&words, parts);
}

/// A copy of the model in `folder`.
fn copy(model: &Path, folder: &Path, name: &str) -> PathBuf {
    let copied = folder.join(name);
    fs::create_dir(&copied).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(model.join(file), copied.join(file)).unwrap();
    }
    copied
}

#[test]
fn a_dry_run_refuses_what_the_run_would_refuse() {
    let (model, folder) = model_and_data(20);
    let folder = folder.path();
    let cut = copy(&model, folder, "cut");
    let bytes = fs::read(cut.join("model.safetensors")).unwrap();
    fs::write(cut.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let other = copy(&model, folder, "other");
    let config = fs::read_to_string(other.join("config.json")).unwrap();
    fs::write(
        other.join("config.json"),
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
    )
    .unwrap();
    let adapter = folder.join("adapter");
    fs::create_dir(&adapter).unwrap();
    fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
    refused(
        folder,
        &model,
        &["--dry-run", "--warmup", "2"],
        &["--warmup 2 is no share"],
    );
    for (option, wrong, part) in [
        ("--warmup", "-0.1", "--warmup -0.1 is no share"),
        ("--memory", "-5GB", "`-5GB` is no size of memory"),
    ] {
        refused(folder, &model, &["--dry-run", option, wrong], &[part]);
    }
    refused(folder, &cut, &["--dry-run"], &["model.safetensors", "bytes"]);
    refused(folder, &other, &["--dry-run"], &["no tensor", "model.layers.2."]);
    refused(folder, &adapter, &["--dry-run"], &["LoRA adapters", "--adapter"]);
    let file = text(&folder.join("sums.jsonl")).to_owned();
    refused(folder, &model, &["--out", &file], &["--out", "no folder"]);
    refused(
        folder,
        &model,
        &["--max-length", "129"],
        &["--max-length 129", "128 positions"],
    );
    let shown = tuned(folder, &model, &["--dry-run"]);
    assert!(shown.stderr.contains("rows have 128 tokens"), "{}", shown.stderr);
}

#[test]
fn a_run_that_stops_early_says_so_and_which_model_it_keeps() {
    let (model, folder) = model_and_data(40);
    let more = [
        "--steps",
        "30",
        "--method",
        "adamw@0.5",
        "--stop-after",
        "1",
        "--evaluate-every",
        "1",
    ];
    let told = tuned(folder.path(), &model, &more).stdout;
    assert!(
        told.contains("stopped early, at step ") && told.contains(" of 30"),
        "{told}"
    );
    assert!(told.contains("the model is that of step "), "{told}");
}

#[test]
fn a_complete_run_is_extended_and_its_folder_is_no_model() {
    let (model, folder) = model_and_data(40);
    let folder = folder.path();
    let method = ["--method", "adamw@1e-3", "--steps"];
    let with = |more: &[&str]| tuned(folder, &model, &[&method[..], more].concat()).stderr;
    let nothing_yet = with(&["3", "--extend"]);
    assert!(nothing_yet.contains("has no complete run of"), "{nothing_yet}");
    let extended = with(&["6", "--extend"]);
    assert!(extended.contains("going on after step 3"), "{extended}");
    let run = runs_in(&folder.join("out/instruct"), "adamw-1e-3-0").remove(0);
    refused(folder, &run, &[], &["the folder of a run", "/model"]);
}

#[test]
fn a_report_that_cannot_be_written_is_told_with_the_place_of_what_is_complete() {
    let (model, folder) = model_and_data(40);
    let folder = folder.path();
    // Where the index belongs there is a folder.
    let in_the_way = folder.join("out/index.html");
    fs::create_dir_all(&in_the_way).unwrap();
    let more = ["--method", "adamw@1e-3", "--steps", "2"];
    let parts = ["training is complete", "out/instruct/adamw-1e-3-0", "index.html"];
    refused(folder, &model, &more, &parts);
    fs::remove_dir(&in_the_way).unwrap();
    assert!(tuned(folder, &model, &more).stdout.contains("to talk to it"));
}

#[test]
fn what_would_only_fail_at_the_end_or_be_killed_is_refused_at_the_beginning() {
    let (model, folder) = model_and_data(20);
    let folder = folder.path();
    let odd = copy(&model, folder, "odd");
    let settings = r#"{"do_sample": true, "temperature": -1.0}"#;
    fs::write(odd.join("generation_config.json"), settings).unwrap();
    refused(folder, &odd, &[], &["generation_config.json", "temperature"]);
    let huge = ["--batch", "100000000000"];
    for (more, parts) in [
        (&[][..], ["there are only", "--memory SIZE begins it"]),
        (&["--memory", "64GB"], ["only 64", "--memory SIZE begins it"]),
        (
            &["--grad-accum-steps", "3"],
            ["100000000000 rows", "use one of 1, 2, 4, 5"],
        ),
    ] {
        refused(folder, &model, &[&huge[..], more].concat(), &parts);
    }
    let told = tuned(folder, &model, &["--save", "delta", "--dry-run"]).stderr;
    assert!(told.contains("`blockllm-sgd:0.95` moves all weights"), "{told}");
    let told = tuned(
        folder,
        &model,
        &["--save", "delta", "--dry-run", "--method", "blockllm:0.9"],
    )
    .stderr;
    assert!(!told.contains("moves all weights"), "{told}");
    // What only looks ahead tells it.
    let told = tuned(folder, &model, &[&huge[..], &["--dry-run"]].concat()).stderr;
    assert!(told.contains("there are only"), "{told}");
}
