//! The settings that follow a method's name, `+KEY=VALUE`: one table per method, which is read, told in errors and printed.
use crate::TrainError;
use blockllm_optim::OptimError;
use blockllm_policy::PolicyError;
use serde::de::DeserializeOwned;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

/// One setting of the method `T`.
#[derive(Debug)]
pub struct Setting<T> {
    key: &'static str,
    values: &'static str,
    help: &'static str,
    set: fn(&mut T, Given<'_>) -> Result<(), String>,
}

impl<T> Setting<T> {
    /// The setting `key`: what may stand behind it, what it does (a line or more for `--help`), and how it is taken.
    pub const fn new(
        key: &'static str,
        values: &'static str,
        help: &'static str,
        set: fn(&mut T, Given<'_>) -> Result<(), String>,
    ) -> Self {
        Self {
            key,
            values,
            help,
            set,
        }
    }
}

// Derived, these would ask the same of `T`.
impl<T> Copy for Setting<T> {}
impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A value as it was typed, with the key before it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: &'a str,
}

impl Given<'_> {
    /// Into a field that is known by names in configuration files.
    ///
    /// # Errors
    /// Lists the names.
    pub fn name_into<V: DeserializeOwned>(self, field: &mut V) -> Result<(), String> {
        let value = serde_json::Value::from(self.value);
        *field = serde_json::from_value(value).map_err(|error| format!("{}: {error}", self.key))?;
        Ok(())
    }

    /// The value as a number.
    ///
    /// # Errors
    /// When it is none of the kind.
    pub fn number<V: FromStr<Err: Display>>(self) -> Result<V, String> {
        let number = self.value.parse();
        number.map_err(|error| format!("{}={}: {error}", self.key, self.value))
    }

    /// Into a field that is a number.
    ///
    /// # Errors
    /// When it is none of the kind.
    pub fn number_into<V: FromStr<Err: Display>>(self, field: &mut V) -> Result<(), String> {
        *field = self.number()?;
        Ok(())
    }

    /// Parts of paths with a slash between them.
    pub fn paths(self) -> Vec<String> {
        self.value.split('/').map(String::from).collect()
    }

    /// The error of a value that is none of those that may stand there.
    pub fn refused(self, use_one_of: &str) -> String {
        format!("{}={}: use {use_one_of}", self.key, self.value)
    }

    /// What a plan or an optimizer `found` of the value, told as an error of this setting.
    pub(super) fn checked<V>(self, found: Result<V, impl Into<TrainError>>) -> Result<V, String> {
        found.map_err(|error| {
            let mend = match error.into() {
                TrainError::Policy(PolicyError::Setting { mend, .. }) => mend,
                TrainError::Optim(OptimError::Setting { mend, .. }) => mend.to_owned(),
                error => error.to_string(),
            };
            format!("{}={}: {mend}", self.key, self.value)
        })
    }
}

/// Takes one setting, as `settings`, the method's table, says.
pub(super) fn set<T>(settings: &[Setting<T>], method: &mut T, key: &str, value: &str) -> Result<(), String> {
    let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
        let keys: Vec<_> = settings.iter().map(|setting| setting.key).collect();
        let known = if keys.is_empty() {
            "none".to_owned()
        } else {
            keys.join(", ")
        };
        return Err(format!("this method has no setting `{key}`; it has {known}"));
    };
    (setting.set)(method, Given { key, value })
}

/// Where the second column of `--help` begins.
const COLUMN: usize = 47;
/// Where its lines end: clap breaks longer ones once more where it does not know the terminal.
const WIDTH: usize = 99;

/// What `--help` tells of the settings of the methods `of`; nothing where there are none.
pub(super) fn help<T>(of: &str, settings: &[Setting<T>]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let mut text = format!("Settings of {of}, as NAME+KEY=VALUE:\n");
    for setting in settings {
        let typed = format!("  {}={}", setting.key, setting.values);
        let mut line = format!("{typed:COLUMN$}");
        if typed.len() >= COLUMN {
            line = format!("{typed} ");
        }
        for word in setting.help.split_whitespace() {
            if line.len() + word.len() > WIDTH {
                let _ = writeln!(text, "{}", line.trim_end());
                line = " ".repeat(COLUMN);
            }
            line.push_str(word);
            line.push(' ');
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::{Method, Methods};

    #[test]
    fn help_has_every_setting_once_with_its_values_and_lines_that_fit() {
        let help = Methods::built_in().settings_help();
        assert!(help.starts_with(
            "Settings of methods that train blocks (blockllm and the other policies, badam, lisa)"
        ));
        for row in [
            "\n  norm=rms|grad|processed                      which norm of the gradients ranks blocks\n",
            "\n  half=masters|nearest|stochastic              trained weights in bf16",
            "Settings of lora, as NAME+KEY=VALUE:\n  alpha=X ",
            "\n  svd=exact|randomized ",
        ] {
            assert_eq!(help.matches(row).count(), 1, "{row}\n{help}");
        }
        let mut rows = help.lines().filter(|line| line.starts_with(' '));
        assert!(rows.all(|row| row.len() < 100), "{help}");
    }

    #[test]
    fn what_help_offers_as_a_value_is_taken() {
        let help = Methods::built_in().settings_help();
        let mut taken = 0;
        let mut method = "";
        for line in help.lines() {
            method = match line.strip_prefix("Settings of ") {
                Some(of) if of.starts_with("methods") => "blockllm",
                Some(of) => of.split(',').next().unwrap(),
                None => method,
            };
            let Some((key, rest)) = line
                .trim_start()
                .split_once('=')
                .filter(|_| line.starts_with("  "))
            else {
                continue;
            };
            let values = rest.split_whitespace().next().unwrap();
            for value in values.split('|').filter(|_| !line.starts_with("   ")) {
                let value = match value {
                    "N" => "512",
                    "X" | "SCALE" | "RATE" => "0.5",
                    "GROWTH" => "1.01",
                    "KEY:VALUE" => "patience:7",
                    "principal-weights:RANK" => "principal-weights:4",
                    value => value,
                };
                let before = match key {
                    "reach" | "direction" | "masked-out" | "momentum" => "+inactive=0.1",
                    "decay" => "+weight-decay=0.1",
                    _ => "",
                };
                let text = format!("{method}{before}+{key}={value}");
                assert!(Method::parse(&text).is_ok(), "{text}");
                taken += 1;
            }
        }
        assert!(taken > 40, "{taken}");
    }
}
