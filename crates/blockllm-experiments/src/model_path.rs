//! Where a model lies that the command line names: a folder, a GGUF file, or a repository in the hub's cache.
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The folder or file called `name`: as it stands, or the snapshot of the repository `owner/name` in the hub's cache.
///
/// # Errors
/// When there is neither; tells where was looked.
pub fn find(name: &str) -> Result<PathBuf> {
    find_in(name, cache().as_deref())
}

fn find_in(name: &str, cache: Option<&Path>) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(path);
    }
    if !is_repository(name) {
        bail!(
            "--model {name}: there is no such folder or file; name a Hugging Face folder (config.json, model.safetensors, \
             tokenizer.json) or a .gguf file"
        );
    }
    let Some(cache) = cache else {
        bail!(
            "--model {name}: there is no such folder, and no HOME or HF_HOME says where the hub's cache is"
        );
    };
    match snapshot(&cache.join(format!("models--{}", name.replace('/', "--")))) {
        Some(folder) => Ok(folder),
        None => bail!(
            "--model {name}: there is no such folder, and the hub's cache in {} has no repository of that name with config.json; \
             fetch it by `hf download {name}`, or name a folder",
            cache.display()
        ),
    }
}

/// `owner/name` of the characters that the hub allows.
fn is_repository(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(['.', '-'])
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}

/// `HF_HUB_CACHE`, else `hub` below `HF_HOME`, else below `~/.cache/huggingface`.
fn cache() -> Option<PathBuf> {
    let of = |name: &str| {
        let value = std::env::var_os(name)?;
        (!value.is_empty()).then(|| PathBuf::from(value))
    };
    of("HF_HUB_CACHE")
        .or_else(|| Some(of("HF_HOME")?.join("hub")))
        .or_else(|| Some(of("HOME")?.join(".cache/huggingface/hub")))
}

/// The snapshot that `main` points to, else any whole one.
fn snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let is_model = |folder: &PathBuf| folder.join("config.json").is_file();
    let main = std::fs::read_to_string(repository.join("refs/main")).ok();
    let named = main.map(|commit| snapshots.join(commit.trim())).filter(is_model);
    named.or_else(|| {
        let mut folders: Vec<PathBuf> = std::fs::read_dir(&snapshots)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_model)
            .collect();
        folders.sort();
        folders.pop()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_first_then_the_snapshot_that_main_points_to() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--owner--small-model");
        for commit in ["aaa", "bbb"] {
            let folder = repository.join("snapshots").join(commit);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.json"), "{}").unwrap();
        }
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        let found = || find_in("owner/small-model", Some(cache.path())).unwrap();
        assert!(found().ends_with("bbb"));
        std::fs::write(repository.join("refs/main"), "aaa\n").unwrap();
        assert!(found().ends_with("aaa"));
        let own = cache.path().to_str().unwrap();
        assert_eq!(find_in(own, None).unwrap(), cache.path());
    }

    #[test]
    fn what_is_not_there_is_told_with_what_to_do() {
        let cache = tempfile::tempdir().unwrap();
        let message = |name| find_in(name, Some(cache.path())).unwrap_err().to_string();
        assert!(message("owner/none").contains("hf download owner/none"));
        for no_repository in ["no/such/folder", "../x", "-a/b", "plain", "a/b c"] {
            let message = message(no_repository);
            assert!(message.contains("no such folder or file"), "{message}");
        }
    }
}
