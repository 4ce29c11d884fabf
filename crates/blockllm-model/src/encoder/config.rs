//! `EncoderConfig`: the shape of a BERT or RoBERTa under Hugging Face's names, validated in one place.

use crate::{Labels, ModelError};

/// Which of the two architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderKind {
    /// Positions from zero; the classifier reads the pooler.
    Bert,
    /// Positions behind the padding token's id; the classifier has a hidden layer of its own.
    Roberta,
}

impl EncoderKind {
    /// `bert` or `roberta`: the `model_type` in `config.json` and the prefix of the keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
        }
    }
}

/// Everything that fixes the shape and the arithmetic of an encoder and its head.
///
/// In JSON it is a Hugging Face `config.json`, of which keys that do not concern the model are passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// BERT or RoBERTa.
    pub kind: EncoderKind,
    /// Number of tokens `V`.
    pub vocab_size: usize,
    /// Width `D` of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads `H`.
    pub num_attention_heads: usize,
    /// Width `I` of the feed-forward layers.
    pub intermediate_size: usize,
    /// Rows of the position table; see [`max_length`](Self::max_length) for the longest text.
    pub max_position_embeddings: usize,
    /// Number of token types: 2 in BERT, 1 in RoBERTa.
    pub type_vocab_size: usize,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// Token that fills up a batch.
    pub pad_token_id: usize,
    /// Standard deviation of freshly drawn weights.
    pub initializer_range: f64,
    /// Share of the embeddings and of what layers add that is dropped in training.
    pub hidden_dropout_prob: f64,
    /// Share of the attention weights that is dropped in training.
    pub attention_probs_dropout_prob: f64,
    /// Share of the head's input that is dropped in training; `None` for `hidden_dropout_prob`.
    pub classifier_dropout: Option<f64>,
    /// The classes of the head.
    pub labels: Labels,
}

impl EncoderConfig {
    /// A configuration with these sizes, two classes, and the defaults of either kind: 512 positions for text,
    /// dropout 0.1; `layer_norm_eps` 1e-12, padding 0 and two token types for BERT, 1e-5, 1 and one for RoBERTa.
    pub fn new(
        kind: EncoderKind,
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
    ) -> Self {
        let (positions, types, epsilon, padding) = match kind {
            EncoderKind::Bert => (512, 2, 1e-12, 0),
            EncoderKind::Roberta => (514, 1, 1e-5, 1),
        };
        Self {
            kind,
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            max_position_embeddings: positions,
            type_vocab_size: types,
            layer_norm_eps: epsilon,
            pad_token_id: padding,
            initializer_range: 0.02,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            labels: Labels::numbered(2),
        }
    }

    /// The same with these classes.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// The same with one share dropped everywhere; 0 makes training repeatable on every backend.
    #[must_use]
    pub fn with_dropout(mut self, share: f64) -> Self {
        self.hidden_dropout_prob = share;
        self.attention_probs_dropout_prob = share;
        self.classifier_dropout = None;
        self
    }

    /// The longest text in tokens.
    pub fn max_length(&self) -> usize {
        match self.kind {
            EncoderKind::Bert => self.max_position_embeddings,
            EncoderKind::Roberta => self.max_position_embeddings - self.pad_token_id - 1,
        }
    }

    /// The exact number of parameters with the classification head (BERT's pooler included).
    pub fn num_parameters(&self) -> u64 {
        let [d, classes] = [self.hidden_size, self.labels.count()].map(|n| n as u64);
        // BERT's pooler and RoBERTa's hidden layer of the head are of one size.
        self.num_base_parameters(false) + d * d + d + d * classes + classes
    }

    /// The exact number of parameters below the head, with a pooler or without.
    pub fn num_base_parameters(&self, pooler: bool) -> u64 {
        let [d, i] = [self.hidden_size, self.intermediate_size].map(|n| n as u64);
        let rows = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size) as u64;
        let layer = 4 * (d * d + d) + 2 * d * i + i + d + 4 * d;
        let pooler = if pooler { d * d + d } else { 0 };
        rows * d + 2 * d + self.num_hidden_layers as u64 * layer + pooler
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as("EncoderConfig")
    }

    /// [`validate`](Self::validate), naming `origin` (a file) in the error.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        self.validate_positive(origin)?;
        self.validate_shares(origin)?;
        let heads = self.num_attention_heads;
        if !self.hidden_size.is_multiple_of(heads) {
            let mend = "choose a width that the heads divide";
            let expected = format!("a multiple of {heads} heads");
            return Err(ModelError::config(
                origin,
                "hidden_size",
                expected,
                self.hidden_size,
                mend,
            ));
        }
        if self.pad_token_id >= self.vocab_size {
            let (expected, found) = (format!("less than {}", self.vocab_size), self.pad_token_id);
            let mend = "name a token of this vocabulary, or enlarge `vocab_size`";
            return Err(ModelError::config(origin, "pad_token_id", expected, found, mend));
        }
        if self.kind == EncoderKind::Roberta && self.max_position_embeddings <= self.pad_token_id + 1 {
            let expected = format!("more than {} (`pad_token_id` + 1)", self.pad_token_id + 1);
            let (found, mend) = (
                self.max_position_embeddings,
                "RoBERTa's positions begin there: enlarge it",
            );
            return Err(ModelError::config(
                origin,
                "max_position_embeddings",
                expected,
                found,
                mend,
            ));
        }
        Ok(())
    }

    /// Checks that every size and constant that must be positive is.
    fn validate_positive(&self, origin: &str) -> Result<(), ModelError> {
        let fields = [
            ("vocab_size", self.vocab_size as f64),
            ("hidden_size", self.hidden_size as f64),
            ("num_hidden_layers", self.num_hidden_layers as f64),
            ("num_attention_heads", self.num_attention_heads as f64),
            ("intermediate_size", self.intermediate_size as f64),
            ("max_position_embeddings", self.max_position_embeddings as f64),
            ("type_vocab_size", self.type_vocab_size as f64),
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ];
        let bad = |(_, value): &(&str, f64)| !value.is_finite() || *value <= 0.0;
        match fields.into_iter().find(bad) {
            None => Ok(()),
            Some((field, value)) => {
                let mend = "give it a positive, finite value";
                Err(ModelError::config(origin, field, "more than zero", value, mend))
            }
        }
    }

    /// Checks that every dropout is a share.
    fn validate_shares(&self, origin: &str) -> Result<(), ModelError> {
        let fields = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout.unwrap_or(0.0)),
        ];
        match fields.into_iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            None => Ok(()),
            Some((field, share)) => {
                let mend = "give the share to drop, 0 for none";
                Err(ModelError::config(
                    origin,
                    field,
                    "0 or more and below 1",
                    share,
                    mend,
                ))
            }
        }
    }
}
