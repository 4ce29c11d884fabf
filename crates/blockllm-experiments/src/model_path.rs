//! Where a model lies that the command line names: a folder, a GGUF file, or a repository of the hub.
use crate::byte_size::gigabytes;
use anyhow::{Context, Result, bail};
use blockllm_hub::{Hub, Repository};
use blockllm_train::stderr_bar;
use blockllm_train::tell_line;
use indicatif::ProgressBar;
use std::path::PathBuf;

/// The folder or file called `name`: as it stands, or of the repository `owner/name` of the hub, which is downloaded where the
/// cache lacks it.
///
/// # Errors
/// When there is neither, or it cannot be downloaded; tells where was looked.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(path);
    }
    let Ok(repository) = name.parse::<Repository>() else {
        bail!(
            "--model {name}: there is no such folder or file; name a Hugging Face folder (config.json, model.safetensors, \
             tokenizer.json), a .gguf file, or a repository of the hub as owner/name"
        );
    };
    Hub::from_env()
        .and_then(|hub| in_hub(&hub, &repository))
        .with_context(|| format!("--model {name}: there is no such folder or file"))
}

/// The folder of `repository`, with a bar where it is downloaded.
fn in_hub(hub: &Hub, repository: &Repository) -> Result<PathBuf, blockllm_hub::HubError> {
    let mut bar: Option<ProgressBar> = None;
    let folder = hub.model(repository, &mut |progress| {
        let bar = bar.get_or_insert_with(|| {
            let (size, cache) = (gigabytes(progress.total), hub.cache().dir().display());
            tell_line!("downloading {repository} ({size}) into {cache}");
            stderr_bar("", progress.total, "{bytes}/{total_bytes} {bytes_per_sec} {msg}")
        });
        bar.set_position(progress.done);
        bar.set_message(progress.file.to_owned());
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_comes_before_the_hub_and_what_can_be_nowhere_is_told() {
        let here = tempfile::tempdir().unwrap();
        assert_eq!(find(here.path().to_str().unwrap()).unwrap(), here.path());
        for no_repository in ["no/such/folder", "../x", "plain"] {
            let message = find(no_repository).unwrap_err().to_string();
            assert!(message.contains("no such folder or file"), "{message}");
            assert!(message.contains("owner/name"), "{message}");
        }
    }
}
