//! The rules for source files that no lint knows: a head sentence, a length that can be read, nothing left undone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::circles;

const MAX_LINES: usize = 450;
const FOLDERS: [&str; 5] = ["crates", "examples", "benches", "tests", "xtask"];

/// Macros that mark something as not done yet, and one that was for looking.
const UNDONE: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];
const UNWRAP: &str = concat!(".unw", "rap()");

/// What is wrong with the Rust files under `root`, one `path:line: what` each, in the order of their paths.
pub fn check_tree(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for folder in FOLDERS
        .iter()
        .map(|folder| root.join(folder))
        .filter(|folder| folder.is_dir())
    {
        collect(&folder, &mut files)?;
    }
    files.sort();
    let mut problems = circles::check_tree(root, &files)?;
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        let is_test = name.starts_with("tests") || name.components().any(|part| part.as_os_str() == "tests");
        problems.extend(
            check_text(&text, is_test)
                .into_iter()
                .map(|(line, what)| format!("{}:{line}: {what}", name.display())),
        );
    }
    Ok(problems)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let path = entry.path();
        // A link may lead back up, round and round.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The broken rules of one file: line number and what to mend.
fn check_text(text: &str, is_test: bool) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push((
            1,
            "the first line is not a `//!` sentence that says what the file defines".to_owned(),
        ));
    }
    let length = text.lines().count();
    if length > MAX_LINES {
        problems.push((
            length,
            format!("{length} lines, more than {MAX_LINES}: split the file by concept"),
        ));
    }
    let mut in_tests = is_test;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        in_tests |= line.starts_with("#[cfg(test)]") || line.starts_with("#![cfg(test)]");
        if line.starts_with("//") {
            continue;
        }
        if let Some(undone) = UNDONE.iter().find(|undone| line.contains(**undone)) {
            problems.push((index + 1, format!("`{undone}..)` must not be submitted")));
        }
        if !in_tests && line.contains(UNWRAP) {
            problems.push((
                index + 1,
                format!("`{UNWRAP}` outside tests: return an error, or `expect` with the reason"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<usize> {
        check_text(text, false)
            .into_iter()
            .map(|(line, _)| line)
            .collect()
    }

    #[test]
    fn a_file_without_a_head_sentence_is_named() {
        assert_eq!(lines_of("use std::fmt;\n"), [1]);
        assert!(lines_of("//! Says what it is.\nuse std::fmt;\n").is_empty());
    }

    #[test]
    fn a_file_that_is_too_long_is_named() {
        let text = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(lines_of(&text), [MAX_LINES + 1]);
    }

    #[test]
    fn unwrap_is_for_tests_and_documentation_only() {
        let call = format!("let x = y{UNWRAP};");
        assert_eq!(lines_of(&format!("//! Head.\n{call}\n")), [2]);
        assert!(lines_of(&format!("//! Head.\n/// {call}\n")).is_empty());
        assert!(lines_of(&format!("//! Head.\n#[cfg(test)]\nmod tests {{\n{call}\n}}\n")).is_empty());
        assert!(check_text(&format!("//! Head.\n{call}\n"), true).is_empty());
    }

    #[test]
    fn unfinished_code_is_named_in_tests_too() {
        let text = format!("//! Head.\n{}\"later\");\n", UNDONE[0]);
        assert_eq!(check_text(&text, true).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_back_up_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("crates/a");
        std::fs::create_dir_all(&source).unwrap();
        std::os::unix::fs::symlink(folder.path().join("crates"), source.join("up")).unwrap();
        assert!(check_tree(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn problems_are_told_with_path_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("crates/a/src");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("lib.rs"), "fn main() {}\n").unwrap();
        let problems = check_tree(folder.path()).unwrap();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("crates/a/src/lib.rs:1: "), "{problems:?}");
    }
}
