//! How parameters are grouped into blocks, and which blocks are always or never trained.
use crate::{Block, ParamInfo, PolicyError, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names of modules that an error shows: all of a Llama's or a BERT's.
const SHOWN_MODULES: usize = 16;

/// A rule from parameter path to block name.
#[derive(Clone, Default)]
pub enum Partition {
    /// One block per parameter tensor: the paper's "layer".
    #[default]
    Tensor,
    /// One block per module that owns parameters: `model.layers.0.self_attn.q_proj`.
    Module,
    /// One block per layer of the stack (`BAdam`, LISA): the path up to the first number. What lies outside the stack is
    /// grouped by the modules beside it: all embeddings of an encoder are one block, its pooler another.
    DecoderLayer,
    /// A user's function from path to block name.
    Custom(Arc<dyn Fn(&str) -> String + Send + Sync>),
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Partition {
    /// A partition by the user's own function from parameter path to block name.
    pub fn custom(block_of: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(block_of))
    }

    /// The name used on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Module => "module",
            Self::DecoderLayer => "decoder-layer",
            Self::Custom(_) => "custom",
        }
    }

    /// The built-in partition of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_name(name: &str) -> Result<Self, PolicyError> {
        match name {
            "tensor" => Ok(Self::Tensor),
            "module" => Ok(Self::Module),
            "decoder-layer" => Ok(Self::DecoderLayer),
            _ => Err(PolicyError::Setting {
                field: "partition",
                value: name.to_owned(),
                mend: "use tensor, module or decoder-layer".to_owned(),
            }),
        }
    }

    /// Groups `params` into blocks, ordered by their first parameter; parameters of different roles never
    /// share a block.
    ///
    /// # Errors
    /// When there is no parameter, or a role pattern matches none.
    pub fn blocks(&self, params: &[ParamInfo], roles: &Roles) -> Result<Vec<Block>, PolicyError> {
        if params.is_empty() {
            return Err(PolicyError::EmptyPartition);
        }
        roles.check(params)?;
        let layer = params.iter().find_map(|info| decoder_layer(&info.path));
        let mut blocks: Vec<Block> = Vec::new();
        let mut index: BTreeMap<(String, Role), usize> = BTreeMap::new();
        for (param, info) in params.iter().enumerate() {
            let role = roles.role(&info.path);
            let name = self.block_name(&info.path, layer);
            if let Some(&block) = index.get(&(name.clone(), role)) {
                let block: &mut Block = &mut blocks[block];
                block.params.push(param);
                block.numel += info.numel;
                block.shapes.push(info.shape.clone());
                continue;
            }
            index.insert((name.clone(), role), blocks.len());
            blocks.push(Block {
                name,
                params: vec![param],
                numel: info.numel,
                shapes: vec![info.shape.clone()],
                role,
            });
        }
        tell_apart(&mut blocks);
        Ok(blocks)
    }

    /// The block of the parameter at `path`; `layer` is the path of any layer of the stack.
    fn block_name(&self, path: &str, layer: Option<&str>) -> String {
        match self {
            Self::Tensor => path.to_owned(),
            Self::Module => parent(path).to_owned(),
            Self::DecoderLayer => decoder_layer(path)
                .or_else(|| Some(beside(path, layer?)))
                .unwrap_or_else(|| parent(path))
                .to_owned(),
            Self::Custom(block_of) => block_of(path),
        }
    }
}

/// Gives blocks of one name and several roles a name each: candidates keep theirs.
fn tell_apart(blocks: &mut [Block]) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for role in [Role::Candidate, Role::Always, Role::Never] {
        for block in blocks.iter_mut().filter(|block| block.role == role) {
            if names.contains(&block.name) {
                block.name = format!("{} ({})", block.name, role.name());
            }
            while !names.insert(block.name.clone()) {
                block.name.push('+');
            }
        }
    }
}

/// The path without its last part.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(parent, _)| parent)
}

/// The path up to and with its first numeric part.
fn decoder_layer(path: &str) -> Option<&str> {
    let mut end = 0;
    for part in path.split('.') {
        end += part.len();
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(&path[..end]);
        }
        end += 1;
    }
    None
}

/// The path down to where it leaves that of `layer`: `base.embeddings` of `base.embeddings.word.weight` beside
/// `base.encoder.layer.0`.
fn beside<'a>(path: &'a str, layer: &str) -> &'a str {
    let mut end = 0;
    let mut of_layer = layer.split('.');
    for part in path.split('.') {
        end += part.len();
        if of_layer.next() != Some(part) {
            break;
        }
        end += 1;
    }
    &path[..end.min(path.len())]
}

/// Path patterns for the always- and the never-trained parameters.
///
/// A pattern matches whole dotted parts, so `layers.1` does not match `layers.10.weight`:
/// `lm_head` matches `lm_head.weight` and `model.lm_head.weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// `A`: trained at every step.
    pub always: Vec<String>,
    /// `F`: never trained; wins over `always`.
    pub never: Vec<String>,
}

impl Roles {
    /// The role of the parameter at `path`.
    pub fn role(&self, path: &str) -> Role {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| path_matches(pattern, path));
        if any(&self.never) {
            Role::Never
        } else if any(&self.always) {
            Role::Always
        } else {
            Role::Candidate
        }
    }

    /// Checks that every pattern matches one of `params`, of which there is one at least.
    ///
    /// # Errors
    /// Names the first pattern that does not: it is a typo.
    pub fn check(&self, params: &[ParamInfo]) -> Result<(), PolicyError> {
        for pattern in self.always.iter().chain(&self.never) {
            if !params.iter().any(|param| path_matches(pattern, &param.path)) {
                return Err(PolicyError::UnmatchedRole {
                    pattern: pattern.clone(),
                    params: params.len(),
                    first: params[0].path.clone(),
                    modules: modules(params),
                });
            }
        }
        Ok(())
    }
}

/// What the modules of `params` are called, each once: the last part of their paths, which a pattern may be.
fn modules(params: &[ParamInfo]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for param in params {
        let module = parent(&param.path);
        let name = module.rsplit_once('.').map_or(module, |(_, name)| name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rest = names.len().saturating_sub(SHOWN_MODULES);
    names.truncate(SHOWN_MODULES);
    match rest {
        0 => names.join(", "),
        rest => format!("{} and {rest} more", names.join(", ")),
    }
}

/// Whether the dotted `pattern` stands in `path` on part boundaries.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    format!(".{path}.").contains(&format!(".{pattern}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params() -> Vec<ParamInfo> {
        [
            "embed.weight",
            "layers.1.q.weight",
            "layers.1.q.bias",
            "layers.10.q.weight",
            "head.weight",
        ]
        .iter()
        .map(|path| ParamInfo::new(*path, 10))
        .collect()
    }

    fn names(partition: &Partition, roles: &Roles) -> Vec<String> {
        partition
            .blocks(&params(), roles)
            .unwrap()
            .into_iter()
            .map(|block| block.name)
            .collect()
    }

    #[test]
    fn each_partition_groups_as_it_says() {
        let roles = Roles::default();
        assert_eq!(names(&Partition::Tensor, &roles).len(), 5);
        assert_eq!(
            names(&Partition::Module, &roles),
            ["embed", "layers.1.q", "layers.10.q", "head"]
        );
        assert_eq!(
            names(&Partition::DecoderLayer, &roles),
            ["embed", "layers.1", "layers.10", "head"]
        );
        let encoder = [
            "base.embeddings.word.weight",
            "base.embeddings.norm.gamma",
            "base.encoder.layer.0.q.weight",
            "base.encoder.layer.1.q.weight",
            "base.encoder.final_norm.gamma",
            "base.pooler.dense.weight",
            "base.pooler.dense.bias",
            "scale",
        ];
        let encoder = encoder.map(|path| ParamInfo::new(path, 10));
        let blocks = Partition::DecoderLayer.blocks(&encoder, &roles).unwrap();
        let found: Vec<_> = blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!(
            found,
            [
                "base.embeddings",
                "base.encoder.layer.0",
                "base.encoder.layer.1",
                "base.encoder.final_norm",
                "base.pooler",
                "scale"
            ]
        );
        let halves = Partition::custom(|path| if path.contains("layers") { "body" } else { "ends" }.into());
        assert_eq!(names(&halves, &roles), ["ends", "body"]);
    }

    #[test]
    fn a_pattern_matches_whole_parts_only() {
        let roles = Roles {
            always: vec!["layers.1".into()],
            never: vec!["embed".into()],
        };
        assert_eq!(roles.role("layers.1.q.weight"), Role::Always);
        assert_eq!(roles.role("layers.10.q.weight"), Role::Candidate);
        assert_eq!(roles.role("embed.weight"), Role::Never);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let roles = Roles {
            always: vec!["classifer".into()],
            never: vec![],
        };
        let error = Partition::Tensor
            .blocks(&params(), &roles)
            .unwrap_err()
            .to_string();
        for part in [
            "`classifer`",
            "the first is `embed.weight`",
            "called embed, q, head",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let many: Vec<_> = (0..20)
            .map(|number| ParamInfo::new(format!("m{number}.weight"), 1))
            .collect();
        let error = roles.check(&many).unwrap_err().to_string();
        assert!(error.ends_with("m14, m15 and 4 more"), "{error}");
    }

    #[test]
    fn parameters_of_different_roles_never_share_a_block() {
        let roles = Roles {
            always: vec!["bias".into()],
            never: vec![],
        };
        let blocks = Partition::DecoderLayer.blocks(&params(), &roles).unwrap();
        let bias = blocks.iter().find(|block| block.role == Role::Always).unwrap();
        assert_eq!(bias.name, "layers.1 (always)");
    }

    #[test]
    fn a_first_parameter_of_another_role_does_not_split_the_rest_of_its_block() {
        let infos = ["q", "k", "v", "o"].map(|name| ParamInfo::new(format!("layers.0.{name}.weight"), 10));
        let roles = Roles {
            always: vec!["q".into(), "v".into()],
            never: vec![],
        };
        let blocks = Partition::DecoderLayer.blocks(&infos, &roles).unwrap();
        let found: Vec<_> = blocks
            .iter()
            .map(|block| (block.name.as_str(), block.role, block.params.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("layers.0 (always)", Role::Always, vec![0, 2]),
                ("layers.0", Role::Candidate, vec![1, 3])
            ]
        );
    }

    #[test]
    fn a_name_of_ones_own_never_meets_one_that_tells_roles_apart() {
        let infos = ["a", "b", "c"].map(|name| ParamInfo::new(name, 1));
        let roles = Roles {
            always: vec!["b".into()],
            never: vec![],
        };
        let own = Partition::custom(|path| if path == "c" { "x (always)" } else { "x" }.into());
        let blocks = own.blocks(&infos, &roles).unwrap();
        let names: BTreeSet<_> = blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    proptest! {
        #[test]
        fn a_partition_covers_every_parameter_once(groups in proptest::collection::vec(0usize..5, 1..40)) {
            let params: Vec<_> = groups.iter().enumerate()
                .map(|(i, group)| ParamInfo::new(format!("g{group}.p{i}"), i as u64 + 1)).collect();
            for partition in [Partition::Tensor, Partition::Module, Partition::DecoderLayer] {
                let blocks = partition.blocks(&params, &Roles::default()).unwrap();
                let mut covered: Vec<_> = blocks.iter().flat_map(|block| block.params.clone()).collect();
                covered.sort_unstable();
                prop_assert_eq!(covered, (0..params.len()).collect::<Vec<_>>());
                let entries: u64 = blocks.iter().map(|block| block.numel).sum();
                prop_assert_eq!(entries, params.iter().map(|param| param.numel).sum::<u64>());
            }
        }
    }
}
