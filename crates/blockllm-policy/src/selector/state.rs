//! What a selector remembers across a resume.
use super::Selector;
use crate::{Block, BlockId, Budget, Measurements, PolicyError, PolicyRng, Role, Terms, Visits, terms};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// What a [`Selector`] must remember across a resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorState {
    policy: String,
    policy_state: serde_json::Value,
    /// The policy's settings; absent in states of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_settings: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sparsity: Option<f64>,
    /// Name and role of every block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<(String, Role)>>,
    block_sizes: Vec<u64>,
    visits: Visits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measurements: Option<Measurements>,
    /// In states of earlier versions, which had one signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    norms: Option<Vec<Option<f64>>>,
    measured_at: Vec<Option<u64>>,
    selected: Vec<BlockId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    terms: Vec<Terms>,
    /// That of the selection, where the policy changes it over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sparsity_in_force: Option<f64>,
    history: Vec<f64>,
    step: u64,
    steps_since_selection: u64,
    rng: PolicyRng,
}

impl Selector {
    /// Everything that a resume needs.
    pub fn state(&self) -> SelectorState {
        SelectorState {
            policy: self.policy.name().to_owned(),
            policy_state: self.policy.state(),
            policy_settings: Some(self.policy.settings()).filter(|settings| !settings.is_null()),
            sparsity: Some(self.config.sparsity),
            blocks: Some(self.named_roles()),
            block_sizes: self.blocks.iter().map(|block| block.numel).collect(),
            visits: self.visits.clone(),
            measurements: Some(self.measurements.clone()),
            norms: None,
            measured_at: self.measured_at.clone(),
            selected: self.selected.clone(),
            terms: self.terms.clone(),
            sparsity_in_force: Some(self.sparsity)
                .filter(|sparsity| sparsity.to_bits() != self.config.sparsity.to_bits()),
            history: self.history.clone(),
            step: self.step,
            steps_since_selection: self.steps_since_selection,
            rng: self.rng.clone(),
        }
    }

    /// Goes on from a saved state; when it refuses, nothing has changed.
    ///
    /// # Errors
    /// When the state is of another policy, partition, sparsity or setting of the policy, or is no whole state.
    pub fn restore(&mut self, state: SelectorState) -> Result<(), PolicyError> {
        self.check_is_of_this(&state)?;
        let measurements = self.measurements_of(&state)?;
        self.check_is_whole(&state)?;
        let sparsity = state.sparsity_in_force.unwrap_or(self.config.sparsity);
        let budget = Budget::new(&self.blocks, sparsity)?;
        let (policy, all) = (self.policy.name(), budget.selected_entries());
        terms::check(policy, &state.terms, &state.selected, &self.blocks, all)?;
        self.policy.restore(&state.policy_state)?;
        self.policy.check_restored(&self.candidates)?;
        self.visits = state.visits;
        self.measurements = measurements;
        self.measured_at = state.measured_at;
        self.selected = state.selected;
        self.terms = state.terms;
        (self.sparsity, self.budget) = (sparsity, budget);
        self.history = state.history;
        self.step = state.step;
        self.steps_since_selection = state.steps_since_selection;
        self.rng = state.rng;
        Ok(())
    }

    fn check_is_of_this(&self, state: &SelectorState) -> Result<(), PolicyError> {
        equal("policy", &state.policy, &self.policy.name().to_owned())?;
        if let Some(settings) = &state.policy_settings {
            equal("settings of the policy", settings, &self.policy.settings())?;
        }
        if let Some(sparsity) = state.sparsity {
            let same = sparsity.to_bits() == self.config.sparsity.to_bits();
            if !same {
                return Err(mismatch("sparsity", &sparsity, &self.config.sparsity));
            }
        }
        let sizes: Vec<_> = self.blocks.iter().map(|block| block.numel).collect();
        if state.block_sizes != sizes {
            return Err(mismatch(
                "block sizes",
                &summary(&state.block_sizes),
                &summary(&sizes),
            ));
        }
        let Some(blocks) = &state.blocks else {
            return Ok(());
        };
        let own = self.named_roles();
        let differs = blocks.iter().zip(&own).find(|(saved, own)| saved != own);
        match differs {
            Some((saved, own)) => {
                let told = |(name, role): &(String, Role)| format!("`{name}` ({})", role.name());
                Err(mismatch("block", &told(saved), &told(own)))
            }
            None => Ok(()),
        }
    }

    /// A state that somebody edited, or that is of another version, would be read past its end.
    fn check_is_whole(&self, state: &SelectorState) -> Result<(), PolicyError> {
        let count = self.blocks.len();
        for (what, found) in [
            ("visits of blocks", state.visits.len()),
            ("measured blocks", state.measured_at.len()),
        ] {
            if found != count {
                return Err(mismatch(what, &found, &count));
            }
        }
        self.check_known(&state.selected)
    }

    /// What a state has measured, if it is of this policy's signals and of as many blocks.
    fn measurements_of(&self, state: &SelectorState) -> Result<Measurements, PolicyError> {
        let mut own = self.measurements.clone();
        match (&state.measurements, &state.norms) {
            (Some(found), _) if found.is_like(&own) => Ok(found.clone()),
            (Some(found), _) => Err(mismatch("measurements of", &found.names(), &own.names())),
            (None, Some(norms)) if norms.len() == self.blocks.len() => {
                let first = own.first();
                for (block, norm) in norms.iter().enumerate() {
                    if let Some(norm) = norm {
                        own.note(first, BlockId(block), *norm);
                    }
                }
                Ok(own)
            }
            (None, norms) => {
                let found = norms.as_ref().map_or(0, Vec::len);
                Err(mismatch("norms of blocks", &found, &self.blocks.len()))
            }
        }
    }

    fn named_roles(&self) -> Vec<(String, Role)> {
        let of = |block: &Block| (block.name.clone(), block.role);
        self.blocks.iter().map(of).collect()
    }
}

fn equal<T: PartialEq + Display>(what: &'static str, found: &T, expected: &T) -> Result<(), PolicyError> {
    if found == expected {
        return Ok(());
    }
    Err(mismatch(what, found, expected))
}

fn mismatch(what: &'static str, found: &dyn Display, expected: &dyn Display) -> PolicyError {
    PolicyError::StateMismatch {
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn summary(sizes: &[u64]) -> String {
    format!(
        "{} blocks with {} entries",
        sizes.len(),
        sizes.iter().sum::<u64>()
    )
}
