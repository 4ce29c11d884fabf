//! The methods that the GLUE experiment compares, and their learning rates.
use super::Settings;
use crate::{Cli, Scale, options};
use anyhow::Result;
use blockllm_data::glue::GlueTask;
use blockllm_train::Method;

/// The peak learning rate of a method that names none. At the paper's scale it is the method's published one; those without
/// have that of `GaLore`'s table 4 at rank 4. At the other scales those of full fine-tuning, LoRA and `BlockLLM` are the best
/// of the runs in `docs/experiment-log.md`, and all others have full fine-tuning's, untuned.
pub(super) fn default_learning_rate(method: &Method, scale: Scale, pretrained: bool, task: GlueTask) -> f64 {
    let rates = method.algorithm.learning_rates();
    let table_4 = if matches!(task, GlueTask::Mrpc | GlueTask::Cola) {
        3e-5
    } else {
        1e-5
    };
    match scale {
        Scale::Paper => rates.published.unwrap_or(table_4),
        Scale::Quick | Scale::Cpu if pretrained => rates.classifiers,
        Scale::Quick | Scale::Cpu => rates.from_scratch,
    }
}

/// The methods of the command line, or the scale's own, with the settings of the run.
pub(super) fn methods(cli: &Cli, settings: &Settings) -> Result<Vec<Method>> {
    let defaults: &[&str] = match cli.scale {
        Scale::Quick => &["adamw", "blockllm:0.95", "blockllm-sgd:0.95"],
        Scale::Cpu => &[
            "adamw",
            "lora:8",
            "galore:8",
            "badam:1",
            "lisa:2",
            "blockllm:0.95",
            "blockllm-sgd:0.95",
        ],
        Scale::Paper => &[
            "adamw",
            "lora:4",
            "lora:8",
            "galore:4",
            "galore:8",
            "badam:1",
            "lisa:2",
            "blockllm:0.95",
        ],
    };
    options::methods(cli, defaults, settings.patience)
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
