//! The linear layers and embeddings of our models by path: what adapters can be on.

use burn::nn::{Embedding, Linear};

use crate::encoder::{EncoderForSequenceClassification, EncoderLayer};
use crate::llama::{LlamaDecoderLayer, LlamaForCausalLM, LlamaForSequenceClassification};

/// A model that knows its matrices.
pub trait Linears {
    /// Every linear layer with its path, in the order of the model.
    fn linears(&self) -> Vec<(String, &Linear)>;

    /// Every embedding with its path.
    fn embeddings(&self) -> Vec<(&'static str, &Embedding)>;
}

impl Linears for LlamaForCausalLM {
    fn linears(&self) -> Vec<(String, &Linear)> {
        let layers = of_decoder(&self.model.layers);
        let head = self.lm_head.as_ref().map(|head| ("lm_head".to_owned(), head));
        layers.chain(head).collect()
    }

    fn embeddings(&self) -> Vec<(&'static str, &Embedding)> {
        vec![("model.embed_tokens", &self.model.embed_tokens)]
    }
}

impl Linears for LlamaForSequenceClassification {
    fn linears(&self) -> Vec<(String, &Linear)> {
        let head = ("score".to_owned(), &self.score);
        of_decoder(&self.model.layers).chain([head]).collect()
    }

    fn embeddings(&self) -> Vec<(&'static str, &Embedding)> {
        vec![("model.embed_tokens", &self.model.embed_tokens)]
    }
}

impl Linears for EncoderForSequenceClassification {
    fn linears(&self) -> Vec<(String, &Linear)> {
        let layers = self.base.encoder.layer.iter().enumerate();
        let layers = layers.flat_map(|(number, layer)| {
            of_encoder_layer(layer)
                .map(|(name, linear)| (format!("base.encoder.layer.{number}.{name}"), linear))
        });
        let pooler = self.base.pooler.as_ref();
        let pooler = pooler.map(|pooler| ("base.pooler.dense".to_owned(), &pooler.dense));
        let head = &self.classifier;
        let dense = head
            .dense
            .as_ref()
            .map(|dense| ("classifier.dense".to_owned(), dense));
        let out = ("classifier.out_proj".to_owned(), &head.out_proj);
        layers.chain(pooler).chain(dense).chain([out]).collect()
    }

    fn embeddings(&self) -> Vec<(&'static str, &Embedding)> {
        let embeddings = &self.base.embeddings;
        vec![
            ("base.embeddings.word_embeddings", &embeddings.word_embeddings),
            (
                "base.embeddings.position_embeddings",
                &embeddings.position_embeddings,
            ),
            (
                "base.embeddings.token_type_embeddings",
                &embeddings.token_type_embeddings,
            ),
        ]
    }
}

fn of_decoder(layers: &[LlamaDecoderLayer]) -> impl Iterator<Item = (String, &Linear)> {
    layers.iter().enumerate().flat_map(|(number, layer)| {
        let (attention, mlp) = (&layer.self_attn, &layer.mlp);
        let of_layer = [
            ("self_attn.q_proj", &attention.q_proj),
            ("self_attn.k_proj", &attention.k_proj),
            ("self_attn.v_proj", &attention.v_proj),
            ("self_attn.o_proj", &attention.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ];
        of_layer.map(|(name, linear)| (format!("model.layers.{number}.{name}"), linear))
    })
}

fn of_encoder_layer(layer: &EncoderLayer) -> [(&'static str, &Linear); 6] {
    let attention = &layer.attention;
    [
        ("attention.self_attention.query", &attention.self_attention.query),
        ("attention.self_attention.key", &attention.self_attention.key),
        ("attention.self_attention.value", &attention.self_attention.value),
        ("attention.output.dense", &attention.output.dense),
        ("intermediate.dense", &layer.intermediate.dense),
        ("output.dense", &layer.output.dense),
    ]
}
