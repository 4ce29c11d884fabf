//! A chat template that the command line names: a Jinja file, or a form that is built in.
use anyhow::{Context, Result};
use blockllm_data::instruct::{ChatTemplate, FixedDate};
use std::path::Path;

/// The form that is built in.
const ALPACA: &str = "alpaca";

/// The file that `name` means; none where it is a form that is built in.
pub fn file(name: &str) -> Option<&Path> {
    (name != ALPACA).then(|| Path::new(name))
}

/// The template called `name`: `alpaca`, or a file with its Jinja source.
///
/// # Errors
/// When there is no such file, or it does not compile.
pub fn named(name: &str) -> Result<ChatTemplate> {
    let Some(path) = file(name) else {
        return Ok(ChatTemplate::alpaca());
    };
    let source = std::fs::read_to_string(path).with_context(|| {
        format!("reading {name}: name a Jinja file, or `{ALPACA}` for the form that is built in")
    })?;
    Ok(ChatTemplate::new(name, &source, FixedDate::default())?)
}
