//! By what a run was made: version, commit, features, device; one entry each time it was begun or taken up.
use serde::{Deserialize, Serialize};

/// A build of the runner on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The version of the program.
    pub version: String,
    /// The commit it was built from, where that is known.
    pub commit: Option<String>,
    /// The cargo features that change what is computed, such as `wgpu` or `gpu-tuned`.
    pub features: Vec<String>,
    /// The device that trains.
    pub device: String,
    /// The operating system and the processor's architecture.
    pub platform: String,
}

/// A stretch of steps of a run, made in one go: an entry of `sessions.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Optimizer steps that were done before.
    pub after_step: u64,
    /// By what it was made.
    pub environment: Environment,
}

impl Environment {
    /// What differs from `earlier`, in words; nothing when the two are the same.
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let shown = |commit: &Option<String>| commit.clone().unwrap_or_else(|| "unknown".into());
        let pairs = [
            ("version", earlier.version.clone(), self.version.clone()),
            ("commit", shown(&earlier.commit), shown(&self.commit)),
            ("features", earlier.features.join(","), self.features.join(",")),
            ("device", earlier.device.clone(), self.device.clone()),
            ("platform", earlier.platform.clone(), self.platform.clone()),
        ];
        pairs
            .into_iter()
            .filter(|(_, before, now)| before != now)
            .map(|(name, before, now)| format!("{name} {before} before, {now} now"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let before = Environment {
            version: "0.1.0".into(),
            commit: Some("abc".into()),
            ..Environment::default()
        };
        assert!(before.differences(&before).is_empty());
        let now = Environment {
            commit: None,
            ..before.clone()
        };
        assert_eq!(now.differences(&before), ["commit abc before, unknown now"]);
    }
}
