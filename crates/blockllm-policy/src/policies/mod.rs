//! The built-in policies, one file each, in the one list that a new one is added to.
mod all;
mod blockllm;
mod checked;
mod cyclic;
mod epsilon_greedy;
mod fixed;
mod importance;
mod magnitude;
mod misa;
mod nothing;
mod official_compat;
mod random;
mod settings;

pub use all::All;
pub use blockllm::{BlockLlmPolicy, BlockLlmSettings, NormOrder};
pub use cyclic::{Cyclic, CyclicOrder, CyclicSettings};
pub use epsilon_greedy::{EpsilonGreedy, EpsilonGreedySettings};
pub use fixed::{Fixed, FixedSettings};
pub use importance::{Importance, ImportanceSettings};
pub use magnitude::{Magnitude, MagnitudeSettings};
pub use misa::{Misa, MisaSettings};
pub use nothing::Nothing;
pub use official_compat::{OfficialCompat, OfficialCompatSettings};
pub use random::{RandomBlocks, RandomSettings};

use crate::{Policy, PolicyError};
use serde::{Deserialize, Serialize};
use settings::Settings;

/// Makes [`PolicyConfig`] of the list below: each line is a name in files and on the command line, and a variant with the
/// settings that the policy's file defines.
macro_rules! built_in_policies {
    ($($name:literal => $variant:ident($settings:ty),)*) => {
        /// A built-in policy with its settings, as configuration files and the command line give it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum PolicyConfig {
            $(
                #[doc = concat!("The policy `", $name, "`.")]
                #[serde(rename = $name)]
                $variant($settings),
            )*
        }

        impl PolicyConfig {
            /// Every name of the list, with its default settings where it has them.
            fn listed() -> Vec<(&'static str, Option<Self>)> {
                vec![$(($name, <$settings>::defaults().map(Self::$variant)),)*]
            }

            fn name_and_settings(&self) -> (&'static str, &dyn Settings) {
                match self {
                    $(Self::$variant(settings) => ($name, settings),)*
                }
            }
        }
    };
}

// In the order in which errors and `--help` have them. **A new policy is a file, its names above, and a line here.**
built_in_policies! {
    "blockllm" => BlockLlm(BlockLlmSettings),
    "blockllm-no-visits" => BlockLlmNoVisits(BlockLlmSettings),
    "suboptimal" => Suboptimal(BlockLlmSettings),
    "magnitude" => Magnitude(MagnitudeSettings),
    "random" => Random(RandomSettings),
    "cyclic" => Cyclic(CyclicSettings),
    "importance" => Importance(ImportanceSettings),
    "misa" => Misa(MisaSettings),
    "epsilon-greedy" => EpsilonGreedy(EpsilonGreedySettings),
    "official-compat" => OfficialCompat(OfficialCompatSettings),
    "fixed" => Fixed(FixedSettings),
    "all" => All(All),
    "nothing" => Nothing(Nothing),
}

impl PolicyConfig {
    /// The names that [`from_name`](Self::from_name) knows.
    pub fn names() -> Vec<&'static str> {
        let named = Self::named().into_iter();
        named.map(|(name, _)| name).collect()
    }

    /// The policy of that name with its default settings.
    ///
    /// # Errors
    /// When there is none; the error lists the names.
    pub fn from_name(name: &str) -> Result<Self, PolicyError> {
        let mut named = Self::named().into_iter();
        match named.find(|(known, _)| *known == name) {
            Some((_, policy)) => Ok(policy),
            None => Err(PolicyError::UnknownPolicy {
                name: name.to_owned(),
                known: Self::names().join(", "),
            }),
        }
    }

    /// The policies that a single word on the command line gives, with their default settings.
    fn named() -> Vec<(&'static str, Self)> {
        let listed = Self::listed().into_iter();
        listed
            .filter_map(|(name, policy)| Some((name, policy?)))
            .collect()
    }

    /// Takes another patience, or else another interval between selections, where it has one.
    pub fn set_patience(&mut self, patience: usize) {
        let patience = patience.to_string();
        let fields = ["patience", "interval"];
        // A policy that has neither stays as it is.
        let _ = fields.iter().any(|field| self.set(field, &patience).is_ok());
    }

    /// How many of the probes that a method names it asks for at a step.
    pub fn probes(&self, named: usize) -> usize {
        let (_, settings) = self.name_and_settings();
        if settings.takes_probes() { named } else { 0 }
    }

    /// Sets one of its fields to what `value` says, as a configuration file would.
    ///
    /// # Errors
    /// When it has no such field, or the value is none of its; the error lists the fields.
    pub fn set(&mut self, field: &str, value: &str) -> Result<(), PolicyError> {
        let mut json = serde_json::to_value(&*self).expect("a policy's settings have only string keys");
        let fields = json.as_object_mut().expect("a policy is an object");
        let refuse = |mend| {
            Err(PolicyError::Setting {
                field: "policy",
                value: format!("{field}:{value}"),
                mend,
            })
        };
        let known = |field: &str| field != "name";
        let (_, settings) = self.name_and_settings();
        for unwritten in settings.unwritten_when_false() {
            fields.entry(*unwritten).or_insert(false.into());
        }
        if !(known(field) && fields.contains_key(field)) {
            let names: Vec<_> = fields
                .keys()
                .map(String::as_str)
                .filter(|field| known(field))
                .collect();
            let names = if names.is_empty() {
                "no settings".into()
            } else {
                names.join(", ")
            };
            return refuse(format!("this policy has {names}"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        fields.insert(field.to_owned(), value);
        match serde_json::from_value(json) {
            Ok(set) => *self = set,
            Err(error) => return refuse(error.to_string()),
        }
        Ok(())
    }

    /// Builds it.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn build(&self) -> Result<Box<dyn Policy>, PolicyError> {
        let (name, settings) = self.name_and_settings();
        settings.build(name)
    }
}
