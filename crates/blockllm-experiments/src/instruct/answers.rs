//! What a tuned model says to a few prompts of the validation data, beside the answers that stand there.
use anyhow::{Context, Result};
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::instruct::{Example, InstructEncoder, PlacedExample};
use blockllm_model::llama::{GenerateConfig, LlamaForCausalLM};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Tokens of an answer, at most.
const TOKENS: usize = 48;
/// In a run's folder.
const FILE: &str = "answers.json";

/// A prompt and two answers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was asked, without the template.
    pub asked: String,
    /// What the data answer.
    pub expected: String,
    /// What the model answers, the likeliest token every time.
    pub answered: String,
}

/// The answers of `model` to the first questions of `examples`; those without a question are left out.
///
/// # Errors
/// When the template refuses a conversation, or the model's logits are no numbers.
pub(super) fn of(
    model: &LlamaForCausalLM,
    encoder: &InstructEncoder,
    examples: &[PlacedExample],
) -> Result<Vec<Answer>> {
    let answers = examples
        .iter()
        .filter_map(|placed| answer(model, encoder, &placed.example).transpose());
    answers.collect()
}

fn answer(model: &LlamaForCausalLM, encoder: &InstructEncoder, example: &Example) -> Result<Option<Answer>> {
    let Some((asked, expected, prompt)) = question(encoder, example)? else {
        return Ok(None);
    };
    let room = model.model.rotary_emb.num_positions();
    if prompt.len() + TOKENS > room {
        return Ok(None);
    }
    let config = GenerateConfig::greedy(TOKENS).with_stop_at(encoder.ends());
    let all = model.generate(&prompt, &config)?;
    let new = &all[prompt.len()..];
    let end = encoder.ends();
    let new = match new.split_last() {
        Some((last, before)) if end.contains(last) => before,
        _ => new,
    };
    Ok(Some(Answer {
        asked,
        expected,
        answered: encoder.tokenizer().decode(new)?,
    }))
}

/// The first question, its answer, and the tokens that ask it.
fn question(encoder: &InstructEncoder, example: &Example) -> Result<Option<(String, String, Vec<u32>)>> {
    match example {
        Example::Conversation(messages) => {
            let Some(place) = messages
                .iter()
                .position(blockllm_data::instruct::Message::is_answer)
            else {
                return Ok(None);
            };
            let before = &messages[..place];
            let Some(asked) = before.last() else {
                return Ok(None);
            };
            let prompt = encoder.prompt(before)?;
            Ok(Some((
                asked.content.clone(),
                messages[place].content.clone(),
                prompt,
            )))
        }
        Example::Completion { prompt, completion } => {
            let tokens = encoder.continued(prompt)?;
            Ok(Some((prompt.clone(), completion.clone(), tokens)))
        }
        Example::Text(_) => Ok(None),
    }
}

/// Writes them into the run's folder.
pub(super) fn write(answers: &[Answer], folder: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(answers)?;
    Ok(write_atomically(&folder.join(FILE), text.as_bytes())?)
}

/// Those of a run's folder; none where it has none.
///
/// # Errors
/// When the file is broken.
pub(super) fn read(folder: &Path) -> Result<Vec<Answer>> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(&path).with_context(reading)?;
    serde_json::from_str(&text).with_context(reading)
}
