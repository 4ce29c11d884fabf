//! Reads cargo's `--message-format=json` lines to learn where the built binary lies.

use std::path::PathBuf;

use serde_json::Value;

/// The path of the binary `name`, when this line of cargo's JSON messages is the one that tells it.
pub fn executable_in(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let is_bin = target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin");
    let path = message.get("executable")?.as_str()?;
    (is_bin && target.get("name")? == name).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_by_kind_and_name() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"blockllm-experiments"},
            "executable":"/t/release/blockllm-experiments"}"#;
        let found = executable_in(line, "blockllm-experiments");
        assert_eq!(found, Some(PathBuf::from("/t/release/blockllm-experiments")));
        assert_eq!(executable_in(line, "another"), None);
    }

    #[test]
    fn libraries_and_lines_that_are_not_json_are_passed_over() {
        let library = r#"{"target":{"kind":["lib"],"name":"blockllm-experiments"},"executable":null}"#;
        assert_eq!(executable_in(library, "blockllm-experiments"), None);
        assert_eq!(executable_in("warning: something", "blockllm-experiments"), None);
    }
}
