//! What changes in a method when it fine-tunes a pretrained model with a fresh head instead of training from scratch.
use super::{Algorithm, Method};
use blockllm_policy::{PolicyConfig, Roles};

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

impl Method {
    /// This method for fine-tuning: the fresh head is trained at every step; LoRA trains its factors and the head
    /// alone, with `alpha = 2 rank`; LISA trains embeddings and head.
    #[must_use]
    pub fn fine_tuning(mut self, parts: &FineTuning) -> Self {
        match &mut self.algorithm {
            Algorithm::Blocks(blocks) if blocks.policy == PolicyConfig::All => {}
            Algorithm::Blocks(blocks) => {
                let is_lisa = blocks.sparsity == 0.0 && !blocks.always.is_empty();
                if is_lisa {
                    blocks.always.clone_from(&parts.embeddings);
                }
                let roles = Roles {
                    always: blocks.always.clone(),
                    never: blocks.never.clone(),
                };
                let missing = parts
                    .fresh
                    .iter()
                    .filter(|path| roles.role(path) == blockllm_policy::Role::Candidate);
                let missing: Vec<_> = missing.cloned().collect();
                blocks.always.extend(missing);
            }
            Algorithm::Lora(lora) => {
                lora.train_rest = false;
                lora.always.clone_from(&parts.fresh);
                lora.targets.clone_from(&parts.matrices);
                lora.alpha = 2.0 * lora.rank as f64;
            }
            Algorithm::GaLore(galore) => galore.targets.clone_from(&parts.matrices),
        }
        self
    }
}
