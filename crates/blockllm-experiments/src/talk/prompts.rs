//! Prompts for `generate`: from the command line, or from a file with one a line.
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;

/// The most bytes of a file of prompts.
const MAX_BYTES: u64 = 64 << 20;

/// A line of a JSONL file.
#[derive(Deserialize)]
struct Line {
    prompt: String,
}

/// `given`, and those of `file`: a `.jsonl` file has `{"prompt": ".."}` a line, any other file a prompt a line; empty lines are
/// passed over.
///
/// # Errors
/// When there is none, or the file cannot be read; names file and line.
pub fn all(given: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    let mut prompts = given.to_vec();
    if let Some(path) = file {
        prompts.extend(of_file(path)?);
    }
    if prompts.is_empty() {
        bail!("there is no prompt: give --prompt TEXT, or --prompts FILE with a prompt a line");
    }
    Ok(prompts)
}

fn of_file(path: &Path) -> Result<Vec<String>> {
    let reading = || format!("reading {}", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    if size > MAX_BYTES {
        bail!(
            "{} has {size} bytes; a file of prompts may have {MAX_BYTES}",
            path.display()
        );
    }
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl");
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let prompt = |(number, line): (usize, &str)| {
        if !is_json {
            return Ok(line.to_owned());
        }
        let line: Line = serde_json::from_str(line).with_context(|| {
            format!(
                "{}, line {number}: expected {{\"prompt\": \"..\"}}",
                path.display()
            )
        })?;
        Ok(line.prompt)
    };
    lines.map(prompt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_lines_or_records_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            all(&["first".to_owned()], Some(&path))
        };
        assert_eq!(of("a.txt", "one\n\n two \n").unwrap(), ["first", "one", " two "]);
        let json = "{\"prompt\": \"x\\ny\"}\n{\"prompt\": \"z\", \"n\": 1}\n";
        assert_eq!(of("a.jsonl", json).unwrap(), ["first", "x\ny", "z"]);
        let message = format!("{:#}", of("b.jsonl", "\n{\"text\": 1}\n").unwrap_err());
        assert!(message.contains("b.jsonl, line 2"), "{message}");
        let message = all(&[], None).unwrap_err().to_string();
        assert!(message.contains("--prompt TEXT"), "{message}");
    }
}
