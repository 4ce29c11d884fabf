//! Prompts for `generate`: from the command line, or from a file with one a line.
use anyhow::{Context, Result, anyhow, bail};
use blockllm_data::bounded_file::bounded;
use blockllm_model::without_mark;
use serde::Deserialize;
use std::fmt;
use std::path::Path;

/// The most bytes of a file of prompts.
const MAX_BYTES: u64 = 64 << 20;

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt<'a> {
    /// What it says.
    pub text: String,
    /// Where it stands.
    pub place: Place<'a>,
}

/// Where a prompt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The so-manyth `--prompt`, from 1.
    Option(usize),
    /// A line of a file, from 1.
    Line(&'a Path, usize),
    /// An entry of a JSON file, from 1.
    Entry(&'a Path, usize),
}

/// A line of a JSONL file, or an entry of a JSON file.
#[derive(Deserialize)]
struct Line {
    prompt: String,
}

/// `given`, and those of `file`: a `.jsonl` file has `{"prompt": ".."}` a line, a `.json` file an array of them or one, any other
/// file a prompt a line; empty lines are passed over.
///
/// # Errors
/// When there is none, or the file cannot be read; names file and line.
pub fn all<'a>(given: &[String], file: Option<&'a Path>) -> Result<Vec<Prompt<'a>>> {
    let given = (1..).zip(given).map(|(number, text)| Prompt {
        text: text.clone(),
        place: Place::Option(number),
    });
    let mut prompts: Vec<_> = given.collect();
    if let Some(path) = file {
        prompts.extend(of_file(path)?);
    }
    match file {
        _ if !prompts.is_empty() => Ok(prompts),
        Some(path) => bail!(
            "--prompts {}: there is no prompt in it; write one a line, or {{\"prompt\": \"..\"}} a line into a .jsonl file",
            path.display()
        ),
        None => bail!("there is no prompt: give --prompt TEXT, or --prompts FILE with a prompt a line"),
    }
}

fn of_file(path: &Path) -> Result<Vec<Prompt<'_>>> {
    let reading = || format!("reading {}", path.display());
    let bytes = bounded(path, MAX_BYTES).with_context(reading)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let number = before.split(|byte| *byte == b'\n').count();
        anyhow!(
            "{}: this is not UTF-8; save the file as UTF-8",
            Place::Line(path, number)
        )
    })?;
    let text = without_mark(&text);
    let is = |name: &str| path.extension().is_some_and(|extension| extension == name);
    if is("json") {
        return entries(path, text);
    }
    let is_json = is("jsonl");
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let prompt = |(number, line): (usize, &str)| {
        let place = Place::Line(path, number);
        let text = if is_json {
            of_json(line).map_err(|found| anyhow!("{place}, {found}"))?
        } else {
            line.to_owned()
        };
        Ok(Prompt { text, place })
    };
    lines.map(prompt).collect()
}

/// The prompts of a JSON file.
fn entries<'a>(path: &'a Path, text: &str) -> Result<Vec<Prompt<'a>>> {
    let lines: Vec<Line> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|line| vec![line])
    }
    .with_context(|| {
        format!(
            "{}: expected an array of {{\"prompt\": \"..\"}}; a file of one prompt a line ends in .txt",
            path.display()
        )
    })?;
    let prompt = |(number, line): (usize, Line)| Prompt {
        text: line.prompt,
        place: Place::Entry(path, number),
    };
    Ok((1..).zip(lines).map(prompt).collect())
}

/// The prompt in a line of JSON, or what is wrong with it and where in the line.
fn of_json(line: &str) -> Result<String, String> {
    let line: Result<Line, _> = serde_json::from_str(line);
    let line = line.map_err(|error| {
        let found = error.to_string();
        // The parser counts lines from the one that it was given.
        let found = found
            .rsplit_once(" at line ")
            .map_or(found.as_str(), |(what, _)| what);
        format!(
            "column {}: {found}; expected {{\"prompt\": \"..\"}}",
            error.column()
        )
    })?;
    Ok(line.prompt)
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(number) => write!(formatter, "prompt {number} (--prompt)"),
            Self::Line(path, number) => write!(formatter, "{}, line {number}", path.display()),
            Self::Entry(path, number) => write!(formatter, "{}, entry {number}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prompts in a file of this name, or what is told of it.
    fn of(name: &str, bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let prompts = all(&["first".to_owned()], Some(&path)).map_err(|error| format!("{error:#}"))?;
        let shown = |prompt: Prompt<'_>| (prompt.text, prompt.place.to_string());
        Ok(prompts.into_iter().map(shown).collect())
    }

    fn texts(name: &str, text: &str) -> Vec<String> {
        let prompts = of(name, text.as_bytes()).unwrap();
        prompts.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn prompts_are_lines_or_records_and_a_broken_one_is_named() {
        assert_eq!(texts("a.txt", "one\n\n two \n"), ["first", "one", " two "]);
        let json = "{\"prompt\": \"x\\ny\"}\n{\"prompt\": \"z\", \"n\": 1}\n";
        assert_eq!(texts("a.jsonl", json), ["first", "x\ny", "z"]);
        let array = of("a.json", b"[{\"prompt\": \"x\"},\n {\"prompt\": \"y\"}]").unwrap();
        assert_eq!([&array[1].0, &array[2].0], ["x", "y"]);
        assert!(array[2].1.ends_with("a.json, entry 2"), "{array:?}");
        assert_eq!(texts("a.json", "{\"prompt\": \"x\"}"), ["first", "x"]);
        let message = of("b.json", b"[{\"text\": 1}]").unwrap_err();
        assert!(message.contains("b.json: expected an array"), "{message}");
        let message = of("b.jsonl", b"\n{\"text\": 1}\n").unwrap_err();
        assert!(
            message.contains("b.jsonl, line 2, column 11: missing field `prompt`"),
            "{message}"
        );
        assert!(!message.contains("line 1"), "{message}");
        let message = all(&[], None).unwrap_err().to_string();
        assert!(message.contains("--prompt TEXT"), "{message}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        let message = all(&[], Some(empty.path())).unwrap_err().to_string();
        assert!(message.contains(empty.path().to_str().unwrap()), "{message}");
    }

    #[test]
    fn every_prompt_knows_where_it_stands() {
        let places: Vec<_> = of("a.txt", b"one\n\ntwo\n").unwrap();
        assert_eq!(places[0].1, "prompt 1 (--prompt)");
        assert!(places[2].1.ends_with("a.txt, line 3"), "{places:?}");
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_part_of_the_first_prompt() {
        assert_eq!(texts("a.txt", "\u{feff}one\ntwo\n"), ["first", "one", "two"]);
        assert_eq!(texts("a.jsonl", "\u{feff}{\"prompt\": \"x\"}\n"), ["first", "x"]);
    }

    #[test]
    fn the_line_that_is_not_utf_8_is_named() {
        let message = of("a.txt", b"one\ntwo\nfa\xe7ade\n").unwrap_err();
        assert!(
            message.contains("a.txt, line 3") && message.contains("save the file as UTF-8"),
            "{message}"
        );
    }
}
