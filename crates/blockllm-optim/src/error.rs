//! What can go wrong when a module is optimized block by block.
use blockllm_policy::{PolicyError, path_matches};
use thiserror::Error;

/// An error of the optimizer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// The policy side refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A tensor of a record could not be read.
    #[error(transparent)]
    Tensors(#[from] blockllm_tensors::TensorFileError),
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
    /// Nothing is selected yet.
    #[error("nothing is selected yet: call `prepare` before the forward pass of every step")]
    NotPrepared,
    /// No trained parameter got a gradient.
    #[error(
        "no trained parameter got a gradient, `{path}` for one: was `prepare` called before the forward pass, and does the \
         loss depend on it? What the loss never depends on belongs among the `never` roles"
    )]
    MissingGradient {
        /// Path of the parameter.
        path: String,
    },
    /// A step was given two gradients of one parameter.
    #[error(
        "parameter `{path}` got its gradient twice in one step: give `take` and `step` each gradient once, summed over all places that use the parameter"
    )]
    GradientTwice {
        /// Path of the parameter.
        path: String,
    },
    /// One parameter stands in two places of a module.
    #[error(
        "`{first}` and `{second}` are one parameter: an update would part them; keep it in one place of the module and use \
         it from there, as a head does that is tied to its embedding"
    )]
    SharedParameter {
        /// Its first path.
        first: String,
        /// Another one.
        second: String,
    },
    /// The parameters lie on several devices.
    #[error(
        "the module's parameters lie on {count} devices ({first}, {second}): move it to one, with `Module::to_device`"
    )]
    Devices {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
        /// Another one.
        second: String,
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
    /// A rank above what a matrix can have.
    #[error(
        "rank {rank} is above the smaller side of `{path}`, which is {limit}: use a rank of at most {limit}, or leave the parameter out"
    )]
    Rank {
        /// Path of the parameter.
        path: String,
        /// The rank given.
        rank: usize,
        /// The smaller side.
        limit: usize,
    },
    /// A target pattern matches no matrix, so it is a typo.
    #[error("the target pattern `{pattern}` matches none of the {matrices} matrices; the first is `{first}`")]
    UnmatchedTarget {
        /// The pattern.
        pattern: String,
        /// How many matrices there are.
        matrices: usize,
        /// One that exists, to show what paths look like.
        first: String,
    },
    /// Gradients are not finite where a computation on the host needs them to be.
    #[error(
        "the gradient norm at step {step} is {norm}: training has diverged; lower the learning rate or clip the gradients"
    )]
    BadGradNorm {
        /// The step.
        step: u64,
        /// The norm.
        norm: f64,
    },
    /// The device cannot compute with a type.
    #[error(
        "the device {device} cannot compute in {dtype}: keep the weights in f32, or use a device that can (CUDA and flex can do bf16, most Vulkan drivers cannot)"
    )]
    UnsupportedDtype {
        /// The device.
        device: String,
        /// The type asked for.
        dtype: String,
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

impl OptimError {
    /// Refuses a pattern of `targets` that is in no path of `matrices`.
    pub(crate) fn check_targets(targets: &[String], matrices: &[&str]) -> Result<(), Self> {
        let is_there = |pattern: &str| matrices.iter().any(|path| path_matches(pattern, path));
        match targets.iter().find(|pattern| !is_there(pattern)) {
            None => Ok(()),
            Some(pattern) => Err(Self::UnmatchedTarget {
                pattern: pattern.clone(),
                matrices: matrices.len(),
                first: (*matrices.first().unwrap_or(&"none")).to_owned(),
            }),
        }
    }

    /// Refuses a `rank` above the smallest side of the parameter at `path`.
    pub(crate) fn check_rank(path: &str, rank: usize, shape: &[usize]) -> Result<(), Self> {
        let limit = shape.iter().copied().min().unwrap_or(0);
        if rank <= limit {
            return Ok(());
        }
        Err(Self::Rank {
            path: path.to_owned(),
            rank,
            limit,
        })
    }
}
