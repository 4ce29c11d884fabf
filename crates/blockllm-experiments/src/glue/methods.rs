//! The methods that the GLUE experiment compares, and their learning rates.
use super::Settings;
use crate::{Cli, Scale, options};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::{Algorithm, Method};

/// The peak learning rate of a method that names none. At the paper's scale `BlockLLM`'s is of its own runs, LoRA's of its
/// paper's runs on RoBERTa-base (arXiv 2106.09685, appendix D), and `GaLore`'s of its table 4 at rank 4; the others have that
/// too, for want of a published one. At the other scales those of full fine-tuning, LoRA and `BlockLLM` are the best of the
/// runs in `docs/experiment-log.md`, and all others have full fine-tuning's, untuned.
pub(super) fn default_learning_rate(method: &Method, scale: Scale, pretrained: bool, task: GlueTask) -> f64 {
    let is_sparse = matches!(&method.algorithm, Algorithm::Blocks(blocks) if blocks.sparsity >= 0.8);
    let is_lora = matches!(method.algorithm, Algorithm::Lora(_));
    match scale {
        Scale::Paper if is_sparse => 3e-5,
        Scale::Paper if is_lora => 4e-4,
        Scale::Paper if matches!(task, GlueTask::Mrpc | GlueTask::Cola) => 3e-5,
        Scale::Paper => 1e-5,
        // A small model from random weights takes, and needs, larger steps.
        Scale::Quick | Scale::Cpu if !pretrained => {
            if is_sparse || is_lora {
                5e-3
            } else {
                1e-3
            }
        }
        Scale::Quick | Scale::Cpu if is_sparse || is_lora => 3e-4,
        Scale::Quick | Scale::Cpu => 5e-5,
    }
}

/// The methods of the command line, or the scale's own, with the settings of the run.
pub(super) fn methods(cli: &Cli, settings: &Settings) -> Result<Vec<Method>> {
    let parse = |text: &str| Method::parse(text).expect("the default methods are well formed");
    let methods = match (&cli.methods[..], cli.scale) {
        ([], Scale::Quick) => ["adamw", "blockllm:0.95"].map(parse).to_vec(),
        ([], _) => [
            "adamw",
            "lora:4",
            "lora:8",
            "galore:4",
            "galore:8",
            "badam:1",
            "lisa:2",
            "blockllm:0.95",
        ]
        .map(parse)
        .to_vec(),
        (given, _) => given.to_vec(),
    };
    options::check_methods(cli, &methods)?;
    let set = |method: Method| {
        let mut method = method;
        // `GaLore`'s gap between projections is a setting of its own.
        if let Algorithm::Blocks(blocks) = &mut method.algorithm {
            *blocks = blocks.clone().with_patience(settings.patience);
            options::set_blocks(cli, blocks);
        }
        Ok(method.with_own_settings()?)
    };
    methods.into_iter().map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_rates_are_for_the_paper_s_scale_only() {
        let rate = |method: &str, scale, task| {
            default_learning_rate(&Method::parse(method).unwrap(), scale, true, task)
        };
        for (method, task, paper, cpu) in [
            ("adamw", GlueTask::Rte, 1e-5, 5e-5),
            ("galore:4", GlueTask::Cola, 3e-5, 5e-5),
            ("blockllm:0.95", GlueTask::Rte, 3e-5, 3e-4),
            ("lora:8", GlueTask::Mrpc, 4e-4, 3e-4),
        ] {
            let found = [rate(method, Scale::Paper, task), rate(method, Scale::Cpu, task)];
            assert_eq!(
                found.map(f64::to_bits),
                [paper, cpu].map(f64::to_bits),
                "{method}"
            );
        }
    }
}
