//! What a repository has: the hub's list of its files, and those of it that a model of ours is made of.
use crate::hash::{Hash, is_hexadecimal};
use crate::{HubError, Repository};
use serde::Deserialize;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// A name without folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub hash: Hash,
}

/// What a model of a repository is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The commit that `main` is.
    pub commit: String,
    /// The model's files, `config.json` last.
    pub files: Vec<RemoteFile>,
}

/// The hub's answer.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    blob_id: Option<String>,
    #[serde(default)]
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
    size: u64,
}

/// The last file of a download.
const CONFIG: &str = "config.json";

/// What is taken beside weights: configurations, the tokenizer, the chat template.
const TEXTS: [&str; 13] = [
    CONFIG,
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

/// Bytes that no file has, so that sums of sizes cannot overflow.
const LARGEST: u64 = 1 << 44;

/// Files that no model has.
const MOST: usize = 10_000;

impl Listing {
    /// From the answer that `url` gave.
    ///
    /// # Errors
    /// When it is not the hub's, or the repository has no configuration or no safetensors.
    pub fn parse(answer: &str, repository: &Repository, url: &str) -> Result<Self, HubError> {
        let wrong = |found: String| HubError::Answer {
            repository: repository.clone(),
            url: url.into(),
            found,
        };
        let info: Info = serde_json::from_str(answer).map_err(|error| wrong(error.to_string()))?;
        if !is_hexadecimal(&info.sha, 40) {
            return Err(wrong("its commit is no SHA-1".into()));
        }
        if info.siblings.len() > MOST {
            return Err(wrong(format!("it names {} files", info.siblings.len())));
        }
        let mut files = Vec::new();
        for sibling in info.siblings {
            if is_wanted(&sibling.rfilename) {
                let name = sibling.rfilename.clone();
                let file = sibling.file();
                files.push(file.ok_or_else(|| wrong(format!("no size and hash of {name}")))?);
            }
        }
        let missing = |missing, mend| HubError::NoModel {
            repository: repository.clone(),
            missing,
            mend,
        };
        if !files.iter().any(|file| file.name == CONFIG) {
            let mend = "it is no model as transformers loads it; if it has a .gguf file, download that and name the file";
            return Err(missing("config.json", mend));
        }
        if !files.iter().any(|file| file.name.ends_with(".safetensors")) {
            let mend = "weights in other formats are not read; look for a conversion, or make one by transformers' save_pretrained";
            return Err(missing("model.safetensors or shards of it", mend));
        }
        files.sort_by_key(|file| (file.name == CONFIG, file.name.clone()));
        Ok(Self {
            commit: info.sha,
            files,
        })
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl Sibling {
    fn file(self) -> Option<RemoteFile> {
        let (hash, size) = match (self.lfs, self.blob_id) {
            (Some(large), _) if is_hexadecimal(&large.sha256, 64) => (Hash::Sha256(large.sha256), large.size),
            (None, Some(blob)) if is_hexadecimal(&blob, 40) => (Hash::Git(blob), self.size?),
            _ => return None,
        };
        (size <= LARGEST).then_some(RemoteFile {
            name: self.rfilename,
            size,
            hash,
        })
    }
}

/// Whether a model of ours may need this file.
fn is_wanted(name: &str) -> bool {
    let is_weight =
        name == "model.safetensors" || (name.starts_with("model-") && name.ends_with(".safetensors"));
    is_plain(name) && (is_weight || TEXTS.contains(&name))
}

/// Whether a name is of letters, digits, `-`, `_` and `.` alone, and so a file of the folder that it is in.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(siblings: &str) -> Result<Listing, HubError> {
        let answer = format!(r#"{{"sha": "{SHA}", "siblings": [{siblings}]}}"#);
        Listing::parse(&answer, &"owner/name".parse().unwrap(), "the url")
    }

    fn small(name: &str) -> String {
        format!(r#"{{"rfilename": "{name}", "size": 3, "blobId": "{SHA}"}}"#)
    }

    #[test]
    fn only_what_a_model_is_made_of_is_taken_and_the_configuration_comes_last() {
        let large = format!(
            r#""lfs": {{"sha256": "{}", "size": 7, "pointerSize": 9}}"#,
            "ab".repeat(32)
        );
        let weights =
            format!(r#"{{"rfilename": "model.safetensors", "size": 7, "blobId": "{SHA}", {large}}}"#);
        let all = [
            small("config.json"),
            weights,
            small("tokenizer.json"),
            small("../../config.json"),
            small("onnx/config.json"),
            small("model-1?x=1.safetensors"),
            small("model.fp16.safetensors"),
            small("trainer_state.json"),
            small("pytorch_model.bin"),
            small("README.md"),
            small("chat_template.jinja"),
        ];
        let listing = parse(&all.join(",")).unwrap();
        let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "chat_template.jinja",
                "model.safetensors",
                "tokenizer.json",
                "config.json"
            ]
        );
        assert_eq!(listing.size(), 16);
        assert_eq!(listing.files[1].hash, Hash::Sha256("ab".repeat(32)));
        assert_eq!(listing.files[3].hash, Hash::Git(SHA.into()));
    }

    #[test]
    fn what_is_no_model_or_no_answer_of_the_hub_is_told() {
        let message = |siblings: &str| parse(siblings).unwrap_err().to_string();
        assert!(message(&small("model.gguf")).contains("has no config.json"));
        assert!(message(&small("config.json")).contains("has no model.safetensors"));
        let no_hash = r#"{"rfilename": "config.json", "size": 3}"#;
        assert!(message(no_hash).contains("no size and hash of config.json"));
        let huge = format!(
            r#"{{"rfilename": "config.json", "size": {}, "blobId": "{SHA}"}}"#,
            u64::MAX
        );
        assert!(message(&huge).contains("no size and hash of config.json"));
        let evil = r#"{"rfilename": "config.json", "size": 3, "blobId": "../../x"}"#;
        assert!(message(evil).contains("no size and hash"));
        let page = Listing::parse("<html>", &"owner/name".parse().unwrap(), "the url").unwrap_err();
        assert!(
            page.to_string().contains("does not answer as the hub does"),
            "{page}"
        );
    }
}
