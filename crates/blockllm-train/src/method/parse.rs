//! How the command line names a method: `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`.
use super::{Algorithm, BlockMethod, GaLoreMethod, LoraMethod, Method};
use crate::TrainError;
use blockllm_policy::PolicyConfig;

/// Names beside those of the policies.
const BASELINES: [&str; 5] = ["adamw", "lora", "galore", "badam", "lisa"];

/// Steps between selections or refreshes, until the run's scale sets its own.
const INTERVAL: u64 = 100;

impl Method {
    /// Parses `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`: `adamw`, a policy with its sparsity (`blockllm:0.95`),
    /// `lora` or `galore` with its rank (`lora:8`), `badam` or `lisa` with a number of layers; then settings of its
    /// own, such as `blockllm:0.95+norm=grad+rule=lion`.
    ///
    /// # Errors
    /// Names the part that is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let (rest, learning_rate) = match text.split_once('@') {
            Some((rest, rate)) => (rest, Some(positive("learning rate", text, rate)?)),
            None => (text, None),
        };
        let mut parts = rest.split('+');
        let head = parts.next().unwrap_or_default();
        let (name, number) = match head.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (head, None),
        };
        let setting = |part: &str| match part.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(refuse(text, &format!("`+{part}` is not a setting"))),
        };
        let method = Self {
            label: text.to_owned(),
            algorithm: algorithm(text, name, number)?,
            settings: parts.map(setting).collect::<Result<_, _>>()?,
            learning_rate,
        };
        method.with_own_settings()
    }

    /// The same method with the settings that its name brings, over whatever was set since.
    ///
    /// # Errors
    /// Names the setting that is unknown or wrong.
    pub fn with_own_settings(mut self) -> Result<Self, TrainError> {
        for (key, value) in &self.settings {
            self.algorithm
                .set(key, value)
                .map_err(|why| refuse(&self.label, &why))?;
        }
        Ok(self)
    }
}

fn algorithm(text: &str, name: &str, number: Option<&str>) -> Result<Algorithm, TrainError> {
    Ok(match name {
        "adamw" if number.is_some() => {
            return Err(refuse(text, "`adamw` trains everything and takes no number"));
        }
        "adamw" => Algorithm::Blocks(BlockMethod::new(PolicyConfig::All, 0.0)),
        "lora" => Algorithm::Lora(LoraMethod::new(count("rank", text, number, 8)?)),
        "galore" => Algorithm::GaLore(GaLoreMethod::new(count("rank", text, number, 64)?)),
        "badam" => Algorithm::Blocks(BlockMethod::badam(
            INTERVAL,
            count("number of layers", text, number, 1)?,
        )),
        "lisa" => Algorithm::Blocks(BlockMethod::lisa(
            INTERVAL,
            count("number of layers", text, number, 2)?,
        )),
        _ => Algorithm::Blocks(policy(text, name, number)?),
    })
}

fn policy(text: &str, name: &str, sparsity: Option<&str>) -> Result<BlockMethod, TrainError> {
    let policy = PolicyConfig::from_name(name).map_err(|_| refuse(text, &unknown(name)))?;
    let sparsity = match sparsity {
        Some(sparsity) => float("sparsity", text, sparsity)?,
        None if policy == PolicyConfig::All => 0.0,
        None => 0.95,
    };
    if !(0.0..1.0).contains(&sparsity) {
        return Err(refuse(
            text,
            &format!("the sparsity {sparsity} is outside [0, 1)"),
        ));
    }
    Ok(BlockMethod::new(policy, sparsity))
}

fn float(what: &str, text: &str, value: &str) -> Result<f64, TrainError> {
    let refused = |_| refuse(text, &format!("the {what} `{value}` is not a number"));
    value.parse().map_err(refused)
}

fn positive(what: &str, text: &str, value: &str) -> Result<f64, TrainError> {
    let number = float(what, text, value)?;
    if number.is_finite() && number > 0.0 {
        return Ok(number);
    }
    Err(refuse(text, &format!("the {what} {number} is not positive")))
}

fn count(what: &str, text: &str, value: Option<&str>, default: usize) -> Result<usize, TrainError> {
    let Some(value) = value else { return Ok(default) };
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        refuse(
            text,
            &format!("the {what} `{value}` is not a whole number of 1 or more"),
        )
    })
}

fn unknown(name: &str) -> String {
    let policies = PolicyConfig::names().join(", ");
    format!(
        "no method is called `{name}`; there are {}, {policies}",
        BASELINES.join(", ")
    )
}

fn refuse(text: &str, why: &str) -> TrainError {
    TrainError::Setting {
        field: "methods",
        value: text.to_owned(),
        mend: format!(
            "{why}; write NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE], such as blockllm:0.95+norm=grad@1e-3 or lora:8"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_optim::{Lion, MaskThreshold, NormKind, SignSgd, Update};

    #[test]
    fn a_method_is_read_from_one_word() {
        let method = Method::parse("blockllm:0.9@3e-3").unwrap();
        let Algorithm::Blocks(blocks) = &method.algorithm else {
            panic!("{method:?}")
        };
        assert!((blocks.sparsity - 0.9).abs() < 1e-12);
        assert_eq!(method.learning_rate, Some(3e-3));
        assert_eq!(method.folder_name(2), "blockllm-0.9-3e-3-2");
        assert_eq!(Method::parse("adamw").unwrap(), Method::adamw());
        assert_eq!(
            Method::parse("galore:32").unwrap().algorithm,
            Algorithm::GaLore(GaLoreMethod::new(32))
        );
    }

    #[test]
    fn settings_follow_the_name() {
        let text =
            "blockllm:0.9+norm=grad+partition=module+patience=7+rule=lion+inactive=0.5+threshold=4096@1e-4";
        let Algorithm::Blocks(blocks) = Method::parse(text).unwrap().algorithm else {
            panic!("{text}")
        };
        assert_eq!(
            (blocks.norm, blocks.partition.as_str()),
            (NormKind::Grad, "module")
        );
        assert_eq!(blocks.policy, PolicyConfig::BlockLlm { patience: 7 });
        assert_eq!(blocks.update, Update::from(Lion::default()));
        assert_eq!(
            blocks.inactive,
            Some(SignSgd {
                scale: 0.5,
                ..SignSgd::default()
            })
        );
        assert_eq!(blocks.threshold, MaskThreshold::Sampled(4096));
    }

    #[test]
    fn a_setting_in_the_name_wins_over_the_run_s() {
        let method = Method::parse("blockllm:0.9+patience=7")
            .unwrap()
            .with_patience(40);
        let Algorithm::Blocks(blocks) = method.with_own_settings().unwrap().algorithm else {
            panic!("blocks")
        };
        assert_eq!(blocks.policy, PolicyConfig::BlockLlm { patience: 7 });
    }

    #[test]
    fn every_name_that_an_error_offers_is_a_method() {
        for name in BASELINES.iter().chain(PolicyConfig::names()) {
            assert!(Method::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_with_the_names_that_exist() {
        for (text, expected) in [
            ("blokllm", "there are adamw, lora, galore, badam, lisa, blockllm"),
            ("blockllm:1.0", "outside [0, 1)"),
            ("blockllm:half", "`half` is not a number"),
            ("adamw:0.5", "takes no number"),
            ("adamw@-1", "not positive"),
            ("blockllm+norm=l3", "expected one of `grad`, `rms`, `processed`"),
            (
                "blockllm+colour=red",
                "no setting `colour`; it has partition, always, never, norm",
            ),
            ("blockllm+norm", "`+norm` is not a setting"),
            ("lora:4+gap=7", "it has alpha"),
            ("lora:0", "`0` is not a whole number of 1 or more"),
        ] {
            let error = Method::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }
}
