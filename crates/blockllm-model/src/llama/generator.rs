//! `Generator`: one text that grows, by tokens that are given and tokens that are chosen, and is computed once.

use super::causal_lm::LlamaForCausalLM;
use super::decoder::{Decoder, no_tokens};
use super::generate_config::GenerateConfig;
use super::sampling::Chooser;
use crate::ModelError;

/// What errors name.
const ORIGIN: &str = "Generator";

/// A text and what the model has computed of it: the way to stream an answer, and to hold a conversation without computing the past
/// again.
///
/// ```
/// use blockllm_model::llama::{GenerateConfig, Generator, LlamaConfig};
/// use burn::tensor::Device;
///
/// let model = LlamaConfig::new(96, 32, 40, 2, 4).init(0, &Device::flex());
/// let mut text = Generator::new(&model);
/// text.push(&[1, 5, 9])?;
/// for token in text.stream(&GenerateConfig::greedy(8))? {
///     if token? == 2 {
///         break; // whoever reads may stop: the text goes on from here
///     }
/// }
/// text.push(&[7, 7])?; // the next turn: only these and the last token of the answer are computed
/// let answer: Result<Vec<u32>, _> = text.stream(&GenerateConfig::greedy(4))?.collect();
/// assert_eq!(text.tokens().len() - answer?.len(), text.tokens().len() - 4);
/// # Ok::<(), blockllm_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Generator<'m> {
    decoder: Decoder<'m>,
    tokens: Vec<u32>,
}

/// Tokens as they are chosen; each is part of the text when it is handed out. It ends after a token of
/// [`stop_at`](GenerateConfig::stop_at), after [`max_new_tokens`](GenerateConfig::max_new_tokens), and after an error.
#[derive(Debug)]
pub struct TokenStream<'g, 'm> {
    generator: &'g mut Generator<'m>,
    chooser: Chooser,
    left: usize,
}

impl<'m> Generator<'m> {
    /// An empty text, on the device that holds the weights.
    ///
    /// Use a model without autodiff (`model.valid()`) to keep no graph.
    pub fn new(model: &'m LlamaForCausalLM) -> Self {
        Self {
            decoder: Decoder::new(model, 1),
            tokens: Vec::new(),
        }
    }

    /// The whole text, given and chosen.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens can be added before the positions of the model run out.
    pub fn positions_left(&self) -> usize {
        self.decoder.num_positions().saturating_sub(self.tokens.len())
    }

    /// Adds tokens to the text. They are computed with the next choice.
    ///
    /// # Errors
    ///
    /// When a token is outside of the vocabulary, or there are not [positions](Self::positions_left) enough; the text is then as it
    /// was.
    pub fn push(&mut self, tokens: &[u32]) -> Result<(), ModelError> {
        self.decoder.check_tokens(tokens, ORIGIN, "tokens")?;
        let (found, expected) = (self.tokens.len() + tokens.len(), self.decoder.num_positions());
        if found > expected {
            return Err(ModelError::TooLong { expected, found });
        }
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }

    /// Shortens the text to its first `length` tokens, if it has more; what is computed of them stays.
    pub fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
        self.decoder.truncate(length);
    }

    /// Makes `tokens` the text; returns how many at its beginning are those of the text before, and are not computed again.
    ///
    /// It serves a chat whose template writes the whole conversation anew with every turn.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); the text is then what both have in common.
    pub fn set_tokens(&mut self, tokens: &[u32]) -> Result<usize, ModelError> {
        let pairs = self.tokens.iter().zip(tokens);
        let common = pairs.take_while(|(old, new)| old == new).count();
        self.truncate(common);
        self.push(&tokens[common..])?;
        Ok(common)
    }

    /// The logits of the token that would follow the text, `V` of them: for a choice of your own, which [`push`](Self::push) takes.
    ///
    /// Every token is computed once; without a new one since the last call, the last alone is computed again.
    ///
    /// # Errors
    ///
    /// When the text is empty, or the weights give logits that are no numbers.
    pub fn next_logits(&mut self) -> Result<Vec<f32>, ModelError> {
        let Some(last) = self.tokens.len().checked_sub(1) else {
            return Err(no_tokens(ORIGIN, "tokens"));
        };
        self.decoder.truncate(last);
        let new = &self.tokens[self.decoder.len_of(0)..];
        let mut logits = self.decoder.feed(&[new])?;
        Ok(logits
            .pop()
            .expect("there is a row of logits for the one row of tokens"))
    }

    /// Chooses tokens one by one and adds them to the text. A draw depends on seed and place in the text alone, so that a text that
    /// was cut and goes on draws the same again.
    ///
    /// When the positions run out, the stream's next item is [`ModelError::TooLong`].
    ///
    /// # Errors
    ///
    /// When a field of `config` is senseless, or the text is empty.
    pub fn stream(&mut self, config: &GenerateConfig) -> Result<TokenStream<'_, 'm>, ModelError> {
        config.validate()?;
        if self.tokens.is_empty() {
            return Err(no_tokens(ORIGIN, "tokens"));
        }
        Ok(TokenStream {
            chooser: Chooser::new(config, 0, &self.tokens),
            left: config.max_new_tokens,
            generator: self,
        })
    }
}

impl TokenStream<'_, '_> {
    fn choose(&mut self) -> Result<u32, ModelError> {
        let text = &mut *self.generator;
        if !self.chooser.config().use_cache {
            text.decoder.clear();
        }
        let logits = text.next_logits()?;
        let token = self.chooser.choose(logits, text.tokens.len());
        text.tokens.push(token);
        Ok(token)
    }
}

impl Iterator for TokenStream<'_, '_> {
    type Item = Result<u32, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let token = self.choose();
        let ends = |token: &u32| self.chooser.config().stop_at.contains(token);
        if token.as_ref().map_or(true, ends) {
            self.left = 0;
        }
        Some(token)
    }
}
