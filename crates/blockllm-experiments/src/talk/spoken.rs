//! An answer on its way to the terminal: tokens become text as they come, and are counted.
use anyhow::Result;
use blockllm_data::{TextStream, Tokenizer};
use std::fmt;
use std::time::Instant;

/// An answer that is being said.
#[derive(Debug)]
pub struct Spoken<'t> {
    tokenizer: &'t Tokenizer,
    ends: Vec<u32>,
    stream: TextStream,
    text: String,
    tokens: u64,
    began: Instant,
}

/// How fast it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Tokens that were chosen, the last one included.
    pub tokens: u64,
    /// In so many seconds, those for the prompt included.
    pub seconds: f64,
}

impl<'t> Spoken<'t> {
    /// One that ends at any of `ends`, which have no text.
    pub fn new(tokenizer: &'t Tokenizer, ends: &[u32]) -> Self {
        Self {
            tokenizer,
            ends: ends.to_vec(),
            stream: TextStream::default(),
            text: String::new(),
            tokens: 0,
            began: Instant::now(),
        }
    }

    /// The same, going on with the text of `ids`.
    ///
    /// # Errors
    /// When the tokenizer has no text for one of them.
    pub fn after(mut self, ids: &[u32]) -> Result<Self> {
        self.stream = TextStream::after(self.tokenizer, ids)?;
        Ok(self)
    }

    /// Adds a token, and gives what it adds to the text.
    ///
    /// # Errors
    /// When the tokenizer has no text for it.
    pub fn hear(&mut self, token: u32) -> Result<String> {
        self.tokens += 1;
        if self.ends.contains(&token) {
            return Ok(String::new());
        }
        let added = self.stream.push(self.tokenizer, token)?;
        self.text += &added;
        Ok(added)
    }

    /// The whole text, what was held back at its end, and the pace.
    ///
    /// # Errors
    /// As [`hear`](Self::hear).
    pub fn finish(mut self) -> Result<(String, String, Pace)> {
        let rest = self.stream.finish(self.tokenizer)?;
        self.text += &rest;
        let pace = Pace {
            tokens: self.tokens,
            seconds: self.began.elapsed().as_secs_f64(),
        };
        Ok((self.text, rest, pace))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, seconds } = *self;
        write!(
            formatter,
            "{tokens} tokens in {seconds:.1} s, {:.1} tokens/s",
            tokens as f64 / seconds.max(1e-9)
        )
    }
}
