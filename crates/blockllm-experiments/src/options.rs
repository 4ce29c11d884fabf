//! Options that an experiment or a method would ignore: refused with the mend, so that no run is another than it was asked
//! to be.
use crate::Cli;
use crate::cli::after_help;
use anyhow::{Result, bail};
use blockllm_train::method::RunSettings;
use blockllm_train::{Method, Methods};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Experiment, option, and what to do instead.
const NOT_TAKEN: [(&str, &str, &str); 17] = [
    (
        "c4",
        "model_dir",
        "it trains from random weights: choose their size by --model, or fine-tune the folder by `glue --model-dir`",
    ),
    ("c4", "tasks", "they are GLUE's: use `glue --tasks`"),
    ("c4", "epochs", "its length is in steps: use --steps"),
    ("c4", "max_length", "its rows have the length of the scale"),
    ("c4", "order", "its rows are shuffled by the seed"),
    (
        "c4",
        "predict_test",
        "there are no test rows: use `glue --predict-test`",
    ),
    (
        "glue",
        "model",
        "it fine-tunes a folder: give that by --model-dir",
    ),
    (
        "glue",
        "bad_documents",
        "scores are compared with others over all rows, so a bad row always ends the run: mend or remove it",
    ),
    (
        "memory",
        "bad_documents",
        "it reads no documents: its batches are made of numbers",
    ),
    ("gpu-check", "bad_documents", NOT_CHECKED),
    ("gpu-check", "data", NOT_CHECKED),
    ("gpu-check", "tokenizer", NOT_CHECKED),
    ("gpu-check", "model_dir", NOT_CHECKED),
    ("gpu-check", "tasks", NOT_CHECKED),
    ("gpu-check", "epochs", NOT_CHECKED),
    ("gpu-check", "save_model", NOT_CHECKED),
    ("gpu-check", "seeds", NOT_CHECKED),
];
const NOT_CHECKED: &str = "it checks the device on text and models of its own; leave it out";

impl Cli {
    /// The command line of this process; what is wrong with it ends the process as clap does.
    pub fn read() -> Self {
        Self::read_with(&Methods::built_in())
    }

    /// The same for a program that knows `methods`, its own among them: a runner of your own is this and
    /// [`registry::run`](crate::registry::run).
    pub fn read_with(methods: &Methods) -> Self {
        Self::try_read(std::env::args_os(), methods).unwrap_or_else(|error| error.exit())
    }

    /// `words`, the first of which is the program's name, as a command line that may name `methods`.
    ///
    /// # Errors
    /// Says what is wrong with it as clap does; `--help` and `--version` are such errors too.
    pub fn try_read<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
        methods: &Methods,
    ) -> std::result::Result<Self, clap::Error> {
        let (of_methods, help) = (methods.clone(), after_help(methods));
        let command = Self::command()
            .mut_arg("methods", |argument| {
                argument.value_parser(move |text: &str| of_methods.parse(text))
            })
            .after_help(help);
        let mut cli = Self::from_matches(&command.try_get_matches_from(words)?)?;
        cli.known_methods = methods.clone();
        Ok(cli)
    }

    fn from_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        cli.given = matches
            .ids()
            .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
            .map(|id| id.as_str().to_owned())
            .collect();
        Ok(cli)
    }

    /// Whether the option called `id` stands on the command line.
    pub fn is_given(&self, id: &str) -> bool {
        self.given.contains(id)
    }
}

/// Refuses options that the experiment does not take.
///
/// # Errors
/// Names the option and what to do instead.
pub fn check_experiment(cli: &Cli) -> Result<()> {
    for (experiment, id, mend) in NOT_TAKEN {
        if cli.experiment == experiment && cli.is_given(id) {
            bail!("`{experiment}` does not take --{}: {mend}", id.replace('_', "-"));
        }
    }
    Ok(())
}

/// Refuses a method that is named twice, whose runs would count as seeds, and options of blocks that a method would not
/// heed.
///
/// # Errors
/// Names the option, the method, and what to do.
pub fn check_methods(cli: &Cli, methods: &[Method]) -> Result<()> {
    for (place, method) in methods.iter().enumerate() {
        if methods[..place].iter().any(|other| other.label == method.label) {
            bail!(
                "--methods names `{}` twice: its runs would count as seeds",
                method.label
            );
        }
        for (id, list) in [("never", &cli.never), ("always", &cli.always)] {
            if !list.is_empty() && !method.algorithm.heeds(id) {
                bail!(
                    "--{id} is not for `{}`, which would be compared with methods that train other parameters: leave one \
                     of them out, or set it for one method, as in blockllm:0.9+{id}={}",
                    method.label,
                    list.join("/")
                );
            }
        }
    }
    for id in ["norm", "probes", "partition"] {
        if cli.is_given(id) && !methods.iter().any(|method| method.algorithm.heeds(id)) {
            bail!(
                "--{id} is for methods that choose among blocks by a sparsity, such as blockllm:0.9, and there is none"
            );
        }
    }
    Ok(())
}

/// What the command line sets for all methods of a run, at the run's patience.
pub fn run_settings(cli: &Cli, patience: usize) -> RunSettings<'_> {
    RunSettings {
        patience,
        partition: &cli.partition,
        always: &cli.always,
        never: &cli.never,
        norm: cli.norm,
        probes: cli.probes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(words: &str) -> Cli {
        let words = ["runner"].into_iter().chain(words.split(' '));
        Cli::try_read(words, &Methods::built_in()).unwrap()
    }

    fn refused(words: &str) -> String {
        let cli = cli(words);
        check_experiment(&cli)
            .and_then(|()| check_methods(&cli, &cli.methods))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_option_in_the_table_is_one_of_the_command_line() {
        let command = Cli::command();
        for (experiment, id, _) in NOT_TAKEN {
            assert!(
                command.get_arguments().any(|argument| argument.get_id() == id),
                "{experiment} {id}"
            );
        }
    }

    #[test]
    fn what_an_experiment_would_ignore_is_refused_by_name_with_the_mend() {
        for (words, option, mend) in [
            ("c4 --model-dir MyLlama", "--model-dir", "`glue --model-dir`"),
            ("c4 --tasks MRPC", "--tasks", "`glue --tasks`"),
            ("c4 --order shuffled", "--order", "shuffled by the seed"),
            ("glue --model 60m", "--model:", "--model-dir"),
            ("gpu-check --data x", "--data", "leave it out"),
            ("glue --bad-documents skip", "--bad-documents", "over all rows"),
            (
                "memory --bad-documents stop",
                "--bad-documents",
                "reads no documents",
            ),
        ] {
            let message = refused(words);
            assert!(message.contains(option) && message.contains(mend), "{message}");
        }
        check_experiment(&cli("c4 --warmup 0.1 --stop-after 3 --bad-documents skip")).unwrap();
    }

    #[test]
    fn options_of_blocks_are_refused_where_one_row_of_the_table_would_not_heed_them() {
        for (words, part) in [
            (
                "c4 --never lm_head --methods blockllm:0.9,galore:8",
                "--never is not for `galore:8`",
            ),
            (
                "c4 --always lm_head --methods blockllm:0.9,badam:1",
                "--always is not for `badam:1`",
            ),
            (
                "c4 --norm grad --methods adamw,lora:8",
                "--norm is for methods that choose",
            ),
            ("c4 --methods adamw,adamw", "`adamw` twice"),
        ] {
            let message = refused(words);
            assert!(message.contains(part), "{message}");
        }
        let taken = cli("c4 --never lm_head --methods adamw,blockllm:0.9,badam:1 --norm grad");
        check_methods(&taken, &taken.methods).unwrap();
        for method in taken.methods.clone() {
            let method = method.for_run(&run_settings(&taken, 7)).unwrap();
            assert_eq!(method.algorithm.never(), ["lm_head"], "{}", method.label);
        }
    }
}
