//! A method on a model, planned both ways: what the command line asks for, as workloads, and their plans.
use super::args::{Args, Machine};
use anyhow::{Result, bail};
use blockllm_train::Method;
use blockllm_train::memory::{Assumed, BackwardMode, MemoryPlan, ModelShape, Workload};
use blockllm_train::method::FineTuning;

/// A method on a model, planned both ways.
#[derive(Debug)]
pub struct Planned {
    /// The typical selection: whole backward pass, then layer by layer.
    pub typical: [MemoryPlan; 2],
    /// The same for the selection with the most entries.
    pub worst: [MemoryPlan; 2],
}

impl Planned {
    /// What a whole backward pass needs under either selection.
    pub fn needed(&self) -> u64 {
        self.typical[0].peak_bytes().max(self.worst[0].peak_bytes())
    }

    /// The selection that needs more: one with more entries may yet have fewer that are trained in codes.
    pub fn larger(&self) -> Assumed {
        if self.typical[0].peak_bytes() > self.worst[0].peak_bytes() {
            Assumed::Typical
        } else {
            Assumed::Worst
        }
    }
}

/// The workload that `args` describe, with a whole backward pass and the typical selection.
pub(super) fn workload<'a>(args: &Args, model: &'a ModelShape, method: &'a Method) -> Workload<'a> {
    Workload {
        weights: args.weights,
        grad_accum_steps: args.grad_accum_steps,
        clipped: !args.no_clip,
        on_host: args.device == Machine::Flex,
        ..Workload::new(model, method, args.batch, args.seq)
    }
}

/// `workload` both ways, with the typical and the largest selection.
pub(super) fn planned(workload: &Workload<'_>) -> Result<Planned> {
    let plan = |selection: Assumed, backward: BackwardMode| {
        MemoryPlan::estimate(&Workload {
            selection,
            backward,
            ..workload.clone()
        })
    };
    let both = |selection: &Assumed| {
        let one = |backward| plan(selection.clone(), backward);
        anyhow::Ok([one(BackwardMode::Whole)?, one(BackwardMode::LayerWise)?])
    };
    Ok(Planned {
        typical: both(&Assumed::Typical)?,
        worst: both(&Assumed::Worst)?,
    })
}

/// `method` as it trains `model`: a classifier is fine-tuned, and its head is fresh.
pub(crate) fn for_model(method: Method, model: &ModelShape) -> Method {
    let parts = match model {
        ModelShape::Llama(_) => return method,
        ModelShape::LlamaClassifier(..) => FineTuning::llama(vec!["score".into()]),
        ModelShape::Encoder(_) => FineTuning::encoder(vec!["classifier".into()]),
    };
    method.fine_tuning(&parts)
}

/// `method` at another sparsity.
pub(super) fn with_sparsity(mut method: Method, sparsity: Option<f64>) -> Result<Method> {
    let Some(sparsity) = sparsity else {
        return Ok(method);
    };
    if method.algorithm.sparsity().is_none() || method.algorithm.trains_all() {
        bail!(
            "`{}` has no sparsity; leave --sparsity out, or take --method blockllm:{sparsity}",
            method.label
        );
    }
    if !(0.0..1.0).contains(&sparsity) {
        bail!("--sparsity {sparsity} is outside [0, 1)");
    }
    method.algorithm.set_sparsity(sparsity);
    Ok(method)
}
