//! What a method trains, on paper: which parameters there are, and which of them a selection takes.
use blockllm_model::ParameterKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which blocks a selection is assumed to take. Which it will take depends on gradients; how many entries it trains does
/// not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assumed {
    /// Blocks spread evenly over the model until the budget is met.
    #[default]
    Typical,
    /// The largest block crosses the budget: no selection has more entries.
    Worst,
    /// These, by name: what a run has selected.
    Blocks(Vec<String>),
}

/// A parameter under a method.
#[derive(Clone, Debug)]
pub struct PlannedParameter {
    /// Its path in the model.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParameterKind,
    /// Its entries.
    pub entries: u64,
    /// Whether the method may train it at all.
    pub free: bool,
}

/// What a method's plan knows of a step.
#[derive(Clone, Copy, Debug)]
pub struct PlannedStep<'a> {
    /// Which blocks a selection takes.
    pub assumed: &'a Assumed,
    /// Tokens that a step sees.
    pub tokens: u64,
    /// Whether the head is the embedding.
    pub is_tied: bool,
}

impl PlannedStep<'_> {
    /// Entries of `parameter` that get a gradient: rows of a table that no token names get none; a tied head gives all of
    /// them one.
    pub fn seen(&self, parameter: &PlannedParameter) -> u64 {
        match (parameter.kind, &*parameter.shape) {
            (ParameterKind::Table, [_, width]) if !self.is_tied => {
                parameter.entries.min(self.tokens.saturating_mul(*width as u64))
            }
            _ => parameter.entries,
        }
    }
}

/// What a method trains. Parameters are meant by their positions.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// The parameters, with those that the method adds.
    pub parameters: Vec<PlannedParameter>,
    /// Groups of parameters that the first measurement unfreezes together; none where nothing is measured.
    pub sweep: Vec<Vec<usize>>,
    /// Parameters of the selected blocks.
    pub selected: Vec<usize>,
    /// Parameters that are trained at every step beside them.
    pub always: Vec<usize>,
    /// Parameters whose gradients are made only to be measured, or for a rule without state.
    pub probed: Vec<usize>,
    /// Entries of each selected parameter that are trained.
    pub kept: BTreeMap<usize, u64>,
    /// Whether all state of a parameter is made by its first update; else moments and indices are made for all parameters
    /// together before the first update of a selection, and only masters by the update.
    pub state_with_update: bool,
    /// Bytes of state beside that of the trained entries, such as momenta of what no update rule trains; made with the first
    /// step.
    pub momenta: u64,
    /// Bytes that the step of a rule without state needs for a moment, by parameter.
    pub scratch: BTreeMap<usize, u64>,
}

impl Scheme {
    /// Every entry of `parameters` at every step; nothing is measured, and each has its state from its first update on.
    pub fn dense(parameters: Vec<PlannedParameter>) -> Self {
        let entries = parameters.iter().map(|parameter| parameter.entries);
        Self {
            kept: entries.enumerate().collect(),
            selected: (0..parameters.len()).collect(),
            parameters,
            sweep: Vec::new(),
            always: Vec::new(),
            probed: Vec::new(),
            state_with_update: true,
            scratch: BTreeMap::new(),
            momenta: 0,
        }
    }

    /// Positions in `lists` as flags over all parameters.
    pub(super) fn flags(&self, lists: &[&[usize]]) -> Vec<bool> {
        let mut flags = vec![false; self.parameters.len()];
        for param in lists.iter().flat_map(|list| list.iter()) {
            flags[*param] = true;
        }
        flags
    }

    /// Entries of the selection.
    pub fn selected_entries(&self) -> u64 {
        self.selected
            .iter()
            .map(|param| self.parameters[*param].entries)
            .sum()
    }

    /// Those of them that are trained.
    pub fn kept_entries(&self) -> u64 {
        self.selected.iter().map(|param| self.kept[param]).sum()
    }
}
