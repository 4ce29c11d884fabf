//! Broken data folders: each refused with the file, the line and the mend.
use super::fixtures::{FIRST_SHARD, c4_folder, lines, save_tokenizer, texts, write_gzip};
use super::folders::{reports_in, run_in};
use super::process::{refuse, text};
use std::fs;
use std::path::Path;

fn run_on<'a>(data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec![
        "c4",
        "--steps",
        "2",
        "--methods",
        "adamw",
        "--data",
        text(data),
        "--out",
        text(out),
    ]
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn assert_refused(break_shard: impl Fn(&Path), parts: &[&str]) {
    let data = c4_folder();
    let shard = data.path().join(FIRST_SHARD);
    break_shard(&shard);
    let out = data.path().join("out");
    let parts: Vec<_> = parts.iter().copied().chain([text(&shard)]).collect();
    refuse(&run_on(data.path(), &out), &parts);
    assert!(reports_in(&out, "c4").is_empty());
}

#[test]
fn a_truncated_gzip_shard_is_named_with_the_last_whole_line_and_the_mend() {
    assert_refused(truncate, &["after line", "truncated", "Download the shard again"]);
}

#[test]
fn a_truncated_shard_that_is_met_only_while_training_ends_the_run_with_the_same_words() {
    // With a tokenizer given, no train shard is read before the data thread does.
    let data = c4_folder();
    let shard = data.path().join("c4-train.00001-of-00002.json.gz");
    truncate(&shard);
    let (tokenizer, out) = (save_tokenizer(data.path()), data.path().join("out"));
    let mut arguments = run_on(data.path(), &out);
    arguments.extend(["--tokenizer", text(&tokenizer)]);
    refuse(
        &arguments,
        &[
            text(&shard),
            "truncated",
            "Download the shard again",
            "method `adamw`, seed 0",
        ],
    );
    assert!(!run_in(&out.join("c4"), "adamw-0").join("result.json").exists());
}

#[test]
fn a_shard_that_is_no_gzip_at_all_is_named_with_the_mend() {
    let break_shard = |shard: &Path| fs::write(shard, lines(&texts(3))).unwrap();
    assert_refused(
        break_shard,
        &["expected a gzip stream", "Download the shard again"],
    );
}

#[test]
fn a_shard_line_that_is_not_json_is_named_by_its_number_with_the_mend() {
    let break_shard = |shard: &Path| write_gzip(shard, &format!("{}not json\n", lines(&texts(6))));
    assert_refused(
        break_shard,
        &["line 7", "one JSON object a line", "Mend or remove the line"],
    );
}

#[test]
fn a_shard_line_without_text_is_named_by_its_number_with_the_mend() {
    let break_shard =
        |shard: &Path| write_gzip(shard, &format!("{}{{\"content\": \"x\"}}\n", lines(&texts(2))));
    assert_refused(
        break_shard,
        &["line 3", "string field `text`", "Rename the field"],
    );
}

#[test]
fn an_empty_shard_is_named_with_the_mend() {
    assert_refused(
        |shard| write_gzip(shard, ""),
        &["holds no document", "or remove it"],
    );
}

#[test]
fn a_missing_or_empty_data_folder_is_named_with_what_was_looked_for_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for data in [folder.path().join("nowhere"), folder.path().to_path_buf()] {
        let parts = [
            text(&data),
            "c4-train.*.json.gz",
            "Give the folder that holds C4's shards",
        ];
        refuse(&run_on(&data, &out), &parts);
        assert!(!out.exists(), "nothing was run, so nothing is written");
    }
}
