//! The GLUE experiment on files of one's own: their order, MNLI with its second validation set and the diagnostic set,
//! rows that are cut, what diverges, and refusals.
use super::folders::{report_in, runs_in};
use super::glue::{result, run_folder};
use super::process::{refuse, succeed, text};
use blockllm_train::{Record, RunFolder};
use std::fs;
use std::path::Path;

fn mrpc(dir: &Path, rows: &str) {
    let header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";
    fs::create_dir_all(dir.join("MRPC")).unwrap();
    for file in ["train.tsv", "dev.tsv"] {
        fs::write(dir.join("MRPC").join(file), format!("{header}{rows}")).unwrap();
    }
}

#[test]
fn rows_that_keep_their_order_are_trained_on_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // Eight batches of one label, then eight of the other, which shuffling would mix; as many so that the means of their
    // losses stand out from the noise of dropout.
    let rows = |label: usize| format!("{label}\t1\t2\tA b\tC d\n").repeat(8 * 16);
    mrpc(&data, &(rows(0) + &rows(1)));
    let first_losses = |more: &[&str]| -> Vec<f64> {
        let out = dir.path().join(format!("out{}", more.len()));
        let words = "glue --methods adamw@1e-9 --epochs 1 --data";
        let words = words.split(' ').chain([text(&data), "--out", text(&out)]);
        succeed(words.chain(more.iter().copied()));
        let records = RunFolder::new(run_folder(&out, "MRPC", "adamw@1e-9"))
            .records()
            .unwrap();
        let losses = records.iter().filter_map(|record| match record {
            Record::Step(step) => Some(step.loss),
            _ => None,
        });
        losses.collect()
    };
    let apart = |losses: &[f64]| {
        let (first, second) = losses.split_at(losses.len() / 2);
        (first.iter().sum::<f64>() - second.iter().sum::<f64>()).abs() / first.len() as f64
    };
    let (kept, shuffled) = (first_losses(&["--order", "file"]), first_losses(&[]));
    assert!(apart(&kept) > 4.0 * apart(&shuffled), "{kept:?} {shuffled:?}");
}

#[test]
fn random_weights_before_real_rows_are_told_and_before_the_stand_in_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    mrpc(&data, &"1\t1\t2\tA b\tC d\n0\t1\t2\tA e\tC f\n".repeat(40));
    for words in ["glue", "ablations --on fine-tuning"] {
        let told = |given: &[&str]| {
            let out = ["--dry-run", "--out", text(dir.path())];
            let ended = succeed(words.split(' ').chain(out).chain(given.iter().copied()));
            ended.stderr.contains("guess the more frequent class")
        };
        assert!(told(&["--data", text(&data)]), "{words}");
        assert!(!told(&[]), "{words}");
    }
}

/// MNLI's five files and the diagnostic set.
fn mnli(dir: &Path) {
    let labels = ["entailment", "neutral", "contradiction"];
    let rows = |count: usize, is_labelled: bool| -> String {
        let header = if is_labelled { "\tgold_label" } else { "" };
        let row = |row: usize| {
            let label = if is_labelled {
                format!("\t{}", labels[row % 3])
            } else {
                String::new()
            };
            format!("{row}\tA b c{}\tD{label}\n", " e".repeat(row % 4))
        };
        format!(
            "index\tsentence1\tsentence2{header}\n{}",
            (0..count).map(row).collect::<String>()
        )
    };
    for (file, count, is_labelled) in [
        ("MNLI/train.tsv", 32, true),
        ("MNLI/dev_matched.tsv", 9, true),
        ("MNLI/dev_mismatched.tsv", 6, true),
        ("MNLI/test_matched.tsv", 5, false),
        ("MNLI/test_mismatched.tsv", 4, false),
        ("diagnostic/diagnostic.tsv", 3, false),
    ] {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, rows(count, is_labelled)).unwrap();
    }
}

#[test]
fn mnli_is_judged_on_both_sets_and_its_model_predicts_the_diagnostic_set_too() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    mnli(&data);
    let words = "glue --tasks MNLI --methods adamw --steps 3";
    let given = ["--data", text(&data), "--out", text(&out)];
    let arguments: Vec<&str> = words.split(' ').chain(given).collect();
    succeed(arguments.iter().copied());
    // The weights were kept: predictions can be had from the complete run later.
    let ended = succeed(arguments.iter().copied().chain(["--predict-test"]));
    assert!(
        ended.stderr.contains("complete; its submission is made"),
        "{}",
        ended.stderr
    );
    let folder = run_folder(&out, "MNLI", "adamw");
    let metrics = result(&folder).last.evaluation.metrics;
    assert!(
        metrics.contains_key("accuracy") && metrics.contains_key("accuracy (mismatched)"),
        "{metrics:?}"
    );
    for (file, rows) in [("MNLI-m", 5), ("MNLI-mm", 4), ("AX", 3)] {
        let text = fs::read_to_string(folder.join(format!("submission/{file}.tsv"))).unwrap();
        assert_eq!(text.lines().count(), rows + 1, "{file}: {text}");
    }
    fs::write(data.join("diagnostic/diagnostic.tsv"), "index\tsentence1\n0\tA\n").unwrap();
    fs::remove_dir_all(folder.join("submission")).unwrap();
    refuse(
        &[&arguments[..], &["--predict-test"]].concat(),
        &["diagnostic.tsv, line 1", "`sentence2`"],
    );
}

#[test]
fn a_report_says_which_rows_and_steps_it_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    mrpc(&data, &"1\t1\t2\tA b\tC d\n0\t1\t2\tA e\tC f\n".repeat(400));
    let words = "glue --methods adamw --steps 3 --grad-accum-steps 4";
    succeed(
        words
            .split(' ')
            .chain(["--data", text(&data), "--out", text(&out)]),
    );
    let report = fs::read_to_string(report_in(&out, "glue").join("report.md")).unwrap();
    for expected in [
        "at most 3 steps of 8 epochs; batches of 16 in 4 micro-batches",
        "on THE FIRST PART of the validation rows",
        "| MRPC | the first 768 of 800 | the first 192 of 800 |",
    ] {
        assert!(report.contains(expected), "`{expected}` is not in: {report}");
    }
    assert_eq!(result(&run_folder(&out, "MRPC", "adamw")).last.step, 3);
}

#[test]
fn a_run_that_diverges_does_not_take_the_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let words = "glue --tasks MRPC --steps 3 --methods adamw,adamw@1e30 --out";
    let arguments: Vec<&str> = words.split(' ').chain([text(&out)]).collect();
    let ended = refuse(
        &arguments,
        &["1 of the runs diverged", "method `adamw@1e30`, seed 0"],
    );
    assert!(ended.stdout.contains("| adamw "), "{}", ended.stdout);
    let report = fs::read_to_string(report_in(&out, "glue").join("report.md")).unwrap();
    assert!(
        report.contains("Diverged, so missing in all tables: MRPC, method `adamw@1e30`"),
        "{report}"
    );
}

#[test]
fn another_checkpoint_in_a_folder_of_the_same_name_is_another_run() {
    let dir = tempfile::tempdir().unwrap();
    let (first, out) = (dir.path().join("first"), dir.path().join("out"));
    let words = "glue --tasks MRPC --methods adamw --steps 1";
    let run = |more: &[&str]| {
        words
            .split(' ')
            .chain(more.iter().copied())
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let call = |more: &[&str]| succeed(run(more).iter().map(String::as_str));
    call(&["--save-model", "--out", text(&first)]);
    let model = run_folder(&first, "MRPC", "adamw").join("model");
    let from_model = ["--resume", "--model-dir", text(&model), "--out", text(&out)];
    call(&from_model);
    assert!(call(&from_model).stderr.contains("complete, not run again"));
    call(&["--save-model", "--methods", "adamw@1e-2", "--out", text(&first)]);
    let other = run_folder(&first, "MRPC", "adamw@1e-2").join("model/model.safetensors");
    fs::copy(other, model.join("model.safetensors")).unwrap();
    call(&from_model);
    assert_eq!(
        runs_in(&out.join("glue/MRPC"), "adamw-0").len(),
        2,
        "each has a folder of its own"
    );
}

#[test]
fn bad_glue_input_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = dir.path().join("out");
    let arguments = ["glue", "--data", text(&data), "--out", text(&out)];
    mrpc(&data, "1\t1\t2\tA b\tC d\n2\t1\t2\tA b\tC d\n");
    refuse(&arguments, &["train.tsv", "line 3", "labels 0, 1", "`2`"]);
    mrpc(&data, "");
    refuse(&arguments, &["train.tsv", "no row"]);
    fs::write(data.join("MRPC/train.tsv"), "Quality\t#1 String\n1\tA\n").unwrap();
    refuse(&arguments, &["train.tsv, line 1", "`#2 String`"]);
    refuse(
        &[&arguments[..], &["--tasks", "MRCP"]].concat(),
        &["no task `MRCP`", "MRPC"],
    );
    mrpc(&data, "1\t1\t2\tA b\tC d\n");
    refuse(
        &[&arguments[..], &["--scale", "paper"]].concat(),
        &["RoBERTa-base", "--model-dir"],
    );
    let model = dir.path().join("model");
    fs::create_dir_all(&model).unwrap();
    fs::write(
        model.join("config.json"),
        "{\"model_type\": \"t5\", \"architectures\": [\"T5Model\"]}",
    )
    .unwrap();
    refuse(
        &[&arguments[..], &["--model-dir", text(&model)]].concat(),
        &["config.json", "t5"],
    );
    let file = dir.path().join("m.gguf");
    fs::write(&file, "GGUF").unwrap();
    refuse(
        &[&arguments[..], &["--model-dir", text(&file)]].concat(),
        &["m.gguf", "Hugging Face folder"],
    );
    for (more, parts) in [
        (["--methods", "adamw,adamw"], ["`adamw` twice", "seeds"]),
        (["--tasks", "MRPC,mrpc"], ["MRPC twice", "--tasks"]),
        (["--tasks", "AX"], ["--tasks MNLI --predict-test", "diagnostic"]),
        (["--grad-accum-steps", "3"], ["16 rows", "1, 2, 4, 8 or 16"]),
    ] {
        refuse(&[&arguments[..], &more].concat(), &parts);
    }
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir_all(&data).unwrap();
    refuse(&arguments, &["no task of GLUE in", text(&data)]);
}

/// Rotates the classes of a saved head: in its names, and in the rows of its weights.
fn rotate_classes(model: &Path) {
    let path = model.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let names = config["id2label"].as_object().unwrap().clone();
    let count = names.len();
    for id in 0..count {
        let name = names[&((id + 1) % count).to_string()].as_str().unwrap();
        config["id2label"][id.to_string()] = name.to_uppercase().into();
    }
    config.as_object_mut().unwrap().remove("label2id");
    fs::write(&path, config.to_string()).unwrap();
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let mut data = view.data().to_vec();
        if name.starts_with("classifier.") {
            data.rotate_left(view.data().len() / count);
        }
        (name.to_owned(), view.dtype(), view.shape().to_vec(), data)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_head_whose_classes_stand_in_another_order_is_put_into_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let (data, first, second) = (
        dir.path().join("data"),
        dir.path().join("first"),
        dir.path().join("second"),
    );
    mnli(&data);
    let run = |words: &str, out: &Path| {
        let given = ["--data", text(&data), "--out", text(out)];
        succeed(words.split(' ').chain(given))
    };
    run(
        "glue --tasks MNLI --methods adamw@1e-2 --steps 4 --save-model",
        &first,
    );
    let trained = run_folder(&first, "MNLI", "adamw@1e-2");
    let model = trained.join("model");
    for file in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        assert!(model.join(file).is_file(), "{file}");
    }
    rotate_classes(&model);
    let words = format!(
        "glue --tasks MNLI --methods adamw --steps 1 --model-dir {}",
        text(&model)
    );
    let ended = run(&words, &second);
    assert!(
        ended.stderr.contains("its rows are put into this order"),
        "{}",
        ended.stderr
    );
    let expected = result(&trained).last.evaluation;
    let found = result(&run_folder(&second, "MNLI", "adamw")).untrained.evaluation;
    assert_eq!(found.loss.to_bits(), expected.loss.to_bits());
    assert_eq!(
        found.metrics["accuracy"].to_bits(),
        expected.metrics["accuracy"].to_bits()
    );
}
