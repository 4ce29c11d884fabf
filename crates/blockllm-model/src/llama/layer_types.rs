//! `LayerType`: whether the tokens of a layer see all that came before them, or a sliding window of it.

/// What the tokens of a layer see, by the names that `layer_types` of a `config.json` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// Every token before them: `full_attention`.
    FullAttention,
    /// The last `sliding_window` tokens, themselves among them: `sliding_attention`.
    SlidingAttention,
}

impl LayerType {
    /// All that are known.
    pub const ALL: [Self; 2] = [Self::FullAttention, Self::SlidingAttention];

    /// Its name in a `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullAttention => "full_attention",
            Self::SlidingAttention => "sliding_attention",
        }
    }

    /// The type of that name, if it is one of these.
    ///
    /// ```
    /// use blockllm_model::llama::LayerType;
    ///
    /// assert_eq!(LayerType::of("sliding_attention"), Some(LayerType::SlidingAttention));
    /// assert_eq!(LayerType::of("linear_attention"), None);
    /// ```
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
