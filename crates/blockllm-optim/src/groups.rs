//! Groups of parameters by what they are: a learning rate's multiplier for each, and whether its weights decay.
use crate::{OptimError, Parameter};
use serde::{Deserialize, Serialize};

/// What a parameter is, told from its path and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterGroup {
    /// Tables of tokens, positions and segments: matrices with `embed` in a part of their path.
    Embeddings,
    /// The layer that makes logits or scores: matrices under `lm_head`, `classifier`, `score`, `head` or `cls`.
    Head,
    /// Norms' gains, and biases: whatever has one dimension.
    Vectors,
    /// All else: the matrices of attention and MLP, and adapters' factors.
    Matrices,
}

impl ParameterGroup {
    /// Names of heads in models of Hugging Face.
    const HEADS: [&str; 5] = ["lm_head", "classifier", "score", "head", "cls"];

    /// The group of a parameter at `path`, of this `shape`.
    pub fn of(path: &str, shape: &[usize]) -> Self {
        let mut parts = path.split('.');
        if shape.len() < 2 {
            Self::Vectors
        } else if parts.clone().any(|part| part == "lora") {
            Self::Matrices
        } else if parts.clone().any(|part| part.contains("embed")) {
            Self::Embeddings
        } else if parts.any(|part| Self::HEADS.contains(&part)) {
            Self::Head
        } else {
            Self::Matrices
        }
    }
}

impl Parameter {
    /// What it is.
    pub fn group(&self) -> ParameterGroup {
        ParameterGroup::of(&self.info.path, &self.info.shape)
    }
}

/// What is set for each group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// What the learning rate is multiplied with for the embeddings. Under one rate for all they are the slowest: a row
    /// moves only when its token is there.
    pub embeddings: f64,
    /// The same for the head.
    pub head: f64,
    /// The same for gains and biases.
    pub vectors: f64,
    /// The same for all other matrices.
    pub matrices: f64,
    /// Which weights decay.
    pub decay: Decay,
}

/// Which weights decay, where there is a decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Matrices and embeddings, not gains and biases, as in transformers' trainer.
    #[default]
    Matrices,
    /// All of them, as in PyTorch without parameter groups.
    All,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            embeddings: 1.0,
            head: 1.0,
            vectors: 1.0,
            matrices: 1.0,
            decay: Decay::default(),
        }
    }
}

impl Groups {
    /// One rate for all, and all weights decay: PyTorch's optimizers without parameter groups.
    pub fn ungrouped() -> Self {
        Self {
            decay: Decay::All,
            ..Self::default()
        }
    }

    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The learning rate's multiplier for `parameter`.
    pub fn multiplier(&self, parameter: &Parameter) -> f64 {
        match parameter.group() {
            ParameterGroup::Embeddings => self.embeddings,
            ParameterGroup::Head => self.head,
            ParameterGroup::Vectors => self.vectors,
            ParameterGroup::Matrices => self.matrices,
        }
    }

    /// Whether the weights of `parameter` decay.
    pub fn decays(&self, parameter: &Parameter) -> bool {
        self.decays_at(&parameter.info.path, &parameter.info.shape)
    }

    /// Whether the weights of a parameter at `path`, of this `shape`, decay.
    pub fn decays_at(&self, path: &str, shape: &[usize]) -> bool {
        self.decay == Decay::All || ParameterGroup::of(path, shape) != ParameterGroup::Vectors
    }

    pub(crate) fn validate(&self) -> Result<(), OptimError> {
        let fields = [
            ("groups.embeddings", self.embeddings),
            ("groups.head", self.head),
            ("groups.vectors", self.vectors),
            ("groups.matrices", self.matrices),
        ];
        for (field, multiplier) in fields {
            if !(multiplier.is_finite() && multiplier > 0.0) {
                return Err(OptimError::Setting {
                    field,
                    value: multiplier.to_string(),
                    mend: "use a positive number; a parameter that shall not be trained is a `never` role",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParameterGroup::{Embeddings, Head, Matrices, Vectors};

    #[test]
    fn parameters_of_llama_bert_and_roberta_are_in_their_groups() {
        for (path, shape, group) in [
            ("model.embed_tokens.weight", &[32, 8][..], Embeddings),
            ("model.layers.0.self_attn.q_proj.weight", &[8, 8], Matrices),
            ("model.layers.0.input_layernorm.gamma", &[8], Vectors),
            ("model.norm.gamma", &[8], Vectors),
            ("lm_head.weight", &[8, 32], Head),
            ("bert.embeddings.word_embeddings.weight", &[32, 8], Embeddings),
            ("bert.embeddings.LayerNorm.gamma", &[8], Vectors),
            ("bert.pooler.dense.weight", &[8, 8], Matrices),
            ("classifier.out_proj.weight", &[8, 2], Head),
            ("classifier.bias", &[2], Vectors),
            ("score.weight", &[8, 2], Head),
            ("lm_head.weight.lora.a", &[8, 2], Matrices),
            ("model.layers.0.mlp.head_proj.weight", &[8, 2], Matrices),
        ] {
            assert_eq!(ParameterGroup::of(path, shape), group, "{path}");
        }
    }
}
