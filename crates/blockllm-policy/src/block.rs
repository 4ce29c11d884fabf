//! Parameters and the blocks they are grouped into (ALGORITHM, "Notation").
use serde::{Deserialize, Serialize};

/// A parameter tensor as the policy side sees it: a path, a size and a shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamInfo {
    /// Dotted path in the module tree, such as `model.layers.3.mlp.up_proj.weight`.
    pub path: String,
    /// Number of entries.
    pub numel: u64,
    /// Its shape; empty in records of earlier versions.
    #[serde(default)]
    pub shape: Vec<usize>,
}

impl ParamInfo {
    /// A vector at `path` with `numel` entries.
    pub fn new(path: impl Into<String>, numel: u64) -> Self {
        Self {
            path: path.into(),
            numel,
            shape: vec![numel as usize],
        }
    }

    /// A parameter at `path` of this shape.
    pub fn shaped(path: impl Into<String>, shape: Vec<usize>) -> Self {
        Self {
            path: path.into(),
            numel: shape.iter().product::<usize>() as u64,
            shape,
        }
    }
}

/// Position of a block in the partition; blocks are ordered as their first parameter is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockId(pub usize);

/// What may happen to a block during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// In `C`: the policy decides.
    #[default]
    Candidate,
    /// In `A`: trained at every step, charged to the budget first.
    Always,
    /// In `F`: never trained, not counted in the budget.
    Never,
}

impl Role {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// A set of parameters that is selected as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Name, unique within the partition.
    pub name: String,
    /// Indices into the parameter list the partition was made from, ascending.
    pub params: Vec<usize>,
    /// Number of entries `n_l`.
    pub numel: u64,
    /// The shape of each of its parameters.
    pub shapes: Vec<Vec<usize>>,
    /// Whether the policy may choose it.
    pub role: Role,
}
