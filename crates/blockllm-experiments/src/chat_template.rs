//! A chat template that the command line names: a Jinja file, or a form that is built in.
use anyhow::{Context, Result};
use blockllm_data::instruct::{ChatTemplate, FixedDate};

/// The template called `name`: `alpaca`, or a file with its Jinja source.
///
/// # Errors
/// When there is no such file, or it does not compile.
pub fn named(name: &str) -> Result<ChatTemplate> {
    if name == "alpaca" {
        return Ok(ChatTemplate::alpaca());
    }
    let source = std::fs::read_to_string(name).with_context(|| {
        format!("reading {name}: name a Jinja file, or `alpaca` for the form that is built in")
    })?;
    Ok(ChatTemplate::new(name, &source, FixedDate::default())?)
}
