//! How the command line names a method: `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`.
use super::number::float;
use super::{Method, Methods};
use crate::TrainError;

impl Methods {
    /// Parses `NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE]`: `adamw`, a policy with its sparsity (`blockllm:0.95`),
    /// `lora`, `galore` or `apollo-mini` with its rank (`lora:8`), `badam` or `lisa` with a number of layers, or a method of the program's
    /// own; then settings of its own, such as `blockllm:0.95+norm=grad+rule=lion`.
    ///
    /// # Errors
    /// Names the part that is wrong and what may stand there.
    pub fn parse(&self, text: &str) -> Result<Method, TrainError> {
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
        let algorithm = self.make(name, number).unwrap_or_else(|| {
            let names = self.names().join(", ");
            Err(format!("no method is called `{name}`; there are {names}"))
        });
        let method = Method {
            label: text.to_owned(),
            algorithm: algorithm.map_err(|why| refuse(text, &why))?,
            settings: parts.map(setting).collect::<Result<_, _>>()?,
            learning_rate,
        };
        let method = method.with_own_settings()?;
        method
            .algorithm
            .check()
            .map_err(|error| refuse(text, &error.to_string()))?;
        Ok(method)
    }
}

impl Method {
    /// One of [ours](Methods::built_in), as [`Methods::parse`] reads it.
    ///
    /// # Errors
    /// Names the part that is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        Methods::built_in().parse(text)
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

fn positive(what: &str, text: &str, value: &str) -> Result<f64, TrainError> {
    let number = float(what, value).map_err(|why| refuse(text, &why))?;
    if number.is_finite() && number > 0.0 {
        return Ok(number);
    }
    Err(refuse(text, &format!("the {what} {number} is not positive")))
}

fn refuse(text: &str, why: &str) -> TrainError {
    TrainError::Setting {
        field: "method",
        value: text.to_owned(),
        mend: format!(
            "{why}; write NAME[:NUMBER][+KEY=VALUE]...[@LEARNING_RATE], such as blockllm:0.95+norm=grad@1e-3 or lora:8"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockMethod, GaLoreMethod};
    use blockllm_policy::{BlockLlmSettings, PolicyConfig};

    #[test]
    fn a_method_is_read_from_one_word() {
        let method = Method::parse("blockllm:0.9@3e-3").unwrap();
        let blocks = method.algorithm.get::<BlockMethod>().unwrap();
        assert!((blocks.sparsity - 0.9).abs() < 1e-12);
        assert_eq!(method.learning_rate, Some(3e-3));
        assert_eq!(method.folder_name(2), "blockllm-0.9-3e-3-2");
        assert_eq!(Method::parse("adamw").unwrap(), Method::adamw());
        assert_eq!(
            Method::parse("galore:32").unwrap().algorithm.get(),
            Some(&GaLoreMethod::new(32))
        );
    }

    #[test]
    fn a_setting_in_the_name_wins_over_the_run_s() {
        let method = Method::parse("blockllm:0.9+patience=7")
            .unwrap()
            .with_patience(40);
        let method = method.with_own_settings().unwrap();
        let blocks = method.algorithm.get::<BlockMethod>().unwrap();
        let patience = BlockLlmSettings { patience: 7 };
        assert_eq!(blocks.policy, PolicyConfig::BlockLlm(patience));
    }

    #[test]
    fn every_name_that_an_error_offers_is_a_method() {
        for name in Methods::built_in().names() {
            assert!(Method::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn every_method_has_an_example_of_its_name() {
        let (names, examples) = (Methods::built_in().names(), Methods::built_in().examples());
        assert_eq!(examples.len(), names.len());
        for (name, example) in names.into_iter().zip(&examples) {
            assert!(Method::parse(example).is_ok(), "{example}");
            assert_eq!(example.split(':').next(), Some(name));
        }
        for example in ["adamw", "all", "blockllm:0.8", "lora:4", "badam:1"] {
            assert!(examples.iter().any(|other| other == example), "{example}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_with_the_names_that_exist() {
        for (text, expected) in [
            (
                "blokllm",
                "there are adamw, lora, galore, apollo-mini, badam, lisa, scale, blockllm-sgd, blockllm-whitened, blockllm",
            ),
            ("blockllm:half", "`half` is not a number"),
            ("adamw@-1", "not positive"),
            ("blockllm+norm=l3", "expected one of `grad`, `rms`, `processed`"),
            (
                "blockllm+colour=red",
                "no setting `colour`; it has partition, always, never, norm",
            ),
            ("blockllm+norm", "`+norm` is not a setting"),
            ("lora:4+gap=7", "it has alpha"),
        ] {
            let error = Method::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }
}
