//! Tokenizers that do not fit or cannot be read: each refused with the file and the mend.
use super::fixtures::{c4_folder, save_large_tokenizer};
use super::process::{refuse, succeed, text};
use std::fs;
use std::path::Path;

fn assert_refused(tokenizer: &Path, data: &Path, parts: &[&str]) {
    let out = data.join("out");
    let mut arguments = vec!["c4", "--steps", "2", "--model", "60m", "--data", text(data)];
    arguments.extend(["--tokenizer", text(tokenizer), "--out", text(&out)]);
    let parts: Vec<_> = parts.iter().copied().chain([text(tokenizer)]).collect();
    refuse(&arguments, &parts);
    assert!(!out.exists(), "nothing was run, so nothing is written");
}

#[test]
fn a_model_of_a_published_size_takes_the_vocabulary_of_a_larger_tokenizer() {
    let data = c4_folder();
    let out = data.path().join("out");
    for (ids, expected) in [(32_100, "vocabulary 32100"), (500, "vocabulary 32000")] {
        let tokenizer = save_large_tokenizer(data.path(), ids);
        let mut arguments = vec!["c4", "--scale", "paper", "--dry-run", "--data", text(data.path())];
        arguments.extend(["--tokenizer", text(&tokenizer), "--out", text(&out)]);
        let ended = succeed(arguments);
        assert!(ended.stdout.contains(expected), "{}", ended.stdout);
        for part in [
            "10000",
            "bf16",
            "galore:128",
            "131072 tokens: 512 rows of 256",
            "10 % warmup",
        ] {
            assert!(
                ended.stdout.contains(part),
                "`{part}` is not in: {}",
                ended.stdout
            );
        }
        let departs = ended.stderr.contains("is not t5-base's");
        assert_eq!(departs, ids != 32_100, "{}", ended.stderr);
    }
    assert!(!out.exists(), "nothing was run, so nothing is written");
}

#[test]
fn a_tokenizer_with_a_stray_id_of_billions_is_refused() {
    let data = c4_folder();
    let tokenizer = save_large_tokenizer(data.path(), 100);
    let file = fs::read_to_string(&tokenizer).unwrap();
    fs::write(&tokenizer, file.replace("\"w99\":99", "\"w99\":4294967295")).unwrap();
    assert_refused(&tokenizer, data.path(), &["4294967295", "16777216"]);
}

#[test]
fn a_tokenizer_file_that_is_missing_is_named_with_the_mend() {
    let data = c4_folder();
    assert_refused(
        &data.path().join("no.json"),
        data.path(),
        &["cannot read", "Check that the path exists"],
    );
}

#[test]
fn a_file_that_is_no_tokenizer_is_named_with_what_is_expected() {
    let data = c4_folder();
    let tokenizer = data.path().join("tokenizer.json");
    fs::write(&tokenizer, "{\"version\": \"1.0\"}").unwrap();
    assert_refused(
        &tokenizer,
        data.path(),
        &["Expected a `tokenizer.json` of Hugging Face's tokenizers"],
    );
}
