//! Small data that the tests make themselves, and the way to the shared data where a checkout has it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use blockllm_data::Tokenizer;
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

/// Texts of differing lengths over a small vocabulary of words.
pub fn texts(count: usize) -> Vec<String> {
    const WORDS: [&str; 8] = [
        "block", "descent", "memory", "gradient", "the", "of", "sparse", "layer",
    ];
    let text = |i: usize| {
        let words = (0..3 + i * 7 % 23).map(|j| WORDS[(i * 5 + j * j) % WORDS.len()]);
        format!("{i} {}.", words.collect::<Vec<_>>().join(" "))
    };
    (0..count).map(text).collect()
}

/// A tokenizer learned from [`texts`].
pub fn tokenizer() -> Tokenizer {
    Tokenizer::train_byte_level_bpe(texts(60), 280).unwrap()
}

/// Writes a gzip shard of C4's format.
pub fn write_shard(path: &Path, texts: &[String]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    for text in texts {
        writeln!(
            encoder,
            "{}",
            serde_json::json!({ "text": text, "url": "https://example.com" })
        )
        .unwrap();
    }
    encoder.finish().unwrap();
}

/// A folder with two train shards and a validation shard of C4 in `en/`.
pub fn c4_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let texts = texts(70);
    let parts = [
        ("c4-train.00000-of-00002", 0..30),
        ("c4-train.00001-of-00002", 30..60),
        ("c4-validation.00000-of-00001", 60..70),
    ];
    for (name, range) in parts {
        write_shard(&folder.path().join(format!("en/{name}.json.gz")), &texts[range]);
    }
    folder
}

/// A path below `../shared/data`, where a checkout has it; says what is skipped where not.
pub fn shared(below: &str) -> Option<PathBuf> {
    let path = workspace().join("../shared/data").join(below);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The root of this workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
