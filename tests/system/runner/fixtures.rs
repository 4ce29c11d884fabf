//! C4-shaped folders, tokenizers, and a folder of a model, that the tests make themselves.
use blockllm::data::Tokenizer;
use flate2::{Compression, write::GzEncoder};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The name of a folder's first train shard.
pub const FIRST_SHARD: &str = "c4-train.00000-of-00002.json.gz";

/// Texts of differing lengths over a small vocabulary of words.
pub fn texts(count: usize) -> Vec<String> {
    const WORDS: [&str; 12] = [
        "block", "descent", "memory", "gradient", "the", "of", "sparse", "layer", "trains", "a", "model",
        "with",
    ];
    let text = |i: usize| {
        let words = (0..8 + i * 7 % 43).map(|j| WORDS[(i * 5 + j * j + i * j) % WORDS.len()]);
        format!("{i} {}.", words.collect::<Vec<_>>().join(" "))
    };
    (0..count).map(text).collect()
}

/// The lines of a shard: one JSON object a text.
pub fn lines(texts: &[String]) -> String {
    let line =
        |text: &String| serde_json::json!({ "text": text, "url": "https://example.com" }).to_string() + "\n";
    texts.iter().map(line).collect()
}

/// Writes a gzip shard.
pub fn write_gzip(path: &Path, contents: &str) {
    let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    encoder.write_all(contents.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

/// Two train shards and a validation shard of C4.
pub fn c4_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill_c4_folder(folder.path());
    folder
}

/// Fills a folder with two train shards and a validation shard of C4.
pub fn fill_c4_folder(folder: &Path) {
    let texts = texts(330);
    for (name, range) in [
        (FIRST_SHARD, 0..150),
        ("c4-train.00001-of-00002.json.gz", 150..300),
        ("c4-validation.00000-of-00001.json.gz", 300..330),
    ] {
        write_gzip(&folder.join(name), &lines(&texts[range]));
    }
}

/// Saves a tokenizer for [`texts`] as `tokenizer.json` in `folder`.
pub fn save_tokenizer(folder: &Path) -> PathBuf {
    let path = folder.join("tokenizer.json");
    Tokenizer::train_byte_level_bpe(texts(60), 280)
        .unwrap()
        .save(&path)
        .unwrap();
    path
}

/// Saves a word-level tokenizer with `words` entries as `tokenizer.json` in `folder`.
pub fn save_large_tokenizer(folder: &Path, words: usize) -> PathBuf {
    let path = folder.join("tokenizer.json");
    let name = |id: usize| match id {
        0 => "</s>".to_owned(),
        1 => "<unk>".to_owned(),
        _ => format!("w{id}"),
    };
    let vocabulary: serde_json::Map<_, _> = (0..words).map(|id| (name(id), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" }
    });
    fs::write(&path, tokenizer.to_string()).unwrap();
    path
}

/// A tiny Llama whose tokenizer is as llama2.c keeps them.
pub fn llama2c_folder() -> TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let base = tempfile::tempdir().unwrap();
    for file in [
        "tests/fixtures/instruct/config.json",
        "tests/fixtures/instruct/model.safetensors",
        "crates/blockllm-model/tests/fixtures/sentence_piece/tokenizer.bin",
    ] {
        let from = root.join(file);
        fs::copy(&from, base.path().join(from.file_name().unwrap())).unwrap();
    }
    base
}
