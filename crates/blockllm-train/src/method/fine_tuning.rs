//! The parts of a pretrained model that methods treat differently when they fine-tune it.

/// The parts of a pretrained classifier or language model, as path patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FineTuning {
    /// What was drawn afresh: every method trains it at every step.
    pub fresh: Vec<String>,
    /// The matrices that LoRA adapts and `GaLore` and APOLLO project.
    pub matrices: Vec<String>,
    /// The embeddings, which LISA trains in any case.
    pub embeddings: Vec<String>,
    /// Whether it is a language model, whose head has learnt as all else has.
    pub is_language_model: bool,
}

impl FineTuning {
    /// A BERT or RoBERTa, of which `fresh` was drawn afresh.
    pub fn encoder(fresh: Vec<String>) -> Self {
        Self {
            fresh,
            matrices: vec!["layer".into()],
            embeddings: vec!["embeddings".into()],
            is_language_model: false,
        }
    }

    /// A Llama with a classifier, of which `fresh` was drawn afresh.
    pub fn llama(fresh: Vec<String>) -> Self {
        Self {
            fresh,
            matrices: decoder_matrices(),
            embeddings: vec!["embed_tokens".into(), "model.norm".into()],
            is_language_model: false,
        }
    }

    /// A Llama that goes on as a language model.
    pub fn language_model() -> Self {
        Self {
            is_language_model: true,
            ..Self::llama(Vec::new())
        }
    }
}

/// Attention and MLP of a Llama.
pub(super) fn decoder_matrices() -> Vec<String> {
    ["self_attn", "mlp"].map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockMethod, LoraMethod, Method};

    fn fine_tuned(text: &str) -> Method {
        let parts = FineTuning::encoder(vec!["classifier.out_proj.weight".into()]);
        Method::parse(text).unwrap().fine_tuning(&parts)
    }

    #[test]
    fn the_fresh_head_is_always_trained_beside_what_the_name_says() {
        let always = |text| {
            let method = fine_tuned(text);
            method.algorithm.get::<BlockMethod>().unwrap().always.clone()
        };
        let head = "classifier.out_proj.weight";
        assert_eq!(always("adamw"), [""; 0]);
        assert_eq!(always("blockllm:0.95"), [head]);
        assert_eq!(always("badam:1+always=pooler"), ["pooler", head]);
        assert_eq!(always("blockllm:0.95+always=classifier"), ["classifier"]);
        assert_eq!(always("lisa:2"), ["embeddings", head]);
        let beside_adapters = |text| {
            let method = fine_tuned(text);
            method.algorithm.get::<LoraMethod>().unwrap().always.clone()
        };
        assert_eq!(beside_adapters("lora:8"), [head]);
        assert_eq!(beside_adapters("lora:8+always=pooler"), ["pooler", head]);
        assert_eq!(beside_adapters("lora:8+always=classifier"), ["classifier"]);
    }
}
