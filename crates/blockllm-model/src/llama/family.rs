//! The architectures whose arithmetic is a Llama's, by the names that Hugging Face folders give them.

/// An architecture of the Llama family. They share every operation and every key; they differ in biases and in a window of
/// attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LlamaFamily {
    /// Llama 2 and 3, `SmolLM2`, `TinyLlama`, Yi and many more.
    #[default]
    Llama,
    /// Mistral: no biases, and in every layer tokens that may see only the last `sliding_window` ones.
    Mistral,
    /// Qwen 2 and 2.5: biases on queries, keys and values, and a window in those layers that say so.
    Qwen2,
}

impl LlamaFamily {
    /// All that are known.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Mistral, Self::Qwen2];

    /// The `model_type` of its `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
        }
    }

    /// The architecture of that `model_type`, if it is one of these.
    ///
    /// ```
    /// use blockllm_model::llama::LlamaFamily;
    ///
    /// assert_eq!(LlamaFamily::of("qwen2"), Some(LlamaFamily::Qwen2));
    /// assert_eq!(LlamaFamily::of("qwen3"), None);
    /// ```
    pub fn of(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// What transformers calls the class with that head, such as `ForCausalLM`.
    pub(crate) fn class(self, head: &str) -> String {
        let name = match self {
            Self::Llama => "Llama",
            Self::Mistral => "Mistral",
            Self::Qwen2 => "Qwen2",
        };
        format!("{name}{head}")
    }
}

/// The known values of `model_type`, for an error.
pub(super) fn known() -> String {
    LlamaFamily::ALL.map(LlamaFamily::model_type).join(", ")
}
