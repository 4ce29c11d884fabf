//! `plan`: what a step would need, before anything is made; no weights are read and none are allocated.
mod args;
mod model;
mod planned;
mod text;

pub use args::{Args, Machine, NAME};
pub use model::model_shape;
pub use planned::Planned;
pub(crate) use planned::for_model;
pub(crate) use text::SIZES;

use crate::stdout::say_line;
use anyhow::Result;
use blockllm_train::memory::ModelShape;
use blockllm_train::memory::plan::advice;
use blockllm_train::tell_line;
use planned::{planned, with_sparsity, workload};

/// Prints what `args` ask for.
///
/// # Errors
/// When the model cannot be read, or the method does not fit it.
pub fn run(args: &Args) -> Result<()> {
    if args.all {
        say_line!("{}", text::comparison(args)?)?;
        return Ok(());
    }
    let (name, model) = model_shape(&args.model)?;
    let method = with_sparsity(for_model(args.method.clone(), &model), args.sparsity)?;
    let planned = planned(&workload(args, &model, &method))?;
    let positions = positions(&model);
    if args.seq > positions as u64 {
        tell_line!(
            "note: the model has {positions} positions, and a run would refuse rows of {} tokens",
            args.seq
        );
    }
    say_line!("{}", text::heading(args, &name, &model, &method, &planned))?;
    say_line!("{}", text::table(&planned).to_markdown())?;
    say_line!("{}", text::notes(&planned))?;
    if let Some(memory) = args.memory {
        let mut asked = workload(args, &model, &method);
        asked.selection = planned.larger();
        let found = if planned.needed() > memory.0 {
            advice(&asked, memory.0)?
        } else {
            Vec::new()
        };
        say_line!("{}", text::verdict(&planned, memory, &found))?;
    }
    Ok(())
}

/// The most tokens that a row of the model may have.
fn positions(model: &ModelShape) -> usize {
    match model {
        ModelShape::Llama(config) | ModelShape::LlamaClassifier(config, _) => config.num_positions(),
        ModelShape::Encoder(config) => config.max_length(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_size::ByteSize;
    use blockllm_train::Method;
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
        for name in ["lora:8", "adamw"] {
            let error = with_sparsity(method(name), Some(0.9)).unwrap_err();
            assert!(error.to_string().contains("has no sparsity"), "{error}");
        }
        let error = with_sparsity(method("blockllm"), Some(1.0)).unwrap_err();
        assert!(error.to_string().contains("outside [0, 1)"), "{error}");
    }
}
