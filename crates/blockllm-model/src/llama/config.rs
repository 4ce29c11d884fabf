//! `LlamaConfig`: the shape of a Llama model under Hugging Face's names, validated in one place.

use super::family::LlamaFamily;
use super::layer_types::LayerType;
use super::rope_scaling::RopeScaling;
use crate::ModelError;

/// Everything that fixes the shape and the arithmetic of a Llama model, or of one of its [family](LlamaFamily).
///
/// In JSON it is a Hugging Face `config.json`, of which keys that do not concern the model are passed over;
/// [`load_pretrained`](crate::hf::load_pretrained) reads it from a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// The architecture that folders name.
    pub family: LlamaFamily,
    /// Number of tokens `V`.
    pub vocab_size: usize,
    /// Width `D` of the residual stream.
    pub hidden_size: usize,
    /// Width `I` of the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads `H`.
    pub num_attention_heads: usize,
    /// Number of key and value heads `K`; fewer than `H` is grouped-query attention.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
    /// How many tokens a token sees, itself among them, in the layers that have a window; all where there is none. A Llama has
    /// none, a Mistral one for all its layers, and a Qwen2 one for some of them.
    pub sliding_window: Option<usize>,
    /// The first layer that has the window in a Qwen2 without `layer_types`: 28 where it is not said.
    pub max_window_layers: Option<usize>,
    /// Which layers of a Qwen2 have the window; it goes before `max_window_layers`.
    pub layer_types: Option<Vec<LayerType>>,
    /// Whether the projections of attention have biases: those of queries, keys and values, and in a Llama that of the output
    /// too. A Qwen2 always has them, a Mistral never.
    pub attention_bias: bool,
    /// Whether the projections of the feed-forward layers have biases: never but in a Llama.
    pub mlp_bias: bool,
    /// Added to the mean square in every `RMSNorm`.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies for long contexts.
    pub rope_scaling: RopeScaling,
    /// Whether the output head is the embedding matrix itself.
    pub tie_word_embeddings: bool,
    /// Standard deviation of freshly drawn weights.
    pub initializer_range: f64,
    /// Token that opens a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that close a text.
    pub eos_token_id: Vec<u32>,
    /// Token that fills up a batch.
    pub pad_token_id: Option<u32>,
}

impl LlamaConfig {
    /// A configuration with these sizes, one key and value head per query head, and Llama's defaults:
    /// 1,024 positions, `rms_norm_eps` 1e-6, `rope_theta` 10,000, an untied head.
    pub fn new(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
    ) -> Self {
        Self {
            family: LlamaFamily::Llama,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: num_attention_heads,
            head_dim: hidden_size / num_attention_heads.max(1),
            max_position_embeddings: 1024,
            sliding_window: None,
            max_window_layers: None,
            layer_types: None,
            attention_bias: false,
            mlp_bias: false,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::Default,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            bos_token_id: Some(0),
            eos_token_id: vec![1],
            pad_token_id: None,
        }
    }

    /// The same with another vocabulary.
    #[must_use]
    pub fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        self.vocab_size = vocab_size;
        self
    }

    /// The same with another number of positions.
    #[must_use]
    pub fn with_max_position_embeddings(mut self, positions: usize) -> Self {
        self.max_position_embeddings = positions;
        self
    }

    /// The same with grouped-query attention over `heads` key and value heads.
    #[must_use]
    pub fn with_num_key_value_heads(mut self, heads: usize) -> Self {
        self.num_key_value_heads = heads;
        self
    }

    /// The same with the output head tied to the embedding, or not.
    #[must_use]
    pub fn with_tie_word_embeddings(mut self, tie: bool) -> Self {
        self.tie_word_embeddings = tie;
        self
    }

    /// The same with other rotary frequencies.
    #[must_use]
    pub fn with_rope(mut self, rope_theta: f64, rope_scaling: RopeScaling) -> Self {
        self.rope_theta = rope_theta;
        self.rope_scaling = rope_scaling;
        self
    }

    /// The longest text: `max_position_embeddings`, or more where a dynamic `rope_scaling` stretches them.
    pub fn num_positions(&self) -> usize {
        let stretch = match self.rope_scaling {
            RopeScaling::Dynamic { factor } => factor,
            _ => 1.0,
        };
        (self.max_position_embeddings as f64 * stretch) as usize
    }

    /// Whether the projection of what attention gathers has a bias.
    pub(crate) fn has_output_bias(&self) -> bool {
        self.attention_bias && self.family == LlamaFamily::Llama
    }

    /// The exact number of parameters; a tied head counts once.
    pub fn num_parameters(&self) -> u64 {
        let [v, d, i] = [self.vocab_size, self.hidden_size, self.intermediate_size].map(|n| n as u64);
        let queries = (self.num_attention_heads * self.head_dim) as u64;
        let keys = (self.num_key_value_heads * self.head_dim) as u64;
        let bias = |there: bool, width: u64| if there { width } else { 0 };
        let biases = bias(self.attention_bias, queries + 2 * keys)
            + bias(self.has_output_bias(), d)
            + bias(self.mlp_bias, 2 * i + d);
        let layer = 2 * d * queries + 2 * d * keys + 3 * d * i + 2 * d + biases;
        let head = if self.tie_word_embeddings { 0 } else { v * d };
        v * d + self.num_hidden_layers as u64 * layer + d + head
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as("LlamaConfig")
    }

    /// [`validate`](Self::validate), naming `origin` (a file) in the error.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        self.validate_positive(origin)?;
        self.validate_family(origin)?;
        let refuse = |field: &str, expected: String, found: &dyn ToString, mend: &str| {
            Err(ModelError::config(
                origin,
                field,
                expected,
                found.to_string(),
                mend,
            ))
        };
        let heads = self.num_attention_heads;
        if !heads.is_multiple_of(self.num_key_value_heads) {
            let mend = "let `num_key_value_heads` divide `num_attention_heads`";
            return refuse(
                "num_key_value_heads",
                format!("a divisor of {heads}"),
                &self.num_key_value_heads,
                mend,
            );
        }
        if !self.head_dim.is_multiple_of(2) {
            let mend = "the rotary embedding rotates pairs: choose an even `head_dim`";
            return refuse("head_dim", "an even number".to_owned(), &self.head_dim, mend);
        }
        let tokens = self
            .eos_token_id
            .iter()
            .chain(&self.bos_token_id)
            .chain(&self.pad_token_id);
        if let Some(token) = tokens.max().filter(|token| **token as usize >= self.vocab_size) {
            let mend = "name tokens of this vocabulary, or enlarge `vocab_size`";
            return refuse(
                "bos/eos/pad_token_id",
                format!("less than {}", self.vocab_size),
                token,
                mend,
            );
        }
        self.rope_scaling.validate(origin, self.head_dim)
    }

    /// Checks that the architecture has what is asked for.
    fn validate_family(&self, origin: &str) -> Result<(), ModelError> {
        let (is_llama, is_qwen2) = (
            self.family == LlamaFamily::Llama,
            self.family == LlamaFamily::Qwen2,
        );
        let kind = self.family.model_type();
        let refuse = |field: &str, expected: &str, found: &dyn ToString| {
            let mend = format!("a {kind} has no other form: correct it, or choose another family");
            Err(ModelError::config(
                origin,
                field,
                expected,
                found.to_string(),
                mend,
            ))
        };
        self.validate_windows(origin)?;
        if self.attention_bias != is_qwen2 && !is_llama {
            return refuse("attention_bias", &is_qwen2.to_string(), &self.attention_bias);
        }
        if self.mlp_bias && !is_llama {
            return refuse("mlp_bias", "false", &true);
        }
        Ok(())
    }

    /// Checks that every size and constant that must be positive is.
    fn validate_positive(&self, origin: &str) -> Result<(), ModelError> {
        let fields = [
            ("vocab_size", self.vocab_size as f64),
            ("hidden_size", self.hidden_size as f64),
            ("intermediate_size", self.intermediate_size as f64),
            ("num_hidden_layers", self.num_hidden_layers as f64),
            ("num_attention_heads", self.num_attention_heads as f64),
            ("num_key_value_heads", self.num_key_value_heads as f64),
            ("head_dim", self.head_dim as f64),
            ("max_position_embeddings", self.max_position_embeddings as f64),
            ("rms_norm_eps", self.rms_norm_eps),
            ("rope_theta", self.rope_theta),
            ("initializer_range", self.initializer_range),
        ];
        match fields
            .into_iter()
            .find(|(_, value)| !value.is_finite() || *value <= 0.0)
        {
            None => Ok(()),
            Some((field, value)) => {
                let mend = "give it a positive, finite value";
                Err(ModelError::config(origin, field, "more than zero", value, mend))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LlamaConfig {
        LlamaConfig::new(96, 32, 64, 2, 4)
    }

    #[test]
    fn a_fitting_config_is_accepted() {
        assert!(config().with_num_key_value_heads(2).validate().is_ok());
    }

    #[test]
    fn an_error_names_the_field_the_value_and_the_mend() {
        let message = config()
            .with_num_key_value_heads(3)
            .validate()
            .unwrap_err()
            .to_string();
        assert!(message.contains("`num_key_value_heads` is 3"), "{message}");
        assert!(message.contains("a divisor of 4"), "{message}");
    }

    #[test]
    fn what_a_family_does_not_have_is_refused_by_its_field() {
        let of = |family| LlamaConfig { family, ..config() };
        let mistral = LlamaConfig {
            attention_bias: true,
            ..of(LlamaFamily::Mistral)
        };
        let llama = LlamaConfig {
            sliding_window: Some(8),
            ..config()
        };
        for (config, field) in [
            (mistral, "attention_bias"),
            (of(LlamaFamily::Qwen2), "attention_bias"),
            (llama, "sliding_window"),
        ] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}`")), "{message}");
        }
    }

    #[test]
    fn a_dynamic_scaling_stretches_the_positions_and_a_window_leaves_them() {
        let window = LlamaConfig {
            family: LlamaFamily::Mistral,
            sliding_window: Some(100),
            ..config()
        };
        assert_eq!(window.num_positions(), 1024);
        let dynamic = config().with_rope(10_000.0, RopeScaling::Dynamic { factor: 2.5 });
        assert_eq!(dynamic.num_positions(), 2560);
        assert_eq!(config().num_positions(), 1024);
    }

    #[test]
    fn odd_heads_zero_sizes_and_foreign_tokens_are_refused() {
        let odd = LlamaConfig {
            head_dim: 7,
            ..config()
        };
        let zero = LlamaConfig {
            num_hidden_layers: 0,
            ..config()
        };
        let foreign = LlamaConfig {
            eos_token_id: vec![96],
            ..config()
        };
        for (config, field) in [(odd, "head_dim"), (zero, "num_hidden_layers"), (foreign, "eos")] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
    }
}
