//! Answers that a model generates itself, the likeliest token every time, until it says that it is done.
use crate::TrainError;
use blockllm_data::TextStream;
use blockllm_data::tasks::{ContinuationEncoder, before_stops};
use blockllm_model::llama::{GenerateConfig, LlamaForCausalLM};

/// Tokens between looks at whether the answer has ended: each look costs one reading of the context.
const PIECE: usize = 32;

/// How answers are generated.
#[derive(Debug)]
pub(super) struct Answering<'a> {
    model: &'a LlamaForCausalLM,
    encoder: &'a ContinuationEncoder,
    max_new_tokens: usize,
    /// Tokens that end a text.
    ends: Vec<u32>,
    /// What the tokenizer's own one looks like.
    end_text: Vec<String>,
}

impl<'a> Answering<'a> {
    /// With at most so many tokens an answer; `ends` end one, beside the tokenizer's own end of a text.
    ///
    /// # Errors
    /// When the model has no positions left for a context.
    pub fn new(
        model: &'a LlamaForCausalLM,
        encoder: &'a ContinuationEncoder,
        max_new_tokens: usize,
        mut ends: Vec<u32>,
    ) -> Result<Self, TrainError> {
        let positions = model.model.rotary_emb.num_positions();
        if max_new_tokens == 0 || max_new_tokens >= positions {
            return Err(TrainError::Setting {
                field: "max_new_tokens",
                value: max_new_tokens.to_string(),
                mend: format!(
                    "the model has {positions} positions, and the question needs some: set it from 1 to {}",
                    positions.saturating_sub(1)
                ),
            });
        }
        let own = encoder.tokenizer().eos_id();
        ends.extend(own);
        let text = own.map(|id| encoder.tokenizer().decode(&[id])).transpose()?;
        Ok(Self {
            model,
            encoder,
            max_new_tokens,
            ends,
            end_text: text.into_iter().collect(),
        })
    }

    /// What the model says behind `context`, which is cut on its left where it is too long: up to where GSM8K's task stops.
    ///
    /// # Errors
    /// When the tokenizer refuses, or the weights give no numbers.
    pub fn answer(&self, context: &str) -> Result<String, TrainError> {
        let mut tokens = self.encoder.encode(context)?;
        let room = self.model.model.rotary_emb.num_positions() - self.max_new_tokens;
        let mut tokens = tokens.split_off(tokens.len().saturating_sub(room));
        if tokens.is_empty() {
            tokens.push(self.encoder.prefix()?);
        }
        let begin = tokens.len();
        loop {
            let left = self.max_new_tokens - (tokens.len() - begin);
            let piece = GenerateConfig::greedy(left.min(PIECE)).with_stop_at(self.ends.clone());
            tokens = self.model.generate(&tokens, &piece)?;
            let said = self.text(&tokens[begin..])?;
            let answer = before_stops(&said, &self.end_text);
            let has_ended = tokens.last().is_some_and(|token| self.ends.contains(token));
            if has_ended || answer.len() < said.len() || tokens.len() - begin >= self.max_new_tokens {
                return Ok(answer.to_owned());
            }
        }
    }

    /// The text of tokens, without special ones.
    fn text(&self, tokens: &[u32]) -> Result<String, TrainError> {
        let tokenizer = self.encoder.tokenizer();
        let mut stream = TextStream::default();
        let mut text = String::new();
        for token in tokens {
            text.push_str(&stream.push(tokenizer, *token)?);
        }
        text.push_str(&stream.finish(tokenizer)?);
        Ok(text)
    }
}
