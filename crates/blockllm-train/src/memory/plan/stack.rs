//! Models as a plan sees them: embedding, layers and head, each a sequence of operations on the tape.
//!
//! The sequences are those of the modules in `blockllm-model`, with the same order of moves and copies.

use super::head::cross_entropy;
use super::tape::{AttentionSizes, NodeId, Tape, Value};
use blockllm_model::encoder::{EncoderConfig, EncoderKind};
use blockllm_model::llama::{LlamaConfig, RotaryEmbedding};
use blockllm_model::{LossOptions, ParameterShape};
use std::collections::BTreeMap;

/// A model by its configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelShape {
    /// A Llama that predicts tokens.
    Llama(LlamaConfig),
    /// A Llama that sorts texts into this many classes.
    LlamaClassifier(LlamaConfig, usize),
    /// A BERT or RoBERTa that sorts texts.
    Encoder(EncoderConfig),
}

impl ModelShape {
    /// Its parameters, in visiting order.
    pub fn parameters(&self) -> Vec<ParameterShape> {
        match self {
            Self::Llama(config) => config.parameter_shapes(),
            Self::LlamaClassifier(config, labels) => config.classifier_parameter_shapes(*labels),
            Self::Encoder(config) => config.parameter_shapes(),
        }
    }

    /// Entries of all parameters.
    pub fn num_parameters(&self) -> u64 {
        self.parameters().iter().map(ParameterShape::numel).sum()
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        match self {
            Self::Llama(config) | Self::LlamaClassifier(config, _) => config.num_hidden_layers,
            Self::Encoder(config) => config.num_hidden_layers,
        }
    }

    /// Whether the output head is the embedding matrix itself.
    pub(super) fn is_tied(&self) -> bool {
        matches!(self, Self::Llama(config) if config.tie_word_embeddings)
    }

    /// Bytes of constants beside the parameters: the tables of rotary positions of rows of `length` tokens.
    pub(super) fn table_bytes(&self, length: u64) -> u64 {
        match self {
            Self::Llama(config) | Self::LlamaClassifier(config, _) => {
                // A scaling may stretch the positions by any number.
                let positions = config.num_positions().min(1 << 40);
                let length = usize::try_from(length).map_or(positions, |length| length.min(positions));
                let rows = RotaryEmbedding::rows_for(length, positions);
                4 * rows as u64 * (config.head_dim as u64 / 2) * 2
            }
            Self::Encoder(_) => 0,
        }
    }
}

/// What stands before the number of a layer.
const LAYERS: [&str; 2] = ["model.layers.", "base.encoder.layer."];

/// Where a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Below,
    Layer(usize),
    Above,
}

impl Place {
    /// That of the parameter at `path`.
    pub fn of(path: &str) -> Self {
        let layer = LAYERS.iter().find_map(|mark| path.strip_prefix(mark));
        if let Some(layer) = layer.and_then(|rest| rest.split('.').next()?.parse().ok()) {
            return Self::Layer(layer);
        }
        if path.contains("embed") {
            Self::Below
        } else {
            Self::Above
        }
    }

    /// What stands behind the layer's number in `path`; all of it where there is none.
    pub fn within(path: &str) -> &str {
        let behind = |mark: &&str| path.strip_prefix(*mark)?.split_once('.');
        LAYERS.iter().find_map(behind).map_or(path, |(_, rest)| rest)
    }
}

/// Rows and tokens of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    pub rows: u64,
    pub tokens: u64,
}

impl BatchSize {
    /// Entries of so many for each token.
    fn entries(self, width: u64) -> u64 {
        self.rows.saturating_mul(self.tokens).saturating_mul(width)
    }
}

/// A model with the positions of its parameters on the tape.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    pub shape: &'a ModelShape,
    pub batch: BatchSize,
    pub options: LossOptions,
    /// Where each parameter is, by path.
    pub positions: BTreeMap<String, usize>,
}

impl Stack<'_> {
    /// The first hidden states.
    pub fn embed(&self, tape: &mut Tape) -> Value {
        match self.shape {
            ModelShape::Llama(config) | ModelShape::LlamaClassifier(config, _) => {
                let table = self.plain(tape, "model.embed_tokens.weight");
                tape.rows(table, self.batch.entries(config.hidden_size as u64))
            }
            ModelShape::Encoder(config) => self.embed_encoder(tape, config),
        }
    }

    /// Layer `index`.
    pub fn layer(&self, tape: &mut Tape, index: usize, hidden: Value) -> Value {
        match self.shape {
            ModelShape::Llama(config) | ModelShape::LlamaClassifier(config, _) => {
                self.decoder_layer(tape, config, index, hidden)
            }
            ModelShape::Encoder(config) => self.encoder_layer(tape, config, index, hidden),
        }
    }

    /// Everything above the layers and the loss, whose node is returned.
    pub fn loss(&self, tape: &mut Tape, hidden: Value) -> Option<NodeId> {
        match self.shape {
            ModelShape::Llama(config) => {
                let hidden = self.norm(tape, "model.norm", hidden);
                let head = if config.tie_word_embeddings {
                    self.plain(tape, "model.embed_tokens.weight")
                } else {
                    self.plain(tape, "lm_head.weight")
                };
                cross_entropy(tape, hidden, head, config.vocab_size as u64, self.options)
            }
            ModelShape::LlamaClassifier(config, labels) => {
                let hidden = self.norm(tape, "model.norm", hidden);
                let last = tape.part(hidden, self.batch.rows.saturating_mul(config.hidden_size as u64));
                self.score(tape, "score", last, *labels as u64)
            }
            ModelShape::Encoder(config) => {
                let width = config.hidden_size as u64;
                let first = tape.part(hidden, self.batch.rows.saturating_mul(width));
                let dense = match config.kind {
                    EncoderKind::Bert => "base.pooler.dense",
                    EncoderKind::Roberta => "classifier.dense",
                };
                let text = self.linear(tape, dense, first, width);
                self.score(tape, "classifier.out_proj", text, config.labels.count() as u64)
            }
        }
    }

    /// A few logits, of which no more is to be said.
    fn score(&self, tape: &mut Tape, path: &str, text: Value, classes: u64) -> Option<NodeId> {
        let logits = self.linear(tape, path, text, classes);
        tape.forget(logits);
        logits.node
    }

    fn decoder_layer(&self, tape: &mut Tape, config: &LlamaConfig, index: usize, hidden: Value) -> Value {
        let at = |name: &str| format!("model.layers.{index}.{name}");
        let width = config.hidden_size as u64;
        let [queries_width, keys_width] = [config.num_attention_heads, config.num_key_value_heads]
            .map(|heads| (heads * config.head_dim) as u64);
        let residual = tape.share(hidden);
        let normed = self.norm(tape, &at("input_layernorm"), hidden);
        let [for_keys, for_values] = [tape.share(normed), tape.share(normed)];
        let queries = self.linear(tape, &at("self_attn.q_proj"), normed, queries_width);
        let keys = self.linear(tape, &at("self_attn.k_proj"), for_keys, keys_width);
        let values = self.linear(tape, &at("self_attn.v_proj"), for_values, keys_width);
        let (queries, keys) = (tape.in_place(queries), tape.in_place(keys));
        let sizes = self.attention_sizes(config.num_attention_heads);
        let gathered = tape.attention([queries, keys, values], sizes);
        let attended = self.linear(tape, &at("self_attn.o_proj"), gathered, width);
        let hidden = tape.add(residual, attended);
        let residual = tape.share(hidden);
        let normed = self.norm(tape, &at("post_attention_layernorm"), hidden);
        let wide = config.intermediate_size as u64;
        let for_up = tape.share(normed);
        let gate = self.linear(tape, &at("mlp.gate_proj"), normed, wide);
        let up = self.linear(tape, &at("mlp.up_proj"), for_up, wide);
        let unit = tape.swiglu(gate, up);
        let down = self.linear(tape, &at("mlp.down_proj"), unit, width);
        tape.add(residual, down)
    }

    fn embed_encoder(&self, tape: &mut Tape, config: &EncoderConfig) -> Value {
        let width = config.hidden_size as u64;
        let all = self.batch.entries(width);
        let table = |name: &str| format!("base.embeddings.{name}.weight");
        let words = self.plain(tape, &table("word_embeddings"));
        let words = tape.rows(words, all);
        let places = self.plain(tape, &table("position_embeddings"));
        let places = match config.kind {
            EncoderKind::Bert => tape.part(places, self.batch.tokens.saturating_mul(width)),
            EncoderKind::Roberta => tape.rows(places, all),
        };
        let types = self.plain(tape, &table("token_type_embeddings"));
        let types = if config.type_vocab_size > 1 {
            tape.rows(types, all)
        } else {
            tape.part(types, width)
        };
        let sum = tape.add(words, types);
        let sum = tape.add(sum, places);
        let normed = self.layer_norm(tape, "base.embeddings", sum);
        tape.in_place(normed)
    }

    fn encoder_layer(&self, tape: &mut Tape, config: &EncoderConfig, index: usize, hidden: Value) -> Value {
        let at = |name: &str| format!("base.encoder.layer.{index}.{name}");
        let (width, wide) = (config.hidden_size as u64, config.intermediate_size as u64);
        let residual = tape.share(hidden);
        let [for_keys, for_values] = [tape.share(hidden), tape.share(hidden)];
        let queries = self.linear(tape, &at("attention.self_attention.query"), hidden, width);
        let keys = self.linear(tape, &at("attention.self_attention.key"), for_keys, width);
        let values = self.linear(tape, &at("attention.self_attention.value"), for_values, width);
        let sizes = self.attention_sizes(config.num_attention_heads);
        let gathered = tape.attention([queries, keys, values], sizes);
        let attended = self.residual_output(tape, &at("attention.output"), gathered, residual, width);
        let residual = tape.share(attended);
        let widened = self.linear(tape, &at("intermediate.dense"), attended, wide);
        let widened = tape.activation_function(widened);
        self.residual_output(tape, &at("output"), widened, residual, width)
    }

    fn residual_output(&self, tape: &mut Tape, path: &str, x: Value, residual: Value, width: u64) -> Value {
        let added = self.linear(tape, &format!("{path}.dense"), x, width);
        let added = tape.in_place(added);
        let sum = tape.add(added, residual);
        self.layer_norm(tape, path, sum)
    }

    fn attention_sizes(&self, heads: usize) -> AttentionSizes {
        AttentionSizes {
            seen: self.batch.tokens,
            rows: self.batch.entries(heads as u64),
        }
    }

    /// A parameter as it is.
    fn plain(&self, tape: &mut Tape, path: &str) -> Value {
        tape.parameter(self.positions[path])
    }

    fn linear(&self, tape: &mut Tape, layer: &str, x: Value, outputs: u64) -> Value {
        let path = format!("{layer}.weight");
        let factor = |name: &str| self.positions.get(&format!("{path}.lora.{name}"));
        let weight = self.plain(tape, &path);
        let weight = match (factor("a"), factor("b")) {
            (Some(a), Some(b)) => {
                let factors = [*a, *b].map(|position| tape.parameter(position));
                tape.adapted(weight, factors)
            }
            _ => weight,
        };
        let bias = self.positions.get(&format!("{layer}.bias"));
        let bias = bias.map(|position| tape.parameter(*position));
        tape.linear(x, weight, bias, outputs)
    }

    fn norm(&self, tape: &mut Tape, path: &str, x: Value) -> Value {
        let weight = self.plain(tape, &format!("{path}.weight"));
        tape.norm(x, [Some(weight), None])
    }

    fn layer_norm(&self, tape: &mut Tape, beside: &str, x: Value) -> Value {
        let parameters =
            ["weight", "bias"].map(|name| Some(self.plain(tape, &format!("{beside}.layer_norm.{name}"))));
        tape.norm(x, parameters)
    }
}
