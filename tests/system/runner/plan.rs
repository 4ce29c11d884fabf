//! `plan` as a user calls it: it ends soon whatever is asked for, and refuses what a run would refuse.
use super::process::{refuse, succeed, text};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The config.json of a small Llama.
fn config(dir: &Path, layers: u64) -> PathBuf {
    let path = dir.join("config.json");
    let keys = json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers,
        "num_attention_heads": 4, "max_position_embeddings": 128, "rms_norm_eps": 1e-5
    });
    fs::write(&path, keys.to_string()).unwrap();
    path
}

#[test]
fn a_plan_ends_soon_whatever_the_batch_the_row_and_the_layers() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let plan = succeed(["plan", "--model", "7b", "--batch", "1000000000"]);
    assert!(plan.stdout.contains("GB"), "{}", plan.stdout);
    succeed([
        "plan",
        "--model",
        "60m",
        "--grad-accum-steps",
        "1000000000",
        "--no-clip",
    ]);
    let model = config(folder.path(), 1000);
    succeed(["plan", "--model", text(&model), "--seq", "64"]);
    let parts = [
        "18446744073709551615 tokens",
        "2^64 bytes",
        "lower --batch, --seq",
    ];
    refuse(&["plan", "--seq", "18446744073709551615"], &parts);
    let model = config(folder.path(), 99_999_999_999);
    refuse(
        &["plan", "--model", text(&model)],
        &["`num_hidden_layers`", "at most"],
    );
    assert!(begun.elapsed() < Duration::from_mins(3), "{:?}", begun.elapsed());
}

#[test]
fn a_rank_that_a_run_would_refuse_is_refused_by_the_plan_and_the_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let model = config(folder.path(), 2);
    let long = succeed(["plan", "--model", text(&model), "--seq", "129"]);
    let told = "128 positions, and a run would refuse rows of 129 tokens";
    assert!(long.stderr.contains(told), "{}", long.stderr);
    refuse(&["plan", "--all", "--model", text(&model)], &["--all", "--model"]);
    for (method, parts) in [
        (
            "lora:99999",
            ["rank 99999", "`model.layers.0.self_attn", "at most 32"],
        ),
        (
            "galore:33",
            ["rank 33", "`model.layers.0.self_attn", "at most 32"],
        ),
        (
            "lora:8+alpha=0",
            ["--method", "alpha=0: use a positive number", "such as"],
        ),
    ] {
        refuse(&["plan", "--model", text(&model), "--method", method], &parts);
    }
    let (data, out) = (folder.path().join("sums.jsonl"), folder.path().join("out"));
    let line = |i: usize| {
        let said = |role: &str, content: String| json!({ "role": role, "content": content });
        let messages = [
            said("user", format!("{i} + 1?")),
            said("assistant", format!("{}", i + 1)),
        ];
        json!({ "messages": messages }).to_string()
    };
    fs::write(&data, (0..80).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let dry_run = [
        "finetune",
        "--dry-run",
        "--device",
        "flex",
        "--steps",
        "2",
        "--method",
        "lora:99999",
    ];
    let places = ["--data", text(&data), "--out", text(&out)];
    refuse(
        &[&dry_run[..], &places].concat(),
        &["rank 99999", "use a rank of at most"],
    );
}

#[test]
fn a_gguf_file_is_planned_and_what_is_no_model_is_told() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/blockllm-model/tests/fixtures/gguf");
    let gguf = fixtures.join("smollm.gguf");
    let plan = succeed(["plan", "--model", text(&gguf), "--method", "adamw", "--seq", "64"]);
    assert!(plan.stdout.starts_with("smollm.gguf, "), "{}", plan.stdout);
    let weights = fixtures.join("smollm.safetensors");
    refuse(
        &["plan", "--model", text(&weights)],
        &["smollm.safetensors", "is no config.json", ".gguf file"],
    );
    refuse(
        &["plan", "--model", "13b"],
        &["`13b`", "tiny, 60m, 130m", "owner/name"],
    );
    let help = succeed(["plan", "--help"]).stdout;
    assert!(help.contains(".gguf") && help.contains("owner/name"), "{help}");
}
