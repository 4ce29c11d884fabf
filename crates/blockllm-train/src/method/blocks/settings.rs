//! The settings of methods that train blocks, one row each: key, values, help, how it is taken.
use super::{BlockMethod, PolicySettings};
use crate::method::{Given, PresetPaths, Setting, group_settings};
use blockllm_optim::{
    BlockOptimizerConfig, InactiveRule, MaskScore, MaskThreshold, Recovery, SweepMode, Update,
};
use blockllm_policy::{BlockLlmPolicy, Partition};
use std::sync::{Arc, LazyLock};

/// All of them, in the order of `--help`.
pub(super) fn table<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    [
        choosing(),
        measuring(),
        masking(),
        training(),
        resting(),
        group_settings::table(),
    ]
    .concat()
}

/// What decides which blocks are trained.
fn choosing<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    vec![
        Setting::new(
            "partition",
            "tensor|module|decoder-layer",
            "how parameters are grouped",
            |blocks, given| {
                given.checked(Partition::from_name(given.value))?;
                given.value.clone_into(&mut blocks.partition);
                Ok(())
            },
        ),
        Setting::new(
            "always",
            "PATHS",
            "parameters trained at every step, by parts of their paths with a slash between",
            |blocks, given| {
                blocks.always = given.paths();
                blocks.always_of_preset = PresetPaths::None;
                Ok(())
            },
        ),
        Setting::new(
            "never",
            "PATHS",
            "parameters that are not trained at all: never=embeddings/pooler",
            |blocks, given| {
                blocks.never = given.paths();
                Ok(())
            },
        ),
        Setting::new(
            "norm",
            "rms|grad|processed",
            "which norm of the gradients ranks blocks",
            |blocks, given| given.name_into(&mut blocks.norm),
        ),
        Setting::new(
            "smoothing",
            "add-one|clamp-one",
            "how visits become a frequency",
            |blocks, given| given.name_into(&mut blocks.visit_smoothing),
        ),
        Setting::new(
            "patience",
            "N",
            "steps without a falling loss, or steps between selections",
            |blocks, given| {
                let patience = given.number()?;
                // Every policy's patience, or interval, is checked as this one's.
                given.checked(BlockLlmPolicy::new(patience))?;
                blocks.policy.set_patience(patience);
                Ok(())
            },
        ),
        Setting::new(
            "policy",
            "KEY:VALUE",
            "a setting of the policy's own: eta:500, temperature:0.5, epsilon:0.8, blocks:2, unbiased:true",
            |blocks, given| match given.value.split_once(':') {
                Some((field, value)) => blocks.policy.set(field, value),
                None => Err(given.refused("KEY:VALUE, such as eta:500")),
            },
        ),
    ]
}

/// What decides whose gradients are measured, and when.
fn measuring<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    vec![
        Setting::new(
            "probes",
            "N",
            "blocks outside the selection measured at each step",
            |blocks, given| given.number_into(&mut blocks.probes),
        ),
        Setting::new(
            "measured",
            "probes|passed",
            "the probes, or also every block that the backward pass goes through anyway (for --backward layer-wise)",
            |blocks, given| given.name_into(&mut blocks.measured),
        ),
        Setting::new(
            "sweep",
            "N|full",
            "blocks per backward pass of the first measurement",
            |blocks, given| {
                let sweep = match given.value {
                    "full" => SweepMode::Full,
                    _ => SweepMode::Grouped(given.number()?),
                };
                check(given, |config| config.sweep = sweep)?;
                blocks.sweep = sweep;
                Ok(())
            },
        ),
    ]
}

/// What decides which of a selection's entries are trained.
fn masking<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    vec![
        Setting::new(
            "mask",
            "global|per-parameter|none",
            "over what the mask's threshold is taken; none: selected blocks are trained whole, as many as the budget holds, \
             one at least",
            |blocks, given| given.name_into(&mut blocks.mask),
        ),
        Setting::new(
            "threshold",
            "exact|N",
            "exact top k, or the quantile of N sampled gradients",
            |blocks, given| {
                let threshold = match given.value {
                    "exact" => MaskThreshold::Exact,
                    _ => MaskThreshold::Sampled(given.number()?),
                };
                check(given, |config| config.threshold = threshold)?;
                blocks.threshold = threshold;
                Ok(())
            },
        ),
        Setting::new(
            "refresh",
            "each-selection|each-step",
            "when the mask is made anew",
            |blocks, given| given.name_into(&mut blocks.refresh),
        ),
        Setting::new(
            "score",
            "gradient|smallest-weights|principal-weights:RANK",
            "what entries are ranked by: |g|, 1 / |w| (NanoAdam), or the weights' approximation of this rank (LIFT)",
            |blocks, given| {
                let score = match given.value.split_once(':') {
                    Some(("principal-weights", rank)) => {
                        let rank = rank
                            .parse()
                            .map_err(|_| given.refused("principal-weights:RANK, a whole number"));
                        MaskScore::PrincipalWeights { rank: rank? }
                    }
                    None if given.value == "gradient" => MaskScore::Gradient,
                    None if given.value == "smallest-weights" => MaskScore::SmallestWeights,
                    _ => return Err(given.refused("gradient, smallest-weights or principal-weights:RANK")),
                };
                check(given, |config| config.score = Arc::new(score))?;
                blocks.score = score;
                Ok(())
            },
        ),
        Setting::new(
            "unit",
            "entry|input|output",
            "what a mask trains or leaves out as one: an entry, or all weights of an input or an output of a matrix",
            |blocks, given| given.name_into(&mut blocks.unit),
        ),
    ]
}

/// What decides how they are trained.
fn training<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    vec![
        Setting::new(
            "moments",
            "reset|carried-over",
            "what a new selection does to the moments of what stays",
            |blocks, given| given.name_into(&mut blocks.moments),
        ),
        Setting::new(
            "state",
            "f32|int8",
            "in what the moments are kept; int8 is a quarter of the bytes",
            |blocks, given| given.name_into(&mut blocks.moment_precision),
        ),
        Setting::new(
            "half",
            "masters|nearest|stochastic",
            "trained weights in bf16: with f32 copies; or without, rounded to the nearest or up and down by chance",
            |blocks, given| given.name_into(&mut blocks.half_weights),
        ),
        Setting::new(
            "ramp",
            "N",
            "steps over which the updates of fresh state grow to their full length; not with moments=carried-over or \
             refresh=each-step, unless mask=none",
            |blocks, given| given.number_into(&mut blocks.ramp),
        ),
        Setting::new(
            "rule",
            &RULES,
            "how trained entries are updated",
            |blocks, given| {
                let rule = Update::from_name(given.value);
                blocks.update = rule.ok_or_else(|| given.refused(&one_of(Update::names())))?;
                Ok(())
            },
        ),
    ]
}

/// What decides what becomes of all else.
fn resting<P: PolicySettings>() -> Vec<Setting<BlockMethod<P>>> {
    vec![
        Setting::new(
            "inactive",
            "none|SCALE",
            "SGD without state at SCALE times the learning rate on all other blocks",
            |blocks, given| {
                if given.value == "none" {
                    blocks.inactive = None;
                    return Ok(());
                }
                let scale = given.number()?;
                let alone = InactiveRule {
                    scale,
                    ..InactiveRule::default()
                };
                check(given, |config| config.inactive = Some(alone))?;
                blocks.inactive.get_or_insert_default().scale = scale;
                Ok(())
            },
        ),
        Setting::new(
            "direction",
            "sign|normalised|whitened",
            "its way: the sign of the gradient, the gradient over the root mean square of its column, or whitened before that",
            |blocks, given| given.name_into(&mut inactive(blocks, given)?.direction),
        ),
        Setting::new(
            "reach",
            "all|above",
            "it moves all of them, or those above the lowest that is trained or probed",
            |blocks, given| given.name_into(&mut inactive(blocks, given)?.reach),
        ),
        Setting::new(
            "masked-out",
            "stay|move",
            "whether it moves the entries of selected blocks too that the mask leaves out",
            |blocks, given| {
                inactive(blocks, given)?.masked_out = match given.value {
                    "stay" => false,
                    "move" => true,
                    _ => return Err(given.refused("stay or move")),
                };
                Ok(())
            },
        ),
        Setting::new(
            "recovery",
            "none|GROWTH",
            "masked-out entries follow their column's trained ones (Fira); GROWTH, such as 1.01, bounds the step's norm",
            |blocks, given| {
                let recovery = match given.value {
                    "none" => None,
                    _ => Some(Recovery {
                        growth: given.number()?,
                    }),
                };
                check(given, |config| config.recovery = recovery)?;
                blocks.recovery = recovery;
                Ok(())
            },
        ),
        Setting::new(
            "momentum",
            "head|PATHS|none",
            "parameters that it moves along a momentum: the head, whatever it is called, or by parts of paths",
            |blocks, given| {
                inactive(blocks, given)?.momentum = match given.value {
                    "none" => Vec::new(),
                    _ => given.paths(),
                };
                Ok(())
            },
        ),
    ]
}

/// `adamw|sgd|lion`, as `--help` has it.
static RULES: LazyLock<String> = LazyLock::new(|| Update::names().join("|"));

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        _ => names.concat(),
    }
}

/// Refuses a value that the block optimizer refuses in settings that are else its own.
fn check(given: Given<'_>, change: impl FnOnce(&mut BlockOptimizerConfig)) -> Result<(), String> {
    let mut config = BlockOptimizerConfig::new(0.0);
    change(&mut config);
    given.checked(config.validate(&[]))
}

/// The inactive rule, of which a setting is given.
fn inactive<'a, P>(blocks: &'a mut BlockMethod<P>, given: Given<'_>) -> Result<&'a mut InactiveRule, String> {
    let none = || {
        format!(
            "{} is of the inactive rule: name inactive=SCALE before it",
            given.key
        )
    };
    blocks.inactive.as_mut().ok_or_else(none)
}
