//! Where a model may lie: what is none is refused, with what to name in its place.
use crate::TrainError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What may be named.
const MODELS: &str =
    "name a Hugging Face folder (config.json, model.safetensors, tokenizer.json) or a .gguf file";

/// Refuses what is neither the folder of a model nor a file that may be a GGUF file.
///
/// # Errors
/// [`TrainError::Setting`] that says what it is and what to name.
pub fn check(path: &Path) -> Result<(), TrainError> {
    if path.is_dir() {
        return check_folder(path);
    }
    if path.is_file() {
        return check_file(path);
    }
    let found = if path.exists() {
        "it is no folder and no GGUF file"
    } else {
        "there is no such folder or file"
    };
    Err(refused(path, format!("{found}; {MODELS}")))
}

/// Refuses folders that hold no model, and says where it is where that is known.
///
/// # Errors
/// As [`check`].
pub fn check_folder(path: &Path) -> Result<(), TrainError> {
    let is_there = |name: &str| path.join(name).is_file();
    if is_there("metrics.jsonl") && is_there("manifest.json") {
        let model = path.join("model");
        let mend = if model.is_dir() {
            format!(
                "this is the folder of a run; name the model in it: {}",
                model.display()
            )
        } else {
            "this is the folder of a run, which has kept no model: give the run's command again with --save model"
                .to_owned()
        };
        return Err(refused(path, mend));
    }
    if is_there("config.json") {
        return Ok(());
    }
    let mend = if is_there("adapter_config.json") {
        "this folder holds LoRA adapters: name the model that they belong to, and them by --adapter"
            .to_owned()
    } else if let Some(file) = gguf_in(path) {
        format!(
            "this folder has no config.json but a GGUF file; name that: {}",
            file.display()
        )
    } else {
        "this folder has no config.json; that of a model has config.json, model.safetensors (or shards and their index) and \
         tokenizer.json, as transformers' `save_pretrained` writes them"
            .to_owned()
    };
    Err(refused(path, mend))
}

/// The first by name of a folder's GGUF files.
fn gguf_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|path| path.is_file() && is_called(path, "gguf"))
        .min()
}

/// Refuses a single file of a model's folder; what else is no GGUF file is told by who reads it.
fn check_file(path: &Path) -> Result<(), TrainError> {
    if is_gguf(path) {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    if !is_called(path, "safetensors") && !folder.join("config.json").is_file() {
        return Ok(());
    }
    Err(refused(
        path,
        format!(
            "this is one file of a model's folder; name its folder: {}",
            folder.display()
        ),
    ))
}

/// Whether it is a GGUF file, by its name or its first bytes.
pub fn is_gguf(path: &Path) -> bool {
    let begins = || {
        let mut bytes = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
        read.is_ok() && bytes == *b"GGUF"
    };
    path.is_file() && (is_called(path, "gguf") || begins())
}

fn is_called(path: &Path, ending: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

fn refused(path: &Path, mend: String) -> TrainError {
    TrainError::Setting {
        field: "model",
        value: path.display().to_string(),
        mend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path) -> String {
        check(path).unwrap_err().to_string()
    }

    #[test]
    fn one_file_of_a_model_is_told_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let named = format!("name its folder: {}", folder.path().display());
        let weights = folder.path().join("model.safetensors");
        std::fs::write(&weights, "x").unwrap();
        assert!(told(&weights).contains(&named), "{}", told(&weights));
        let config = folder.path().join("config.json");
        let tokenizer = folder.path().join("tok512.bin");
        for path in [&config, &tokenizer] {
            std::fs::write(path, "{}").unwrap();
            assert!(told(path).contains(&named), "{}", told(path));
        }
        for (name, bytes) in [("model.gguf", "x"), ("renamed.bin", "GGUF.")] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            check(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_without_a_model_is_told_with_what_one_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(told(path).contains("has no config.json"), "{}", told(path));
        let gguf = path.join("model.Q8_0.gguf");
        std::fs::write(&gguf, "GGUF").unwrap();
        let named = format!("name that: {}", gguf.display());
        assert!(told(path).contains(&named), "{}", told(path));
        std::fs::write(path.join("adapter_config.json"), "{}").unwrap();
        assert!(told(path).contains("--adapter"), "{}", told(path));
        std::fs::write(path.join("config.json"), "{}").unwrap();
        check(path).unwrap();
        for name in ["metrics.jsonl", "manifest.json"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        assert!(told(path).contains("--save model"), "{}", told(path));
        std::fs::create_dir(path.join("model")).unwrap();
        assert!(
            told(path).contains("the folder of a run; name the model in it"),
            "{}",
            told(path)
        );
    }

    #[test]
    fn what_is_no_folder_and_no_file_is_told() {
        assert!(told(Path::new("no/such/model")).contains("no such folder or file"));
        #[cfg(unix)]
        assert!(told(Path::new("/dev/null")).contains("/dev/null: it is no folder and no GGUF file"));
    }
}
