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
    use crate::{BlockMethod, GaLoreMethod, LoraMethod, Method};
    use blockllm_optim::InactiveRule;

    fn fine_tuned(text: &str) -> Method {
        let parts = FineTuning::encoder(vec!["classifier.out_proj.weight".into()]);
        Method::parse(text).unwrap().fine_tuning(&parts)
    }

    #[test]
    fn lora_and_galore_take_their_fine_tuning_settings_unless_the_name_says_otherwise() {
        let alpha = |text| fine_tuned(text).algorithm.get::<LoraMethod>().unwrap().alpha;
        let found = ["lora:4", "lora:4+alpha=32"].map(alpha).map(f64::to_bits);
        assert_eq!(found, [8.0_f64, 32.0].map(f64::to_bits));
        let galore = |text| {
            let method = fine_tuned(text);
            let galore = method.algorithm.get::<GaLoreMethod>().unwrap();
            (galore.update_proj_gap, galore.scale.to_bits())
        };
        assert_eq!(galore("galore:4"), (500, 4.0_f64.to_bits()));
        assert_eq!(galore("galore:4+gap=7+scale=2"), (7, 2.0_f64.to_bits()));
    }

    #[test]
    fn rates_of_groups_are_for_pretraining_unless_the_name_says_otherwise() {
        let embeddings = |method: &Method| method.algorithm.get::<BlockMethod>().unwrap().groups.embeddings;
        let found = [
            embeddings(&Method::parse("blockllm-sgd:0.95").unwrap()),
            embeddings(&fine_tuned("blockllm-sgd:0.95")),
            embeddings(&fine_tuned("blockllm-whitened:0.95")),
            embeddings(&fine_tuned("blockllm-sgd:0.95+embedding-rate=7")),
        ];
        assert_eq!(found.map(f64::to_bits), [30.0, 1.0, 1.0, 7.0].map(f64::to_bits));
    }

    #[test]
    fn of_a_language_model_the_rest_moves_slowly_unless_the_name_says_otherwise() {
        let tuned = |name: &str| {
            Method::parse(name)
                .unwrap()
                .fine_tuning(&FineTuning::language_model())
        };
        let rest = |method: &Method| {
            let blocks = method.algorithm.get::<BlockMethod>().unwrap();
            blocks.inactive.as_ref().map(|rule| rule.scale.to_bits())
        };
        let pretraining = Method::parse("blockllm-sgd:0.95").unwrap();
        assert_eq!(rest(&pretraining), Some(1.0_f64.to_bits()));
        for (name, scale) in [
            ("blockllm-sgd:0.95", 0.1_f64),
            ("blockllm-sgd:0.95+inactive=0.5", 0.5),
            ("blockllm:0.95+inactive=0.3", 0.3),
            ("scale", 1.0),
        ] {
            assert_eq!(rest(&tuned(name)), Some(scale.to_bits()), "{name}");
        }
        assert_eq!(rest(&tuned("blockllm:0.95")), None);
        // What was measured under these words is what the name stands for (docs/method.md).
        let settings = |text| {
            let method = tuned(text);
            method.algorithm.get::<BlockMethod>().unwrap().clone()
        };
        let measured = "blockllm:0.95+inactive=0.1+direction=normalised+masked-out=move";
        assert_eq!(settings("blockllm-sgd:0.95"), settings(measured));
        let head = settings("blockllm-sgd:0.95+momentum=head")
            .inactive
            .unwrap()
            .momentum;
        assert_eq!(head, [InactiveRule::HEAD]);
        // A classifier has one rate for all, whether its head is fresh or not.
        assert_eq!(rest(&fine_tuned("blockllm-sgd:0.95")), Some(1.0_f64.to_bits()));
        let not_fresh = Method::parse("blockllm-sgd:0.95")
            .unwrap()
            .fine_tuning(&FineTuning::encoder(Vec::new()));
        assert_eq!(rest(&not_fresh), Some(1.0_f64.to_bits()));
        let rates = tuned("blockllm-sgd:0.95").algorithm.learning_rates();
        let found = [rates.language_models, rates.classifiers, rates.pretraining];
        assert_eq!(found.map(f64::to_bits), [1e-4, 5e-5, 1e-3].map(f64::to_bits));
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
