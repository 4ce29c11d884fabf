//! Options that an experiment or a method would ignore: refused with the mend, so that no run is another than it was asked
//! to be.
use crate::Cli;
use crate::cli::{COMPARED, after_help, commands_help, methods_help};
use anyhow::{Result, bail};
use blockllm_train::method::RunSettings;
use blockllm_train::{Method, Methods};
use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;

impl Cli {
    /// `words`, the first of which is the program's name, as a command line that may name these `experiments` and `methods`.
    ///
    /// # Errors
    /// Says what is wrong with it as clap does; `--help` and `--version` are such errors too.
    pub fn try_read<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
        experiments: Vec<&'static str>,
        methods: &Methods,
    ) -> Result<Self, clap::Error> {
        Self::try_read_beside(&[], words, experiments, methods)
    }

    /// [`try_read`](Self::try_read), where help and refusals list `commands` too: names, and what each does. One of them may be
    /// read as the experiment, for whoever calls to refuse.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    pub(crate) fn try_read_beside<W: Into<OsString> + Clone>(
        commands: &[(&'static str, &'static str)],
        words: impl IntoIterator<Item = W>,
        experiments: Vec<&'static str>,
        methods: &Methods,
    ) -> Result<Self, clap::Error> {
        let of_methods = methods.clone();
        let help = commands_help(commands) + &after_help(methods);
        let names = commands.iter().map(|(name, _)| *name);
        let names: Vec<&'static str> = experiments.into_iter().chain(names).collect();
        let command = Self::command()
            .mut_arg("experiment", |argument| {
                argument.value_parser(PossibleValuesParser::new(names))
            })
            .mut_arg("methods", |argument| {
                let argument = argument.help(methods_help(COMPARED, &of_methods));
                argument.value_parser(move |text: &str| of_methods.parse(text))
            })
            .after_help(help);
        let matches = command.try_get_matches_from(words)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.given = matches
            .ids()
            .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
            .map(|id| id.as_str().to_owned())
            .collect();
        cli.known_methods = methods.clone();
        Ok(cli)
    }

    /// Whether the option called `id` stands on the command line.
    pub fn is_given(&self, id: &str) -> bool {
        self.given.contains(id)
    }
}

/// Refuses options that the experiment of `cli` does not take, which are `not_taken`.
///
/// # Errors
/// Names the option and what to do instead.
pub fn check_experiment(cli: &Cli, not_taken: &[(&str, &str)]) -> Result<()> {
    for (id, mend) in not_taken {
        if cli.is_given(id) {
            let option = id.replace('_', "-");
            bail!("`{}` does not take --{option}: {mend}", cli.experiment);
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

/// The methods of the command line, or else `defaults`, as the run's settings and `patience` make them.
///
/// # Errors
/// As [`check_methods`], and when a setting does not fit a method.
///
/// # Panics
/// When a default is no method.
pub fn methods(cli: &Cli, defaults: &[&str], patience: usize) -> Result<Vec<Method>> {
    let parse = |text: &&str| Method::parse(text).expect("the default methods are well formed");
    let methods = match &cli.methods[..] {
        [] => defaults.iter().map(parse).collect(),
        given => given.to_vec(),
    };
    check_methods(cli, &methods)?;
    let run = run_settings(cli, patience);
    methods
        .into_iter()
        .map(|method| Ok(method.for_run(&run)?))
        .collect()
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

/// Divisors of a step's rows that an error shows at most.
const SHOWN_DIVISORS: usize = 16;

/// Refuses a number of micro-batches that a step's rows cannot be split into.
///
/// # Errors
/// Names the option, and numbers that would do.
pub fn check_micro_batches(rows: usize, count: usize) -> Result<()> {
    if rows > 0 && count > 0 && rows.is_multiple_of(count) {
        return Ok(());
    }
    // The first thousand has enough of them, however many rows there are.
    let divisors: Vec<String> = (1..=rows.min(1 << 10))
        .filter(|divisor| rows.is_multiple_of(*divisor))
        .take(SHOWN_DIVISORS)
        .map(|divisor| divisor.to_string())
        .collect();
    bail!(
        "--grad-accum-steps {count} does not divide a step's {rows} rows: use one of {}",
        divisors.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(words: &str) -> Cli {
        let words = ["runner"].into_iter().chain(words.split(' '));
        Cli::try_read(words, vec!["c4"], &Methods::built_in()).unwrap()
    }

    fn refused(words: &str) -> String {
        let cli = cli(words);
        check_methods(&cli, &cli.methods).unwrap_err().to_string()
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

    #[test]
    fn help_names_every_method() {
        let methods = Methods::built_in();
        let help = Cli::try_read(["runner", "--help"], vec!["c4"], &methods);
        let help = help.unwrap_err().to_string();
        let words: Vec<&str> = help.split([' ', ',', ';', '\n']).collect();
        for name in methods.names() {
            assert!(words.contains(&name), "{name} is not in: {help}");
        }
    }
}
