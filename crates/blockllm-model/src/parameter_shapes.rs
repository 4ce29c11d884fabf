//! The parameters that a model of a configuration has, listed without making any: what memory is planned from.

use crate::encoder::{EncoderConfig, EncoderKind};
use crate::llama::LlamaConfig;

/// What a parameter is to the layer that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// The matrix of a linear layer, `[inputs, outputs]`.
    Linear,
    /// The table of an embedding, `[rows, width]`.
    Table,
    /// A bias, or the scale or shift of a norm.
    Vector,
}

/// One parameter, in the place where a visit of the module meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Its path, as a burn `ModuleVisitor` spells it.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParameterKind,
}

impl ParameterShape {
    /// Number of entries.
    pub fn numel(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }
}

impl LlamaConfig {
    /// The parameters of the language model, in visiting order.
    ///
    /// ```
    /// use blockllm_model::llama::LlamaConfig;
    ///
    /// let shapes = LlamaConfig::preset("7b")?.parameter_shapes();
    /// assert_eq!(shapes.iter().map(|shape| shape.numel()).sum::<u64>(), 6_738_415_616);
    /// # Ok::<(), blockllm_model::ModelError>(())
    /// ```
    pub fn parameter_shapes(&self) -> Vec<ParameterShape> {
        let mut list = self.decoder_shapes();
        if !self.tie_word_embeddings {
            list.linear("lm_head", self.hidden_size, self.vocab_size);
        }
        list.0
    }

    /// The parameters of the classifier over `num_labels` classes, in visiting order.
    pub fn classifier_parameter_shapes(&self, num_labels: usize) -> Vec<ParameterShape> {
        let mut list = self.decoder_shapes();
        list.linear("score", self.hidden_size, num_labels);
        list.0
    }

    /// All below the head.
    fn decoder_shapes(&self) -> List {
        let width = self.hidden_size;
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let mut list = List::default();
        list.table("model.embed_tokens", self.vocab_size, width);
        for layer in 0..self.num_hidden_layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            let (input_bias, wide) = (self.attention_bias, self.intermediate_size);
            list.linear_with(&at("self_attn.q_proj"), [width, queries], input_bias);
            list.linear_with(&at("self_attn.k_proj"), [width, keys], input_bias);
            list.linear_with(&at("self_attn.v_proj"), [width, keys], input_bias);
            list.linear_with(&at("self_attn.o_proj"), [queries, width], self.has_output_bias());
            list.linear_with(&at("mlp.gate_proj"), [width, wide], self.mlp_bias);
            list.linear_with(&at("mlp.up_proj"), [width, wide], self.mlp_bias);
            list.linear_with(&at("mlp.down_proj"), [wide, width], self.mlp_bias);
            list.vector(&at("input_layernorm.weight"), width);
            list.vector(&at("post_attention_layernorm.weight"), width);
        }
        list.vector("model.norm.weight", width);
        list
    }
}

impl EncoderConfig {
    /// The parameters of the classifier, in visiting order.
    pub fn parameter_shapes(&self) -> Vec<ParameterShape> {
        let (width, wide) = (self.hidden_size, self.intermediate_size);
        let mut list = List::default();
        let embeddings = "base.embeddings";
        list.table(&format!("{embeddings}.word_embeddings"), self.vocab_size, width);
        list.table(
            &format!("{embeddings}.position_embeddings"),
            self.max_position_embeddings,
            width,
        );
        list.table(
            &format!("{embeddings}.token_type_embeddings"),
            self.type_vocab_size,
            width,
        );
        list.layer_norm(embeddings, width);
        for layer in 0..self.num_hidden_layers {
            let at = |name: &str| format!("base.encoder.layer.{layer}.{name}");
            for name in ["query", "key", "value"] {
                list.biased_linear(&at(&format!("attention.self_attention.{name}")), width, width);
            }
            list.biased_linear(&at("attention.output.dense"), width, width);
            list.layer_norm(&at("attention.output"), width);
            list.biased_linear(&at("intermediate.dense"), width, wide);
            list.biased_linear(&at("output.dense"), wide, width);
            list.layer_norm(&at("output"), width);
        }
        match self.kind {
            EncoderKind::Bert => list.biased_linear("base.pooler.dense", width, width),
            EncoderKind::Roberta => list.biased_linear("classifier.dense", width, width),
        }
        list.biased_linear("classifier.out_proj", width, self.labels.count());
        list.0
    }
}

/// A list as it grows.
#[derive(Default)]
struct List(Vec<ParameterShape>);

impl List {
    fn push(&mut self, path: String, shape: &[usize], kind: ParameterKind) {
        self.0.push(ParameterShape {
            path,
            shape: shape.to_vec(),
            kind,
        });
    }

    fn linear(&mut self, layer: &str, inputs: usize, outputs: usize) {
        self.push(
            format!("{layer}.weight"),
            &[inputs, outputs],
            ParameterKind::Linear,
        );
    }

    fn biased_linear(&mut self, layer: &str, inputs: usize, outputs: usize) {
        self.linear(layer, inputs, outputs);
        self.vector(&format!("{layer}.bias"), outputs);
    }

    fn linear_with(&mut self, layer: &str, [inputs, outputs]: [usize; 2], bias: bool) {
        if bias {
            self.biased_linear(layer, inputs, outputs);
        } else {
            self.linear(layer, inputs, outputs);
        }
    }

    fn table(&mut self, layer: &str, rows: usize, width: usize) {
        self.push(format!("{layer}.weight"), &[rows, width], ParameterKind::Table);
    }

    fn vector(&mut self, path: &str, width: usize) {
        self.push(path.to_owned(), &[width], ParameterKind::Vector);
    }

    fn layer_norm(&mut self, beside: &str, width: usize) {
        self.vector(&format!("{beside}.layer_norm.weight"), width);
        self.vector(&format!("{beside}.layer_norm.bias"), width);
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::Labels;

    /// Paths and shapes as a visit meets them.
    #[derive(Default)]
    struct Visit {
        path: Vec<String>,
        found: Vec<(String, Vec<usize>)>,
    }

    impl ModuleVisitor for Visit {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.path.join("."), param.dims().to_vec()));
        }
    }

    fn assert_lists(shapes: &[ParameterShape], module: &impl Module) {
        let mut visit = Visit::default();
        module.visit(&mut visit);
        let listed: Vec<_> = shapes
            .iter()
            .map(|shape| (shape.path.clone(), shape.shape.clone()))
            .collect();
        assert_eq!(listed, visit.found);
        let entries: u64 = shapes.iter().map(ParameterShape::numel).sum();
        assert_eq!(entries, module.num_params() as u64);
    }

    #[test]
    fn the_list_is_what_a_visit_of_a_fresh_llama_meets() {
        let device = Device::default();
        let plain = LlamaConfig::new(96, 32, 40, 2, 4).with_num_key_value_heads(2);
        let biased = LlamaConfig {
            attention_bias: true,
            mlp_bias: true,
            ..plain.clone()
        };
        for config in [plain.clone().with_tie_word_embeddings(true), plain, biased] {
            assert_lists(&config.parameter_shapes(), &config.init(0, &device));
            assert_lists(
                &config.classifier_parameter_shapes(3),
                &config.init_classifier(3, 0, &device),
            );
        }
    }

    #[test]
    fn the_list_is_what_a_visit_of_a_fresh_encoder_meets() {
        let device = Device::default();
        for kind in [EncoderKind::Bert, EncoderKind::Roberta] {
            let config = EncoderConfig::new(kind, 50, 16, 24, 2, 2).with_labels(Labels::numbered(3));
            let shapes = config.parameter_shapes();
            assert_lists(&shapes, &config.init(0, &device));
            let entries: u64 = shapes.iter().map(ParameterShape::numel).sum();
            assert_eq!(entries, config.num_parameters());
        }
    }
}
