//! `fixed`: a named set of blocks, never selected again.
use super::settings::{Settings, told};
use crate::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take};
use serde::{Deserialize, Serialize};

/// Selects the blocks of the given names, whole, once.
///
/// *Rule:* the named set. *Source:* a control. *Settings:* the names of the blocks. *Use it* to ask what a particular set of blocks is worth.
#[derive(Clone, Debug)]
pub struct Fixed {
    settings: FixedSettings,
}

impl Fixed {
    /// The blocks of these names.
    ///
    /// # Errors
    /// When the list is empty.
    pub fn new(blocks: Vec<String>) -> Result<Self, PolicyError> {
        if blocks.is_empty() {
            return Err(PolicyError::Setting {
                field: "blocks",
                value: "[]".into(),
                mend: "name at least one block".into(),
            });
        }
        Ok(Self {
            settings: FixedSettings { blocks },
        })
    }
}

/// Its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedSettings {
    /// The names of the blocks.
    pub blocks: Vec<String>,
}

impl Settings for FixedSettings {
    /// Which blocks, only their names can tell.
    fn defaults() -> Option<Self> {
        None
    }

    fn build(&self, _: &str) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Fixed::new(self.blocks.clone())?))
    }
}

impl Policy for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn settings(&self) -> serde_json::Value {
        told(&self.settings)
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn take(&self) -> Take {
        Take::Blocks(self.settings.blocks.len())
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let find = |name: &String| {
            let named = |id: &&BlockId| context.blocks[id.0].name == *name;
            context
                .candidates
                .iter()
                .find(named)
                .copied()
                .ok_or_else(|| PolicyError::Setting {
                    field: "blocks",
                    value: name.clone(),
                    mend: format!("no candidate has this name; there are {}", names(context)),
                })
        };
        self.settings.blocks.iter().map(find).collect()
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }

    fn lookback(&self) -> usize {
        0
    }
}

fn names(context: &SelectContext<'_>) -> String {
    let names: Vec<_> = context
        .candidates
        .iter()
        .map(|id| context.blocks[id.0].name.as_str())
        .collect();
    names.join(", ")
}
