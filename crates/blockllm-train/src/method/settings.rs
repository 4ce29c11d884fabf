//! The settings that follow a method's name on the command line: `+KEY=VALUE`, for comparisons within one table.
use super::{Algorithm, BlockMethod, GaLoreMethod, LoraMethod};
use blockllm_optim::{Lion, MaskThreshold, Sgd, SignSgd, SvdMethod, SweepMode, Update};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;

/// What `--help` tells of the settings.
pub const SETTINGS_HELP: &str = "\
Settings of methods that train blocks (blockllm and the other policies, badam, lisa), as NAME+KEY=VALUE:
  partition=tensor|module|decoder-layer        how parameters are grouped
  always=PATHS, never=PATHS                    parameters trained at every step or not at all, by parts of their
                                               paths with a slash between: never=embeddings/pooler
  norm=rms|grad|processed                      which norm of the gradients ranks blocks
  smoothing=add-one|clamp-one                  how visits become a frequency
  patience=N                                   steps without a falling loss, or steps between selections
  probes=N                                     blocks outside the selection measured at each step
  measured=probes|passed                       the probes, or also every block that the backward pass goes through
                                               anyway (for --backward layer-wise)
  sweep=N|full                                 blocks per backward pass of the first measurement
  mask=global|per-parameter                    over what the mask's threshold is taken
  threshold=exact|N                            exact top k, or the quantile of N sampled gradients
  refresh=each-selection|each-step             when the mask is made anew
  moments=reset|carried-over                   what a new selection does to the moments of what stays
  state=f32|int8                               in what the moments are kept; int8 is a quarter of the bytes
  inactive=none|SCALE                          sign-SGD at SCALE times the learning rate on all other blocks
  reach=all|above                              the inactive rule moves all of them, or those above the lowest that is
                                               trained or probed
  rule=adamw|sgd|lion                          how trained entries are updated
Settings of galore: svd=exact|randomized, gap=N, scale=X. Settings of lora: alpha=X.";

impl Algorithm {
    /// Changes one setting; the error says what is wrong and what may stand there.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match self {
            Self::Blocks(blocks) => blocks.set(key, value),
            Self::GaLore(galore) => galore.set(key, value),
            Self::Lora(lora) => lora.set(key, value),
        }
    }
}

impl BlockMethod {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "partition" => value.clone_into(&mut self.partition),
            "always" => self.always = paths(value),
            "never" => self.never = paths(value),
            "norm" => self.norm = named(key, value)?,
            "smoothing" => self.visit_smoothing = named(key, value)?,
            "patience" => *self = self.clone().with_patience(number(key, value)?),
            "probes" => self.probes = number(key, value)?,
            "measured" => self.measured = named(key, value)?,
            "sweep" if value == "full" => self.sweep = SweepMode::Full,
            "sweep" => self.sweep = SweepMode::Grouped(number(key, value)?),
            "mask" => self.mask = named(key, value)?,
            "threshold" if value == "exact" => self.threshold = MaskThreshold::Exact,
            "threshold" => self.threshold = MaskThreshold::Sampled(number(key, value)?),
            "refresh" => self.refresh = named(key, value)?,
            "moments" => self.moments = named(key, value)?,
            "state" => self.moment_precision = named(key, value)?,
            "inactive" if value == "none" => self.inactive = None,
            "inactive" => {
                self.inactive = Some(SignSgd {
                    scale: number(key, value)?,
                    ..self.inactive.unwrap_or_default()
                });
            }
            "reach" => {
                let inactive = self.inactive.as_mut();
                inactive
                    .ok_or("reach is of the inactive rule: name inactive=SCALE before it")?
                    .reach = named(key, value)?;
            }
            "rule" => self.update = rule(value)?,
            _ => {
                return Err(unknown(
                    key,
                    "partition, always, never, norm, smoothing, patience, probes, measured, sweep, mask, threshold, refresh, moments, state, inactive, reach, rule",
                ));
            }
        }
        Ok(())
    }
}

impl GaLoreMethod {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "svd" if value == "exact" => self.svd = SvdMethod::Exact,
            "svd" if value == "randomized" => self.svd = SvdMethod::randomized(),
            "svd" => return Err(format!("svd={value}: use exact or randomized")),
            "gap" => self.update_proj_gap = number(key, value)?,
            "scale" => self.scale = number(key, value)?,
            _ => return Err(unknown(key, "svd, gap, scale")),
        }
        Ok(())
    }
}

impl LoraMethod {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "alpha" => self.alpha = number(key, value)?,
            _ => return Err(unknown(key, "alpha")),
        }
        Ok(())
    }
}

fn rule(value: &str) -> Result<Update, String> {
    match value {
        "adamw" => Ok(Update::default()),
        "sgd" => Ok(Sgd::default().into()),
        "lion" => Ok(Lion::default().into()),
        _ => Err(format!("rule={value}: use adamw, sgd or lion")),
    }
}

/// A variant by its name in configuration files; the error lists all of them.
fn named<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(value)).map_err(|error| format!("{key}: {error}"))
}

fn paths(value: &str) -> Vec<String> {
    value.split('/').map(String::from).collect()
}

fn number<T: FromStr<Err: Display>>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{key}={value}: {error}"))
}

fn unknown(key: &str, known: &str) -> String {
    format!("this method has no setting `{key}`; it has {known}")
}
