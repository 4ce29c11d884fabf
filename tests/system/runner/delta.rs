//! `delta` as a user calls it: what is damaged, or no delta, is told by its file before anything is written.
use super::process::{refuse, succeed, text};
use std::fs;
use std::path::Path;

/// A folder with a model of two numbers.
fn write_model(dir: &Path, numbers: [f32; 2], config: &str) {
    let mut header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("model.safetensors"), file).unwrap();
    fs::write(dir.join("config.json"), config).unwrap();
}

#[test]
fn a_bit_of_a_carried_file_that_has_flipped_is_told_by_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let [base, tuned, delta, out] =
        ["base", "tuned", "x.delta.safetensors", "out"].map(|name| folder.path().join(name));
    write_model(&base, [0.0, 0.0], "{}");
    write_model(&tuned, [0.0, 1.0], r#"{"model_type": "llama"}"#);
    succeed(["delta", "diff", text(&base), text(&tuned), "--out", text(&delta)]);
    let told = succeed(["delta", "info", text(&delta)]);
    assert!(told.stdout.contains("carries config.json"), "{}", told.stdout);
    let mut bytes = fs::read(&delta).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    fs::write(&delta, bytes).unwrap();
    let parts = [text(&delta), "is damaged", "`file/config.json`", "make it again"];
    for verb in ["apply", "stack"] {
        refuse(
            &["delta", verb, text(&base), text(&delta), "--out", text(&out)],
            &parts,
        );
        assert!(!out.exists());
    }
    refuse(&["delta", "info", text(&delta)], &parts);
}

#[test]
fn a_folder_in_place_of_a_delta_is_told_with_the_file_to_name() {
    let folder = tempfile::tempdir().unwrap();
    let info = ["delta", "info", text(folder.path())];
    refuse(&info, &["is a folder", "`delta diff`"]);
}

#[test]
fn a_weight_that_is_no_number_and_a_place_that_cannot_be_written_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    write_model(&base, [0.0, 0.0], "{}");
    let layer = format!("{}=abc", text(&base.join("config.json")));
    let out = folder.path().join("out");
    refuse(
        &["delta", "stack", text(&base), &layer, "--out", text(&out)],
        &["`abc` is no number", "config.json=0.5"],
    );
    #[cfg(target_os = "linux")]
    refuse(
        &["delta", "diff", text(&base), text(&base), "--out", "/proc/x"],
        &["--out /proc/x cannot be made", "name a place that can be written"],
    );
}

#[test]
fn the_help_of_diff_names_the_option_that_saves_a_model() {
    let help = succeed(["delta", "diff", "--help"]).stdout;
    assert!(
        help.contains("finetune --save model") && !help.contains("--save-model"),
        "{help}"
    );
}
