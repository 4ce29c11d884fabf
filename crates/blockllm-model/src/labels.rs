//! The classes of a classification head, as `config.json` names them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The names of the classes, in the order of the logits; a single one stands for a score (regression).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Classes of these names.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        assert!(!names.is_empty(), "a classifier needs at least one label");
        Self(names)
    }

    /// `count` classes named `LABEL_0`, `LABEL_1`, ..., as transformers names them.
    ///
    /// # Panics
    ///
    /// When `count` is zero.
    pub fn numbered(count: usize) -> Self {
        Self::new((0..count).map(|index| format!("LABEL_{index}")))
    }

    /// The names, in the order of the logits.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Number of logits `C`.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether the one logit is a score, not a class.
    pub fn is_regression(&self) -> bool {
        self.count() == 1
    }

    /// From `id2label`, else from `num_labels`, else the two classes that transformers assumes.
    pub(crate) fn from_json(id2label: Option<BTreeMap<String, String>>, num_labels: Option<usize>) -> Self {
        // In the text of the file "10" comes before "2".
        let named: Option<BTreeMap<usize, String>> = id2label.and_then(|names| {
            let number = |(id, name): (String, String)| id.parse().ok().map(|id| (id, name));
            names.into_iter().map(number).collect()
        });
        match named {
            Some(names) if !names.is_empty() => Self(names.into_values().collect()),
            _ => Self::numbered(num_labels.unwrap_or(2).max(1)),
        }
    }

    /// The keys by which `config.json` says this.
    pub(crate) fn json_keys(&self) -> [(&'static str, Value); 3] {
        let ids = self.0.iter().enumerate();
        let id2label: Map<String, Value> = ids
            .clone()
            .map(|(id, name)| (id.to_string(), name.as_str().into()))
            .collect();
        let label2id: Map<String, Value> = ids.map(|(id, name)| (name.clone(), id.into())).collect();
        let problem = if self.is_regression() {
            "regression"
        } else {
            "single_label_classification"
        };
        [
            ("id2label", id2label.into()),
            ("label2id", label2id.into()),
            ("problem_type", problem.into()),
        ]
    }
}
