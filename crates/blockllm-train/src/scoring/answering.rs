//! Answers that a model generates itself, the likeliest token every time, until it says that it is done.
use crate::TrainError;
use blockllm_data::TextStream;
use blockllm_data::tasks::{ContinuationEncoder, before_stops};
use blockllm_model::llama::{GenerateConfig, LlamaForCausalLM};

/// Tokens between looks at whether answers have ended: each look costs one reading of their contexts.
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

/// An answer that is being generated.
struct Growing {
    /// Which of the answers.
    row: usize,
    tokens: Vec<u32>,
    /// Tokens of its context.
    begin: usize,
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

    /// What the model says behind every context, which is cut on its left where it is too long: up to where GSM8K's task stops.
    ///
    /// # Errors
    /// When the tokenizer refuses, or the weights give no numbers.
    pub fn answers(&self, contexts: &[String]) -> Result<Vec<String>, TrainError> {
        let mut answers = vec![String::new(); contexts.len()];
        let begin = |(row, context): (usize, &String)| self.begin(row, context);
        let mut growing = contexts
            .iter()
            .enumerate()
            .map(begin)
            .collect::<Result<Vec<_>, _>>()?;
        let mut left = self.max_new_tokens;
        while !growing.is_empty() {
            let piece = left.min(PIECE);
            let config = GenerateConfig::greedy(piece).with_stop_at(self.ends.clone());
            let prompts: Vec<&[u32]> = growing.iter().map(|text| text.tokens.as_slice()).collect();
            let longer = self.model.generate_batch(&prompts, &config)?;
            left -= piece;
            let mut open = Vec::new();
            for (mut text, tokens) in growing.into_iter().zip(longer) {
                text.tokens = tokens;
                match self.ended(&text, left)? {
                    Some(answer) => answers[text.row] = answer,
                    None => open.push(text),
                }
            }
            growing = open;
        }
        Ok(answers)
    }

    /// An answer of which there is only the context.
    fn begin(&self, row: usize, context: &str) -> Result<Growing, TrainError> {
        let mut tokens = self.encoder.encode(context)?;
        let room = self.model.model.rotary_emb.num_positions() - self.max_new_tokens;
        let mut tokens = tokens.split_off(tokens.len().saturating_sub(room));
        if tokens.is_empty() {
            tokens.push(self.encoder.prefix()?);
        }
        let begin = tokens.len();
        Ok(Growing { row, tokens, begin })
    }

    /// The whole answer, if it has ended; it has when no token is left.
    fn ended(&self, text: &Growing, left: usize) -> Result<Option<String>, TrainError> {
        let said = self.text(&text.tokens[text.begin..])?;
        let answer = before_stops(&said, &self.end_text);
        let has_end = text.tokens.last().is_some_and(|token| self.ends.contains(token));
        let has_ended = has_end || answer.len() < said.len() || left == 0;
        Ok(has_ended.then(|| answer.to_owned()))
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
