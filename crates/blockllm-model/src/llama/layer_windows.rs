//! Which layers of a `LlamaConfig` have its sliding window.

use super::config::LlamaConfig;
use super::family::LlamaFamily;
use super::layer_types::LayerType;
use crate::ModelError;

/// The first layer with a window in a Qwen2 whose file does not say it.
const MAX_WINDOW_LAYERS: usize = 28;

impl LlamaConfig {
    /// The window of layer `layer`, counted from the lowest: how many tokens a token sees there, itself among them.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        let slides = match &self.layer_types {
            Some(types) => types.get(layer) == Some(&LayerType::SlidingAttention),
            None if self.family == LlamaFamily::Qwen2 => {
                layer >= self.max_window_layers.unwrap_or(MAX_WINDOW_LAYERS)
            }
            None => true,
        };
        self.sliding_window.filter(|_| slides)
    }

    /// Checks that the window, and what is said of the layers that have it, belong to the family.
    pub(super) fn validate_windows(&self, origin: &str) -> Result<(), ModelError> {
        let kind = self.family.model_type();
        let refuse = |field: &str, expected: &str, found: usize, mend: String| {
            Err(ModelError::config(origin, field, expected, found, mend))
        };
        match self.sliding_window {
            Some(0) => {
                let mend = "a token sees itself: give 1 or more, or leave the window out".to_owned();
                return refuse("sliding_window", "more than zero", 0, mend);
            }
            Some(window) if self.family == LlamaFamily::Llama => {
                let mend = format!("a {kind} has none: correct it, or choose another family");
                return refuse("sliding_window", "none", window, mend);
            }
            _ => {}
        }
        let of_qwen2 = self.family == LlamaFamily::Qwen2;
        if let Some(first) = self.max_window_layers.filter(|_| !of_qwen2) {
            let mend = format!("a {kind} has one kind of layers: leave it out, or choose another family");
            return refuse("max_window_layers", "none", first, mend);
        }
        self.validate_layer_types(origin)
    }

    /// Checks that `layer_types`, where it is there, says of every layer of a Qwen2 what it can be.
    fn validate_layer_types(&self, origin: &str) -> Result<(), ModelError> {
        let Some(types) = &self.layer_types else {
            return Ok(());
        };
        let refuse = |expected: String, found: String, mend: &str| {
            Err(ModelError::config(origin, "layer_types", expected, found, mend))
        };
        let (layers, sliding) = (self.num_hidden_layers, LayerType::SlidingAttention);
        if self.family != LlamaFamily::Qwen2 {
            let mend = "a Qwen2 alone has layers of two types: leave the list out";
            return refuse("none".to_owned(), "there".to_owned(), mend);
        }
        if types.len() != layers {
            let mend = "name the type of every layer, or leave the list out";
            return refuse(
                format!("{layers} types"),
                format!("a list of {}", types.len()),
                mend,
            );
        }
        if self.sliding_window.is_none() && types.contains(&sliding) {
            let mend = "give `sliding_window`, in a file with `use_sliding_window`: true";
            let expected = LayerType::FullAttention.name().to_owned();
            return refuse(expected, format!("{} without a window", sliding.name()), mend);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LlamaConfig {
        LlamaConfig::new(96, 32, 64, 2, 4)
    }

    #[test]
    fn a_mistral_has_its_window_in_every_layer_and_a_qwen2_in_those_that_its_keys_name() {
        let windows = |config: &LlamaConfig| -> Vec<bool> {
            (0..4).map(|layer| config.window_of(layer) == Some(8)).collect()
        };
        let mistral = LlamaConfig {
            family: LlamaFamily::Mistral,
            sliding_window: Some(8),
            num_hidden_layers: 4,
            ..config()
        };
        assert_eq!(windows(&mistral), [true; 4]);
        let unsaid = LlamaConfig {
            family: LlamaFamily::Qwen2,
            attention_bias: true,
            ..mistral
        };
        assert_eq!(windows(&unsaid), [false; 4]);
        assert_eq!((unsaid.window_of(27), unsaid.window_of(28)), (None, Some(8)));
        let upper = LlamaConfig {
            max_window_layers: Some(3),
            ..unsaid
        };
        assert_eq!(windows(&upper), [false, false, false, true]);
        let (full, sliding) = (LayerType::FullAttention, LayerType::SlidingAttention);
        let listed = LlamaConfig {
            layer_types: Some(vec![sliding, full, sliding, full]),
            ..upper
        };
        assert!(listed.validate().is_ok());
        assert_eq!(windows(&listed), [true, false, true, false]);
        let none = LlamaConfig {
            sliding_window: None,
            layer_types: None,
            ..listed
        };
        assert!((0..40).all(|layer| none.window_of(layer).is_none()));
    }

    #[test]
    fn types_of_other_layers_and_windows_without_a_size_are_refused() {
        let (full, sliding) = (LayerType::FullAttention, LayerType::SlidingAttention);
        let qwen2 = |types: &[LayerType], window: Option<usize>| LlamaConfig {
            family: LlamaFamily::Qwen2,
            attention_bias: true,
            sliding_window: window,
            layer_types: Some(types.to_vec()),
            ..config()
        };
        let llama = LlamaConfig {
            layer_types: Some(vec![full; 2]),
            ..config()
        };
        let mistral = LlamaConfig {
            family: LlamaFamily::Mistral,
            max_window_layers: Some(1),
            ..config()
        };
        for (config, part) in [
            (
                qwen2(&[full, sliding, full], Some(8)),
                "`layer_types` is a list of 3, expected 2 types",
            ),
            (
                qwen2(&[full, sliding], None),
                "sliding_attention without a window",
            ),
            (qwen2(&[full, sliding], Some(0)), "`sliding_window` is 0"),
            (llama, "`layer_types` is there, expected none"),
            (mistral, "`max_window_layers` is 1, expected none"),
        ] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(qwen2(&[full, full], None).validate().is_ok());
    }
}
