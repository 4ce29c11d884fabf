//! `plan`: what a step would need, before anything is made; no weights are read and none are allocated.
mod args;
mod model;
mod size;
mod text;

pub use args::{Args, Machine, NAME};
pub use model::model_shape;
pub use size::{ByteSize, gigabytes};
pub(crate) use text::SIZES;

use anyhow::{Result, bail};
use blockllm_train::Method;
use blockllm_train::memory::plan::advice;
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
    fn larger(&self) -> Assumed {
        if self.typical[0].peak_bytes() > self.worst[0].peak_bytes() {
            Assumed::Typical
        } else {
            Assumed::Worst
        }
    }
}

/// Prints what `args` ask for.
///
/// # Errors
/// When the model cannot be read, or the method does not fit it.
pub fn run(args: &Args) -> Result<()> {
    if args.all {
        println!("{}", text::comparison(args)?);
        return Ok(());
    }
    let (name, model) = model_shape(&args.model)?;
    let method = with_sparsity(for_model(args.method.clone(), &model), args.sparsity)?;
    let planned = planned(&workload(args, &model, &method))?;
    println!("{}", text::heading(args, &name, &model, &method, &planned));
    println!("{}", text::table(&planned).to_markdown());
    println!("{}", text::notes(&planned));
    if let Some(memory) = args.memory {
        let mut asked = workload(args, &model, &method);
        asked.selection = planned.larger();
        let found = if planned.needed() > memory.0 {
            advice(&asked, memory.0)?
        } else {
            Vec::new()
        };
        println!("{}", text::verdict(&planned, memory, &found));
    }
    Ok(())
}

/// The workload that `args` describe, with a whole backward pass and the typical selection.
pub(crate) fn workload<'a>(args: &Args, model: &'a ModelShape, method: &'a Method) -> Workload<'a> {
    Workload {
        weights: args.weights,
        grad_accum_steps: args.grad_accum_steps,
        clipped: !args.no_clip,
        on_host: args.device == Machine::Flex,
        ..Workload::new(model, method, args.batch, args.seq)
    }
}

/// `workload` both ways, with the typical and the largest selection.
fn planned(workload: &Workload<'_>) -> Result<Planned> {
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
fn with_sparsity(mut method: Method, sparsity: Option<f64>) -> Result<Method> {
    let Some(sparsity) = sparsity else {
        return Ok(method);
    };
    if method.algorithm.sparsity().is_none() {
        bail!("`{}` has no sparsity; leave --sparsity out", method.label);
    }
    if !(0.0..1.0).contains(&sparsity) {
        bail!("--sparsity {sparsity} is outside [0, 1)");
    }
    method.algorithm.set_sparsity(sparsity);
    Ok(method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(words: &[&str]) -> Args {
        Args::parse_from([&["plan"], words].concat())
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would_make_it_fit() {
        let args = args(&["--model", "llama-60m", "--memory", "300MB"]);
        let (_, model) = model_shape(&args.model).unwrap();
        let planned = planned(&workload(&args, &model, &args.method)).unwrap();
        let found = advice(&workload(&args, &model, &args.method), 300_000_000).unwrap();
        let text = text::verdict(&planned, args.memory.unwrap(), &found);
        assert!(
            text.contains("does not fit into 300.0 MB") && text.contains("--weights bf16"),
            "{text}"
        );
        let text = text::verdict(&planned, "1TB".parse().unwrap_or(ByteSize(1 << 40)), &[]);
        assert!(text.contains("It fits into"), "{text}");
        let table = text::table(&planned).to_markdown();
        assert!(
            table.contains("weights") && table.contains("reached at"),
            "{table}"
        );
    }

    #[test]
    fn a_sparsity_is_for_methods_that_train_blocks() {
        let method = |text| Method::parse(text).unwrap();
        assert!(with_sparsity(method("blockllm"), Some(0.9)).is_ok());
        let error = with_sparsity(method("lora:8"), Some(0.9)).unwrap_err();
        assert!(error.to_string().contains("has no sparsity"), "{error}");
        let error = with_sparsity(method("blockllm"), Some(1.0)).unwrap_err();
        assert!(error.to_string().contains("outside [0, 1)"), "{error}");
    }
}
