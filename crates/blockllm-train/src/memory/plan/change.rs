//! One change of a run that would save memory.

/// One change of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Gradients layer by layer: the same numbers, each layer computed twice.
    LayerWise,
    /// A setting of the method, `+KEY=VALUE`.
    Setting(&'static str, &'static str),
    /// Weights in bf16.
    HalfWeights,
    /// No clipping: layer by layer no gradient waits for the others then.
    NoClipping,
    /// Another method.
    Method(String),
    /// A higher sparsity.
    Sparsity(f64),
    /// Fewer rows in a micro-batch, more micro-batches in a step.
    BatchSize(u64),
    /// Shorter rows.
    SeqLen(u64),
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LayerWise => formatter.write_str("--backward layer-wise"),
            Self::Setting(key, value) => write!(formatter, "+{key}={value}"),
            Self::HalfWeights => formatter.write_str("--weights bf16"),
            Self::NoClipping => formatter.write_str("--no-clip"),
            Self::Method(name) => write!(formatter, "--method {name}"),
            Self::Sparsity(sparsity) => write!(formatter, "--sparsity {sparsity}"),
            Self::BatchSize(rows) => write!(formatter, "--batch {rows}"),
            Self::SeqLen(tokens) => write!(formatter, "--seq {tokens}"),
        }
    }
}
