//! The published set-up of C4 pretraining by model size (`GaLore`, tables 2 and 3): what `--scale paper` takes.
use crate::Scale;
use crate::paper::{C4_7B_STEPS, C4_SETUPS};

/// What the published runs of a size have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Optimizer steps.
    pub steps: u64,
    /// Rank of the low-rank methods.
    pub rank: usize,
    /// Steps between `GaLore`'s projections, from the scripts in its repository (`scripts/benchmark_c4`).
    pub gap: u64,
}

/// The set-up of the preset called `model`; `None` where nothing was published of it.
pub fn published(model: &str) -> Option<Published> {
    let size = model.to_lowercase();
    let size = size.strip_prefix("llama-").unwrap_or(&size);
    if size == "7b" {
        return Some(Published {
            steps: C4_7B_STEPS,
            rank: 1024,
            gap: 500,
        });
    }
    let setup = C4_SETUPS
        .iter()
        .find(|setup| setup.size.eq_ignore_ascii_case(size))?;
    Some(Published {
        steps: u64::from(setup.steps),
        rank: setup.rank as usize,
        gap: 200,
    })
}

/// The method that we know to be the best for pretraining (docs/method.md); not in the paper.
const OURS: &str = "blockllm-whitened:0.95";

/// The methods of a scale where none are named: at the paper's with the ranks that were published for the size.
pub(super) fn default_methods(scale: Scale, model: &str) -> Vec<String> {
    match (scale, published(model)) {
        (Scale::Paper, Some(Published { rank, gap, .. })) => vec![
            "adamw".into(),
            format!("galore:{rank}+gap={gap}"),
            format!("lora:{rank}"),
            "blockllm:0.5".into(),
            "blockllm:0.9".into(),
            OURS.into(),
        ],
        _ => ["adamw", "blockllm:0.5", "blockllm:0.9", OURS]
            .map(String::from)
            .to_vec(),
    }
}

/// What of the published set-up this command line leaves, in words; nothing where it keeps all of it.
pub(super) fn departures(
    is_t5: bool,
    vocab_size: usize,
    weights_are_bf16: bool,
    steps: u64,
    model: &str,
) -> Vec<String> {
    let mut departures = Vec::new();
    if !is_t5 {
        departures.push(format!(
            "the tokenizer, with {vocab_size} ids, is not t5-base's, which has 32,100: give its tokenizer.json by --tokenizer"
        ));
    }
    if !weights_are_bf16 {
        departures.push("the weights are f32, not bf16".into());
    }
    match published(model) {
        None => departures.push(format!("nothing was published of the model `{model}`")),
        Some(setup) if setup.steps != steps => {
            departures.push(format!("{steps} steps, not {}", setup.steps));
        }
        Some(_) => {}
    }
    departures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_size_has_its_own_steps_and_rank() {
        for (model, steps, rank, gap) in [
            ("60m", 10_000, 128, 200),
            ("130m", 20_000, 256, 200),
            ("Llama-350M", 60_000, 256, 200),
            ("1b", 100_000, 512, 200),
            ("7b", 150_000, 1024, 500),
        ] {
            assert_eq!(published(model), Some(Published { steps, rank, gap }), "{model}");
        }
        assert_eq!(published("tiny"), None);
        assert!(default_methods(Scale::Paper, "350m").contains(&"galore:256+gap=200".to_owned()));
        assert!(default_methods(Scale::Quick, "tiny").contains(&"blockllm:0.9".to_owned()));
        for (scale, model) in [
            (Scale::Paper, "60m"),
            (Scale::Quick, "tiny"),
            (Scale::Cpu, "tiny"),
        ] {
            assert!(
                default_methods(scale, model).contains(&OURS.to_owned()),
                "{scale:?}"
            );
        }
    }

    #[test]
    fn what_departs_from_the_published_set_up_is_told() {
        assert!(departures(true, 32_100, true, 10_000, "60m").is_empty());
        let told = departures(false, 2048, false, 9, "60m");
        assert!(told.len() == 3 && told[2] == "9 steps, not 10000", "{told:?}");
    }
}
