//! Sentences and pairs as token ids, with the special tokens that a `tokenizer.json` puts around them.
use super::{GlueExample, GlueLabel};
use crate::tokenizer::library_error;
use crate::{DataError, Tokenizer};
use std::path::Path;
use tokenizers::{
    PostProcessor as _, TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};

/// An example as a model takes it, not padded.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedExample {
    /// Token ids, special tokens included.
    pub input_ids: Vec<i32>,
    /// 0 for the first sentence and, in models that tell them apart, 1 for the second.
    pub token_type_ids: Vec<i32>,
    /// What is to be predicted, where it is known.
    pub label: Option<GlueLabel>,
}

/// A tokenizer for sentences and pairs.
///
/// What a pair looks like (`[CLS] a [SEP] b [SEP]` in BERT's, `<s>a</s></s>b</s>` in RoBERTa's) stands in the
/// `tokenizer.json` itself. Padding and truncation that stand there too are replaced: texts are cut to the longest
/// length that was asked for, token by token from the longer of a pair, as transformers' `longest_first` does.
#[derive(Clone, Debug)]
pub struct PairEncoder {
    inner: tokenizers::Tokenizer,
    tokenizer: Tokenizer,
    pad_id: u32,
    max_length: usize,
}

impl PairEncoder {
    /// The tokenizer of a Hugging Face folder's `tokenizer.json`, cutting to `max_length` tokens.
    ///
    /// # Errors
    /// When the file cannot be read or is no tokenizer, or `max_length` has no room for its special tokens.
    pub fn from_file(path: &Path, max_length: usize) -> Result<Self, DataError> {
        Self::new(Tokenizer::from_file(path)?, max_length)
    }

    /// Puts sentences and pairs into `tokenizer`'s own form.
    ///
    /// # Errors
    /// When `max_length` has no room for the special tokens, and [`DataError::NoPadToken`] when nothing can fill rows.
    pub fn new(tokenizer: Tokenizer, max_length: usize) -> Result<Self, DataError> {
        let inner = tokenizer.inner().clone();
        if max_length <= added_tokens(&inner, true) + 1 {
            return Err(DataError::Config {
                field: "max_length",
                found: max_length.to_string(),
                expected: "room for the special tokens and two more",
            });
        }
        let pad_id = tokenizer.pad_id().ok_or_else(|| DataError::NoPadToken {
            tokenizer: tokenizer.label().to_owned(),
        })?;
        Ok(Self {
            inner,
            tokenizer,
            pad_id,
            max_length,
        })
    }

    /// The same for a model of `model_vocab_size` embeddings, as [`Tokenizer::fitted`].
    ///
    /// # Errors
    /// As [`Tokenizer::fitted`] and [`PairEncoder::new`].
    pub fn fitted(self, model_vocab_size: usize) -> Result<Self, DataError> {
        Self::new(self.tokenizer.fitted(model_vocab_size)?, self.max_length)
    }

    /// The tokenizer below.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Special tokens that are put around a single sentence.
    pub fn special_tokens(&self) -> usize {
        added_tokens(&self.inner, false)
    }

    /// What fills a row behind its text: a token that no text ends with.
    pub fn pad_id(&self) -> i32 {
        id(self.pad_id)
    }

    /// An example as token ids.
    ///
    /// # Errors
    /// When the tokenizer has no token for a part of the text, nor one for the unknown, or the model no embedding for one.
    pub fn encode(&self, example: &GlueExample) -> Result<EncodedExample, DataError> {
        let refused = |error: tokenizers::Error| library_error(self.tokenizer.label(), &*error);
        let first = self
            .inner
            .encode_fast(example.sentence.as_str(), false)
            .map_err(refused)?;
        let second = example
            .pair
            .as_deref()
            .map(|pair| self.inner.encode_fast(pair, false).map_err(refused))
            .transpose()?
            .map(|mut second| {
                second.set_type_ids(vec![1; second.len()]);
                second
            });
        // The library's own truncation first cuts each sentence to the whole length, and then no longer knows which of
        // the two was longer.
        let room = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: self.max_length - added_tokens(&self.inner, second.is_some()),
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let (first, second) = truncate_encodings(first, second, &room).map_err(refused)?;
        let encoding = self.inner.post_process(first, second, true).map_err(refused)?;
        self.tokenizer.check_ids(encoding.get_ids())?;
        Ok(EncodedExample {
            input_ids: encoding.get_ids().iter().copied().map(id).collect(),
            token_type_ids: encoding.get_type_ids().iter().copied().map(id).collect(),
            label: example.label,
        })
    }

    /// All of `examples`, in order.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_all(&self, examples: &[GlueExample]) -> Result<Vec<EncodedExample>, DataError> {
        examples.iter().map(|example| self.encode(example)).collect()
    }
}

fn added_tokens(inner: &tokenizers::Tokenizer, is_pair: bool) -> usize {
    inner
        .get_post_processor()
        .map_or(0, |form| form.added_tokens(is_pair))
}

fn id(id: u32) -> i32 {
    i32::try_from(id).expect("a tokenizer with ids beyond 2^24 is refused when it is read")
}
