//! How the command line names a method: `NAME[:NUMBER][@LEARNING_RATE]`.
use super::{Algorithm, BlockMethod, GaLoreMethod, LoraMethod, Method};
use crate::TrainError;
use blockllm_policy::PolicyConfig;

/// Names beside those of the policies.
const BASELINES: [&str; 5] = ["adamw", "lora", "galore", "badam", "lisa"];

/// Steps between selections or refreshes, until the run's scale sets its own.
const INTERVAL: u64 = 100;

impl Method {
    /// Parses `NAME[:NUMBER][@LEARNING_RATE]`: `adamw`, a policy with its sparsity (`blockllm:0.95`), `lora` or
    /// `galore` with its rank (`lora:8`), `badam` or `lisa` with a number of layers.
    ///
    /// # Errors
    /// Names the part that is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let (rest, learning_rate) = match text.split_once('@') {
            Some((rest, rate)) => (rest, Some(positive("learning rate", text, rate)?)),
            None => (text, None),
        };
        let (name, number) = match rest.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (rest, None),
        };
        Ok(Self {
            label: text.to_owned(),
            algorithm: algorithm(text, name, number)?,
            learning_rate,
        })
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
        mend: format!("{why}; write NAME[:NUMBER][@LEARNING_RATE], such as blockllm:0.95@1e-3 or lora:8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("lora:0", "`0` is not a whole number of 1 or more"),
        ] {
            let error = Method::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }
}
