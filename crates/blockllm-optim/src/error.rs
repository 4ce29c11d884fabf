//! What can go wrong when a module is optimized block by block.
use blockllm_policy::PolicyError;
use thiserror::Error;

/// An error of the optimizer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// The policy side refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A setting is out of its range.
    #[error("optimizer setting `{field}` is {value}: {mend}")]
    Setting {
        /// The setting's name.
        field: &'static str,
        /// The value given.
        value: String,
        /// What to do.
        mend: &'static str,
    },
    /// A trained parameter got no gradient.
    #[error(
        "parameter `{path}` is trained but got no gradient: does the loss depend on it, and was `prepare` called before the forward pass?"
    )]
    MissingGradient {
        /// Path of the parameter.
        path: String,
    },
    /// The module is not the one the optimizer was made for.
    #[error("the module has no parameter `{path}`: use the module that the optimizer was made for")]
    MissingParameter {
        /// Path of the parameter.
        path: String,
    },
    /// The loss is not a number.
    #[error(
        "the loss at step {step} is {loss}: training has diverged; lower the learning rate or clip the gradients"
    )]
    BadLoss {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The device failed while values were read back.
    #[error("reading {what} from the device failed: {message}")]
    Device {
        /// What was read.
        what: &'static str,
        /// The device's message.
        message: String,
    },
}
