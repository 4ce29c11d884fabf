//! Tokens of a text and of what may go on with it, parted as the harness does.

use std::sync::Arc;

use super::python_text::rstrip;
use crate::{DataError, Tokenizer};

/// Tokens of a context and of its continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTokens {
    /// What is given: at least one token.
    pub context: Vec<u32>,
    /// What is scored. May be empty where a token reaches over the whole of it.
    pub continuation: Vec<u32>,
}

/// Encodes contexts with their continuations as the harness' `HFLM` does.
///
/// Special tokens stand before a text where the tokenizer puts them there by itself (Llama's `<s>`), and not where the text
/// begins with one already: the harness' `add_bos_token` when it is not given.
#[derive(Debug, Clone)]
pub struct ContinuationEncoder {
    tokenizer: Arc<Tokenizer>,
    prefix: Option<u32>,
    prefix_text: String,
}

impl ContinuationEncoder {
    /// One for a model's tokenizer.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when it cannot write its own token.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, DataError> {
        let prefix = tokenizer.bos_id().or(tokenizer.eos_id());
        let prefix_text = prefix.map_or(Ok(String::new()), |id| tokenizer.decode(&[id]))?;
        Ok(Self {
            tokenizer,
            prefix,
            prefix_text,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The token that stands before a text that has nothing before it: the one that begins texts, else the one that ends them.
    ///
    /// # Errors
    /// [`DataError::NoEndToken`] when neither is known.
    pub fn prefix(&self) -> Result<u32, DataError> {
        match self.prefix {
            Some(prefix) => Ok(prefix),
            None => self.tokenizer.document_form().map(|form| form.end),
        }
    }

    /// The tokens of a text, with special ones before it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let has_prefix = !self.prefix_text.is_empty() && text.starts_with(&self.prefix_text);
        let mut ids = if has_prefix {
            Vec::new()
        } else {
            self.tokenizer.before().to_vec()
        };
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }

    /// The tokens of `context` and `continuation`: those of both together, cut behind as many as the context alone has. Spaces at
    /// the context's end belong to the continuation.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and [`prefix`](Self::prefix) for an empty context.
    pub fn encode_pair(&self, context: &str, continuation: &str) -> Result<PairTokens, DataError> {
        if context.is_empty() {
            return self.encode_alone(continuation);
        }
        let kept = rstrip(context);
        let mut head = self.encode(kept)?;
        let mut whole = self.encode(&format!("{context}{continuation}"))?;
        let continuation = whole.split_off(head.len().min(whole.len()));
        if head.is_empty() {
            // Of spaces alone, where the harness stops.
            head.push(self.prefix()?);
        }
        Ok(PairTokens {
            context: head,
            continuation,
        })
    }

    /// A continuation of nothing: behind the prefix, or behind its own first token where that is the prefix.
    fn encode_alone(&self, text: &str) -> Result<PairTokens, DataError> {
        let prefix = self.prefix()?;
        let mut continuation = self.tokenizer.encode(text)?;
        if continuation.first() == Some(&prefix) {
            continuation.remove(0);
        }
        Ok(PairTokens {
            context: vec![prefix],
            continuation,
        })
    }
}
