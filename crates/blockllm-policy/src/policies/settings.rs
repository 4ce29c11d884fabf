//! What the file of a built-in policy says of the policy's settings.
use crate::{Policy, PolicyError};
use serde::Serialize;

/// The settings of a built-in policy, as run records, configuration files and the command line give them.
pub(super) trait Settings {
    /// The defaults, which its name alone stands for on the command line; `None` where the name alone is not enough.
    fn defaults() -> Option<Self>
    where
        Self: Sized;

    /// Builds the policy that has this `name` in the list. Most files hold only one and need not look at it.
    ///
    /// # Errors
    /// When a setting is out of its range.
    fn build(&self, name: &str) -> Result<Box<dyn Policy>, PolicyError>;

    /// Whether it asks for the probes that a method names.
    fn takes_probes(&self) -> bool {
        true
    }

    /// Those of its fields that are written only when they are true.
    fn unwritten_when_false(&self) -> &'static [&'static str] {
        &[]
    }
}

/// The settings that a policy holds, as it tells them.
pub(super) fn told(settings: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(settings).expect("a policy's settings have only string keys")
}
