//! Fresh encoders: every matrix drawn by [`Fresh`], zeros for biases, ones for the scales of norms.

use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Device;

use super::attention::{EncoderAttention, EncoderSelfAttention};
use super::classifier::{ClassificationHead, EncoderForSequenceClassification};
use super::config::{EncoderConfig, EncoderKind};
use super::embeddings::EncoderEmbeddings;
use super::layer::{EncoderLayer, Intermediate};
use super::layer_norm::LayerNorm;
use super::model::{EncoderModel, EncoderStack, Pooler};
use super::residual_output::ResidualOutput;
use crate::init::{Fresh, materialize};

/// Random streams of the head begin here, so that the head of one seed does not depend on the layers below it.
const HEAD_STREAM: u64 = 1 << 32;

impl EncoderConfig {
    /// A classifier with fresh weights: normal with standard deviation `initializer_range`, biases of zero.
    ///
    /// The same seed gives the same weights on every backend. All parameters require gradients when `device` is an
    /// autodiff device.
    pub fn init(&self, seed: u64, device: &Device) -> EncoderForSequenceClassification {
        let model = self.init_lazy(seed, device);
        materialize(&model);
        model
    }

    /// [`init`](Self::init) without the head, with a pooler or without.
    pub fn init_base(&self, pooler: bool, seed: u64, device: &Device) -> EncoderModel {
        let model = self.init_base_lazy(pooler, seed, device);
        materialize(&model);
        model
    }

    /// A classifier whose weights are drawn when first touched, so that loading a folder draws only what it lacks.
    pub(crate) fn init_lazy(&self, seed: u64, device: &Device) -> EncoderForSequenceClassification {
        let roberta = self.kind == EncoderKind::Roberta;
        let width = self.hidden_size;
        let base = self.init_base_lazy(!roberta, seed, device);
        let mut fresh = Fresh::new(seed, self.initializer_range, device).at_stream(HEAD_STREAM + 1);
        let classifier = ClassificationHead {
            dense: roberta.then(|| fresh.biased_linear(width, width)),
            out_proj: fresh.biased_linear(width, self.labels.count()),
            dropout: dropout(self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)),
        };
        EncoderForSequenceClassification { base, classifier }
    }

    /// [`init_base`](Self::init_base), drawn when first touched.
    pub(crate) fn init_base_lazy(&self, pooler: bool, seed: u64, device: &Device) -> EncoderModel {
        let mut fresh = Fresh::new(seed, self.initializer_range, device);
        let width = self.hidden_size;
        let embeddings = EncoderEmbeddings {
            word_embeddings: fresh.embedding(self.vocab_size, width),
            position_embeddings: fresh.embedding(self.max_position_embeddings, width),
            token_type_embeddings: fresh.embedding(self.type_vocab_size, width),
            layer_norm: self.init_norm(&fresh),
            dropout: dropout(self.hidden_dropout_prob),
            position_padding: (self.kind == EncoderKind::Roberta).then_some(self.pad_token_id),
        };
        let layers = (0..self.num_hidden_layers).map(|_| self.init_layer(&mut fresh));
        let encoder = EncoderStack {
            layer: layers.collect(),
        };
        let mut fresh = fresh.at_stream(HEAD_STREAM);
        let pooler = pooler.then(|| Pooler {
            dense: fresh.biased_linear(width, width),
        });
        EncoderModel {
            embeddings,
            encoder,
            pooler,
        }
    }

    /// One layer.
    fn init_layer(&self, fresh: &mut Fresh) -> EncoderLayer {
        let (width, wide) = (self.hidden_size, self.intermediate_size);
        EncoderLayer {
            attention: EncoderAttention {
                self_attention: EncoderSelfAttention {
                    query: fresh.biased_linear(width, width),
                    key: fresh.biased_linear(width, width),
                    value: fresh.biased_linear(width, width),
                    dropout: dropout(self.attention_probs_dropout_prob),
                    num_heads: self.num_attention_heads,
                },
                output: self.init_output(width, fresh),
            },
            intermediate: Intermediate {
                dense: fresh.biased_linear(width, wide),
            },
            output: self.init_output(wide, fresh),
        }
    }

    /// A projection of `inputs` numbers back into the residual stream.
    fn init_output(&self, inputs: usize, fresh: &mut Fresh) -> ResidualOutput {
        ResidualOutput {
            dense: fresh.biased_linear(inputs, self.hidden_size),
            layer_norm: self.init_norm(fresh),
            dropout: dropout(self.hidden_dropout_prob),
        }
    }

    /// One norm.
    fn init_norm(&self, fresh: &Fresh) -> LayerNorm {
        LayerNorm {
            weight: fresh.constant(self.hidden_size, 1.0),
            bias: fresh.constant(self.hidden_size, 0.0),
            epsilon: self.layer_norm_eps,
        }
    }
}

/// Dropout of a share that the configuration has checked.
fn dropout(share: f64) -> Dropout {
    DropoutConfig::new(share).init()
}
