//! Tokenizers that do not fit or cannot be read: each refused with the file and the mend.
use super::fixtures::{c4_folder, save_large_tokenizer};
use super::process::{refuse, text};
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
fn a_tokenizer_whose_vocabulary_exceeds_the_models_is_refused_with_both_sizes_and_the_mend() {
    let data = c4_folder();
    let tokenizer = save_large_tokenizer(data.path(), 32_001);
    assert_refused(
        &tokenizer,
        data.path(),
        &[
            "a vocabulary of 32001",
            "`vocab_size` is 32000",
            "choose the model's own tokenizer",
        ],
    );
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
