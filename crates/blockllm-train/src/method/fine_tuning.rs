//! What changes in a method when it fine-tunes a pretrained model with a fresh head instead of training from scratch.
use super::blocks::lisa_always;
use super::{Algorithm, Method};
use blockllm_policy::PolicyConfig;

/// The parts of a pretrained classifier that methods treat differently, as path patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FineTuning {
    /// What was drawn afresh: every method trains it at every step.
    pub fresh: Vec<String>,
    /// The matrices that LoRA adapts and `GaLore` projects.
    pub matrices: Vec<String>,
    /// The embeddings, which LISA trains in any case.
    pub embeddings: Vec<String>,
}

impl FineTuning {
    /// A BERT or RoBERTa, of which `fresh` was drawn afresh.
    pub fn encoder(fresh: Vec<String>) -> Self {
        Self {
            fresh,
            matrices: vec!["layer".into()],
            embeddings: vec!["embeddings".into()],
        }
    }

    /// A Llama with a classifier, of which `fresh` was drawn afresh.
    pub fn llama(fresh: Vec<String>) -> Self {
        Self {
            fresh,
            matrices: super::decoder_matrices(),
            embeddings: vec!["embed_tokens".into(), "model.norm".into()],
        }
    }
}

/// Steps between `GaLore`'s projections when fine-tuning, and the factor of its projected updates: those of its GLUE runs.
const GALORE_GAP: u64 = 500;
const GALORE_SCALE: f64 = 4.0;

impl Method {
    /// This method for fine-tuning: the fresh head is trained at every step; LoRA trains its factors and the head
    /// alone, with `alpha = 2 rank`; `GaLore` has scale 4 and a new projection every 500 steps, as in its runs on GLUE;
    /// LISA trains embeddings and head. Settings in the method's name win over these.
    #[must_use]
    pub fn fine_tuning(mut self, parts: &FineTuning) -> Self {
        match &mut self.algorithm {
            Algorithm::Blocks(blocks) if blocks.always == lisa_always() => {
                blocks.always.clone_from(&parts.embeddings);
            }
            Algorithm::Blocks(_) => {}
            Algorithm::Lora(lora) => {
                lora.train_rest = false;
                lora.always.clone_from(&parts.fresh);
                lora.targets.clone_from(&parts.matrices);
                lora.alpha = 2.0 * lora.rank as f64;
            }
            Algorithm::GaLore(galore) => {
                galore.targets.clone_from(&parts.matrices);
                galore.update_proj_gap = GALORE_GAP;
                galore.scale = GALORE_SCALE;
            }
        }
        let mut method = self
            .with_own_settings()
            .expect("the settings were taken when the name was read");
        if let Algorithm::Blocks(blocks) = &mut method.algorithm
            && blocks.policy != PolicyConfig::All
        {
            blocks.train_always(&parts.fresh);
        }
        method
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine_tuned(text: &str) -> Algorithm {
        let parts = FineTuning::encoder(vec!["classifier.out_proj.weight".into()]);
        Method::parse(text).unwrap().fine_tuning(&parts).algorithm
    }

    #[test]
    fn lora_and_galore_take_their_fine_tuning_settings_unless_the_name_says_otherwise() {
        let alpha = |text| match fine_tuned(text) {
            Algorithm::Lora(lora) => lora.alpha,
            other => panic!("{other:?}"),
        };
        let found = ["lora:4", "lora:4+alpha=32"].map(alpha).map(f64::to_bits);
        assert_eq!(found, [8.0_f64, 32.0].map(f64::to_bits));
        let galore = |text| match fine_tuned(text) {
            Algorithm::GaLore(galore) => (galore.update_proj_gap, galore.scale.to_bits()),
            other => panic!("{other:?}"),
        };
        assert_eq!(galore("galore:4"), (500, 4.0_f64.to_bits()));
        assert_eq!(galore("galore:4+gap=7+scale=2"), (7, 2.0_f64.to_bits()));
    }

    #[test]
    fn the_fresh_head_is_always_trained_beside_what_the_name_says() {
        let always = |text| match fine_tuned(text) {
            Algorithm::Blocks(blocks) => blocks.always,
            other => panic!("{other:?}"),
        };
        let head = "classifier.out_proj.weight";
        assert_eq!(always("adamw"), [""; 0]);
        assert_eq!(always("blockllm:0.95"), [head]);
        assert_eq!(always("badam:1+always=pooler"), ["pooler", head]);
        assert_eq!(always("blockllm:0.95+always=classifier"), ["classifier"]);
        assert_eq!(always("lisa:2"), ["embeddings", head]);
    }
}
