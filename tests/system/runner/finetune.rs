//! `finetune` and the experiment `instruct`: a model that is saved, loaded and tuned further; what is wrong is told by name.
use super::fixtures::llama2c_folder;
use super::folders::{report_in, run_in};
use super::process::{refuse, succeed, text};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Sums as conversations, and how a person would begin: no model, a few steps.
fn sums() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sums.jsonl");
    let lines = (0..80).map(|i| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "What is {i} + 1?"}}, {{"role": "assistant", "content": "It is {}."}}]}}"#,
            i + 1
        )
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    (folder, path)
}

fn tuned(data: &Path, out: &Path, more: &[&str]) -> super::process::Ended {
    let common = [
        "finetune",
        "--device",
        "flex",
        "--data",
        text(data),
        "--out",
        text(out),
        "--max-length",
        "64",
        "--batch",
        "4",
    ];
    succeed(common.iter().chain(more).copied())
}

/// The validation losses that the report's first table has in the row of `method`: after training, and before.
fn losses(out: &Path, method: &str) -> [f64; 2] {
    let markdown = fs::read_to_string(report_in(out, "instruct").join("report.md")).unwrap();
    let row = markdown
        .lines()
        .find(|line| line.starts_with(&format!("| {method} ")))
        .unwrap_or_else(|| panic!("{method} is not in {markdown}"))
        .split('|')
        .map(str::trim)
        .collect::<Vec<_>>();
    [4, 5].map(|place| row[place].parse().unwrap())
}

#[test]
fn a_model_is_tuned_saved_whole_and_tuned_further_from_its_folder() {
    let ((_folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let first = tuned(&data, out.path(), &["--steps", "12", "--method", "adamw@3e-3"]);
    assert!(
        first.stdout.contains("cargo xtask chat --model"),
        "{}",
        first.stdout
    );
    assert!(
        first.stderr.contains("a step will need about"),
        "{}",
        first.stderr
    );
    let [after, before] = losses(out.path(), "adamw@3e-3");
    assert!(after < before - 0.5, "{after} {before}");
    let model = run_in(&out.path().join("instruct"), "adamw-3e-3-0").join("model");
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
    ] {
        assert!(model.join(file).is_file(), "{file}");
    }
    for method in ["blockllm:0.9", "lora:2"] {
        let further = tempfile::tempdir().unwrap();
        let words = ["--model", text(&model), "--steps", "3", "--method", method];
        tuned(&data, further.path(), &words);
        let [_, starts_at] = losses(further.path(), method);
        assert!((starts_at - after).abs() < 2e-4, "{method}: {starts_at} {after}");
        let again = tuned(&data, further.path(), &words);
        assert!(
            again.stderr.contains("complete, not run again"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn a_tokenizer_of_llama2c_is_read_and_saved_as_transformers_has_it() {
    let ((_folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let base = llama2c_folder();
    tuned(&data, out.path(), &["--model", text(base.path()), "--steps", "2"]);
    let runs = fs::read_dir(out.path().join("instruct")).unwrap();
    let mut models = runs.map(|run| run.unwrap().path().join("model"));
    let model = models.find(|model| model.is_dir()).unwrap();
    assert!(model.join("tokenizer.json").is_file() && model.join("tokenizer_config.json").is_file());
    let words = |model: &Path| {
        let words = [
            "generate",
            "--device",
            "flex",
            "--prompt",
            "the cat",
            "--max-new-tokens",
            "4",
        ];
        let words = words.map(str::to_owned).into_iter();
        words
            .chain(["--model".to_owned(), text(model).to_owned()])
            .collect::<Vec<_>>()
    };
    for folder in [&model, base.path()] {
        assert!(
            !succeed(words(folder).iter().map(String::as_str))
                .stdout
                .is_empty()
        );
    }
    // Which of two is meant must be said.
    fs::copy(base.path().join("tokenizer.bin"), base.path().join("tok320.bin")).unwrap();
    let words = words(base.path());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refuse(&words, &["tok320.bin, tokenizer.bin", "--tokenizer"]);
}

#[test]
fn a_delta_of_a_run_is_small_and_gives_the_weights_that_were_saved_whole() {
    let ((_folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct");
    let saved = |save: &str, name: &str| {
        let out = out.path().join(save);
        // Another block every third step, whatever the loss does.
        let method = "cyclic:0.95+patience=3@3e-3";
        let words = [
            "--model",
            text(&base),
            "--steps",
            "10",
            "--method",
            method,
            "--save",
            save,
        ];
        let told = tuned(&data, &out, &words).stdout;
        assert!(told.contains(name), "{told}");
        let kept = if save == "delta" {
            "model.delta.safetensors\n"
        } else {
            "/model\n"
        };
        assert!(told.contains(kept), "{told}");
        run_in(&out.join("instruct"), "cyclic-0.95-patience-3-3e-3-0").join(save)
    };
    let (whole, delta) = (
        saved("model", "cargo xtask chat"),
        saved("delta", "cargo xtask delta apply"),
    );
    let delta = delta.join("model.delta.safetensors");
    let again = out.path().join("again");
    succeed(["delta", "apply", text(&base), text(&delta), "--out", text(&again)]);
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&again) == weights(&whole), "other bits");
    assert!(weights(&base) != weights(&whole), "nothing was trained");
    let result = fs::read_to_string(delta.ancestors().nth(2).unwrap().join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    let selections = result["selections"].as_u64().unwrap();
    assert!(selections > 2, "{selections} selections");
    let (before, after) = (weights(&base), weights(&whole));
    let [before, after] =
        [&before, &after].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    let (mut changed, mut entries) = (0, 0);
    for (name, tensor) in before.iter() {
        let pairs = tensor
            .data()
            .chunks(4)
            .zip(after.tensor(name).unwrap().data().chunks(4));
        changed += pairs.filter(|(old, new)| old != new).count() as u64;
        entries += tensor.data().len() as u64 / 4;
    }
    assert!(changed > 0 && changed * 2 < entries, "{changed} of {entries}");
    // A scattered entry takes 5.06 bytes in f32; the rest is the header, and the files that lie beside the weights.
    let [bytes, all] =
        [&delta, &whole.join("model.safetensors")].map(|file| fs::metadata(file).unwrap().len());
    assert!(bytes * 2 < all, "{bytes} of {all} bytes");
    assert!(
        bytes < 6 * changed + (8 << 10),
        "{bytes} bytes for {changed} entries"
    );
    let message = [
        "finetune",
        "--device",
        "flex",
        "--save",
        "delta",
        "--data",
        text(&data),
    ];
    refuse(&message, &["--save delta", "has no base"]);
}

#[test]
fn adapters_are_kept_alone_and_answer_as_the_merged_model_does() {
    let ((_folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instruct");
    let method = ["--method", "lora:4@2e-2", "--steps", "20"];
    let saved = |save: &str| {
        let out = out.path().join(save);
        let words = [&["--model", text(&base), "--save", save][..], &method].concat();
        let told = tuned(&data, &out, &words).stdout;
        assert!(told.contains("cargo xtask chat"), "{told}");
        run_in(&out.join("instruct"), "lora-4-2e-2-0").join(save)
    };
    let (merged, adapter) = (saved("model"), saved("adapter"));
    let config = fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    assert!(
        config.contains("\"CAUSAL_LM\"") && config.contains(text(&base)),
        "{config}"
    );
    let answer = |words: &[&str]| {
        let asked = [
            "generate",
            "--device",
            "flex",
            "--greedy",
            "--max-new-tokens",
            "24",
            "--prompt",
            "a",
        ];
        succeed([&asked[..], words].concat()).stdout
    };
    let of_merged = answer(&["--model", text(&merged)]);
    assert_eq!(
        answer(&["--model", text(&base), "--adapter", text(&adapter)]),
        of_merged
    );
    assert_ne!(answer(&["--model", text(&base)]), of_merged, "it was trained");

    let other = [
        "finetune",
        "--device",
        "flex",
        "--max-length",
        "64",
        "--save",
        "adapter",
        "--data",
        text(&data),
    ];
    let with_base = [&other[..], &["--model", text(&base)]].concat();
    refuse(
        &with_base,
        &["--save adapter", "`blockllm-sgd:0.95` makes no LoRA adapters"],
    );
    refuse(
        &[&with_base[..], &["--method", "lora:4+always=model.norm"]].concat(),
        &["--save adapter", "trains more than adapters (model.norm)"],
    );
    refuse(
        &[&other[..], &["--method", "lora:4"]].concat(),
        &["--save adapter", "has no base"],
    );
}

#[test]
fn a_dry_run_tells_the_memory_and_trains_nothing() {
    let ((_folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let shown = tuned(&data, out.path(), &["--dry-run", "--epochs", "2"]);
    let all = format!("{}{}", shown.stdout, shown.stderr);
    let little = tuned(&data, out.path(), &["--dry-run", "--memory", "1MB"]);
    assert!(
        little.stderr.contains("there are only 1.0 MB"),
        "{}",
        little.stderr
    );
    for part in ["a step will need about", "to be trained in", "alpaca (built in)"] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn the_experiment_sets_methods_beside_each_other_with_answers_and_the_published_figures() {
    let ((folder, _data), out) = (sums(), tempfile::tempdir().unwrap());
    let words = [
        "instruct",
        "--data",
        text(folder.path()),
        "--out",
        text(out.path()),
        "--steps",
        "4",
        "--methods",
        "adamw,blockllm:0.9",
    ];
    succeed(words);
    let report = report_in(out.path(), "instruct");
    let markdown = fs::read_to_string(report.join("report.md")).unwrap();
    for part in [
        "| adamw ",
        "| blockllm:0.9 ",
        "answered with the likeliest token",
        "Quoted, not measured here",
        "0.838",
        "at or above LoRA's",
    ] {
        assert!(markdown.contains(part), "{part}\n{markdown}");
    }
    for file in ["loss.svg", "validation.svg", "memory.svg"] {
        assert!(report.join(file).is_file(), "{file}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_name_and_what_to_do() {
    let ((folder, data), out) = (sums(), tempfile::tempdir().unwrap());
    let broken = folder.path().join("broken.jsonl");
    fs::write(&broken, "{\"instruction\": \"x\"\n").unwrap();
    let unknown = folder.path().join("unknown.jsonl");
    fs::write(&unknown, "{\"question\": \"x\"}\n").unwrap();
    let template = folder.path().join("template.jinja");
    fs::write(&template, "{% if %}").unwrap();
    for (words, parts) in [
        (
            vec!["--model", "/no/such/model"],
            vec!["/no/such/model", "Hugging Face folder"],
        ),
        (
            vec!["--model", "nobody/nothing"],
            vec!["nobody/nothing", "no such folder", "HF_HUB_OFFLINE"],
        ),
        (vec!["--model", text(folder.path())], vec!["config.json"]),
        (
            vec!["--data", text(folder.path())],
            vec!["It is a folder", "broken.jsonl"],
        ),
        (
            vec!["--data", text(&data), text(&data)],
            vec!["`--data` is ", "every file once"],
        ),
        (vec!["--data", text(&broken)], vec!["broken.jsonl", "line 1"]),
        (vec!["--data", text(&unknown)], vec!["unknown.jsonl", "line 1"]),
        (
            vec!["--data", text(&data), "--chat-template", text(&template)],
            vec!["template.jinja"],
        ),
        (
            vec!["--data", text(&data), "--batch", "4", "--grad-accum-steps", "3"],
            vec!["use one of 1, 2, 4"],
        ),
        (
            vec!["--data", text(&data), "--max-length", "100000000"],
            vec!["--max-length", "use at most"],
        ),
    ] {
        let common = ["finetune", "--device", "flex", "--out", text(out.path())];
        refuse(&[&common[..], &words[..]].concat(), &parts);
    }
}
