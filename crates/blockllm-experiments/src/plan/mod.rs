//! `plan`: what a step would need, before anything is made; no weights are read and none are allocated.
mod args;
mod model;
mod size;
mod text;

pub use args::{Args, Machine, NAME};
pub use model::model_shape;
pub use size::{ByteSize, gigabytes};

use anyhow::{Result, bail};
use blockllm_train::memory::plan::advice;
use blockllm_train::memory::{Assumed, BackwardMode, MemoryPlan, ModelShape, Workload};
use blockllm_train::method::FineTuning;
use blockllm_train::{Algorithm, Method};

/// A method on a model, planned both ways.
#[derive(Debug)]
pub struct Planned {
    /// The typical selection: whole backward pass, then layer by layer.
    pub typical: [MemoryPlan; 2],
    /// The same for the selection with the most entries.
    pub worst: [MemoryPlan; 2],
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
        asked.selection = Assumed::Worst;
        let found = if planned.worst[0].peak_bytes() > memory.0 {
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
        masters: !args.no_masters,
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
fn for_model(method: Method, model: &ModelShape) -> Method {
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
    match &mut method.algorithm {
        Algorithm::Blocks(blocks) if (0.0..1.0).contains(&sparsity) => blocks.sparsity = sparsity,
        Algorithm::Blocks(_) => bail!("--sparsity {sparsity} is outside [0, 1)"),
        Algorithm::Lora(_) | Algorithm::GaLore(_) => {
            bail!("`{}` has no sparsity; leave --sparsity out", method.label)
        }
    }
    Ok(method)
}
