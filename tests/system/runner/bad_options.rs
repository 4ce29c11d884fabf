//! Options that cannot be: each refused before anything is run, with the option and what may stand there.
use super::fixtures::c4_folder;
use super::process::{refuse, text};
use std::fs;

fn assert_refused(options: &[&str], parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let arguments: Vec<_> = ["c4", "--out", text(&out)]
        .into_iter()
        .chain(options.iter().copied())
        .collect();
    refuse(&arguments, parts);
    assert!(!out.exists(), "nothing was run, so nothing is written");
}

#[test]
fn a_sparsity_of_one_is_refused_with_its_range() {
    let parts = [
        "--methods",
        "blockllm:1.0",
        "the sparsity 1 is outside [0, 1)",
        "such as blockllm:0.95",
    ];
    assert_refused(&["--methods", "adamw,blockllm:1.0"], &parts);
}

#[test]
fn a_negative_or_unreadable_sparsity_is_refused() {
    assert_refused(&["--methods", "blockllm:-0.1"], &["outside [0, 1)"]);
    assert_refused(
        &["--methods", "blockllm:half"],
        &["the sparsity `half` is not a number"],
    );
    assert_refused(&["--methods", "blockllm:NaN"], &["outside [0, 1)"]);
}

#[test]
fn an_unknown_method_is_refused_with_the_names_there_are() {
    let parts = [
        "--methods",
        "no method is called `blockllama`",
        "there are adamw",
        "epsilon-greedy",
    ];
    assert_refused(&["--methods", "blockllama:0.5"], &parts);
}

#[test]
fn an_unknown_flag_is_refused_by_name() {
    assert_refused(&["--sparsity", "0.5"], &["'--sparsity'", "--help"]);
}

#[test]
fn an_unknown_model_device_scale_or_norm_is_refused_with_the_names_there_are() {
    assert_refused(&["--model", "3b"], &["`3b`", "tiny, 60m, 130m"]);
    assert_refused(
        &["--device", "tpu"],
        &["--device", "`device` is tpu", "use auto, flex, wgpu or cuda"],
    );
    assert_refused(&["--scale", "huge"], &["'huge'", "quick, cpu, paper"]);
    assert_refused(&["--norm", "l1"], &["'l1'", "`grad`, `rms`, `processed`"]);
}

#[test]
fn an_unknown_experiment_is_refused_with_the_names_there_are() {
    refuse(&["mnist"], &["'mnist'", "c4"]);
    refuse(
        &["help"],
        &["c4", "finetune", "generate", "chat", "evaluate", "delta", "plan"],
    );
    refuse(&["--steps", "3", "finetune"], &["`finetune`", "write it first"]);
}

#[test]
fn zero_steps_seeds_or_patience_are_refused_by_the_option() {
    for option in ["--steps", "--seeds", "--patience", "--grad-accum-steps"] {
        assert_refused(&[option, "0"], &[option, "0"]);
    }
}

#[test]
fn an_out_folder_that_is_a_file_or_lies_below_one_is_named_with_the_mend() {
    let data = c4_folder();
    let file = data.path().join("occupied");
    fs::write(&file, "a file").unwrap();
    for out in [file.clone(), file.join("below")] {
        let arguments = [
            "c4",
            "--steps",
            "2",
            "--data",
            text(data.path()),
            "--out",
            text(&out),
        ];
        refuse(&arguments, &[text(&out), "no folder"]);
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "a file");
}

#[cfg(target_os = "linux")]
#[test]
fn an_out_folder_that_cannot_be_written_is_named_with_the_mend() {
    // Not even root may make a folder there.
    let (data, out) = (c4_folder(), "/proc/blockllm-out");
    let arguments = ["c4", "--steps", "2", "--data", text(data.path()), "--out", out];
    refuse(&arguments, &[out, "nothing can be written in /proc"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_below_out_that_cannot_be_written_is_named_before_a_run_and_by_a_dry_run() {
    let (data, out) = (c4_folder(), tempfile::tempdir().unwrap());
    let folder = out.path().join("c4");
    std::os::unix::fs::symlink("/proc", &folder).unwrap();
    let words = [
        "c4",
        "--device",
        "flex",
        "--steps",
        "2",
        "--data",
        text(data.path()),
    ];
    let words = [&words[..], &["--out", text(out.path())]].concat();
    for more in [&["--dry-run"][..], &[]] {
        let parts = [text(&folder), "nothing can be written in"];
        refuse(&[&words[..], more].concat(), &parts);
    }
}

#[test]
fn a_value_that_no_model_could_make_right_is_refused_before_the_data_is_read() {
    for (method, told) in [
        (
            "blockllm:0.9+partition=layers",
            "partition=layers: use tensor, module or decoder-layer",
        ),
        ("badam:1+patience=0", "patience=0: use 1 or more"),
        ("galore:8+gap=0", "gap=0: refresh after at least 1 step"),
        ("lora:8+alpha=0", "alpha=0: use a positive number"),
    ] {
        assert_refused(&["--methods", method], &["--methods", method, told]);
    }
}

#[test]
fn options_that_would_be_ignored_are_refused_with_what_to_use() {
    assert_refused(
        &["--model-dir", "MyLlama"],
        &["--model-dir", "random weights", "glue --model-dir"],
    );
    assert_refused(
        &["--never", "lm_head", "--methods", "blockllm:0.9,lora:8"],
        &["--never is not for `lora:8`"],
    );
    assert_refused(
        &["--grad-accum-steps", "3"],
        &["does not divide a step's 8 rows", "1, 2, 4, 8"],
    );
    assert_refused(&["--fresh", "--resume"], &["--fresh", "--resume"]);
    assert_refused(&["--keep-checkpoints", "0"], &["keep at least 1"]);
}
