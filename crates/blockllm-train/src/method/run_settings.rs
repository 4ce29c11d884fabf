//! What a run sets for all its methods at once.
use blockllm_optim::NormKind;

/// Settings of a run that its methods take as far as they heed them.
#[derive(Clone, Copy, Debug)]
pub struct RunSettings<'a> {
    /// Steps without a falling loss before blocks are selected again, or steps between selections.
    pub patience: usize,
    /// `tensor`, `module` or `decoder-layer`.
    pub partition: &'a str,
    /// Path patterns of what is trained at every step.
    pub always: &'a [String],
    /// Path patterns of what is never trained.
    pub never: &'a [String],
    /// The norm of gradients that blocks are ranked by.
    pub norm: NormKind,
    /// Probes per step.
    pub probes: usize,
}
