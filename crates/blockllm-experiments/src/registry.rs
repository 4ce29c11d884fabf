//! The experiments by name: the list that a new one is added to.
use crate::ablations::Ablations;
use crate::experiment::{Experiment, NotTaken};
use crate::{Cli, c4, flow, glue, gpu_check, instruct, memory, options};
use anyhow::{Result, anyhow};
use blockllm_train::tell_line;
use blockllm_train::{DeviceChoice, Methods};
use std::ffi::OsString;

const EXPERIMENTS: [Entry; 6] = [
    Entry::of::<c4::Plan>(),
    Entry::of::<glue::Plan>(),
    Entry::of::<instruct::Plan>(),
    Entry::of::<memory::Settings>(),
    Entry::of::<Ablations>(),
    // No set of runs: it has something to say where there is no GPU.
    Entry {
        name: gpu_check::NAME,
        not_taken: gpu_check::NOT_TAKEN,
        needs_device: false,
        run: gpu_check::run,
    },
];

/// What the list knows of an experiment.
struct Entry {
    name: &'static str,
    not_taken: NotTaken,
    /// Whether a device that is missing ends it before it begins.
    needs_device: bool,
    run: fn(&Cli) -> Result<()>,
}

impl Entry {
    const fn of<E: Experiment>() -> Self {
        Self {
            name: E::NAME,
            not_taken: E::NOT_TAKEN,
            needs_device: true,
            run: flow::run::<E>,
        }
    }
}

/// The command line of this process; what is wrong with it ends the process as clap does. Help and refusals list `commands`
/// too, by name and what each does, which have command lines of their own.
pub fn read_command_line(commands: &[(&'static str, &'static str)]) -> Cli {
    read_beside(commands, std::env::args_os(), &Methods::built_in()).unwrap_or_else(|error| error.exit())
}

/// `words`, the first of which is the program's name, as a command line that may name `methods`, your own among them: a runner
/// of your own is this and [`run`].
///
/// # Errors
/// Says what is wrong with it as clap does; `--help` and `--version` are such errors too.
pub fn read<W: Into<OsString> + Clone>(
    words: impl IntoIterator<Item = W>,
    methods: &Methods,
) -> Result<Cli, clap::Error> {
    read_beside(&[], words, methods)
}

fn read_beside<W: Into<OsString> + Clone>(
    commands: &[(&'static str, &'static str)],
    words: impl IntoIterator<Item = W>,
    methods: &Methods,
) -> Result<Cli, clap::Error> {
    let names = EXPERIMENTS.map(|experiment| experiment.name);
    Cli::try_read_beside(commands, words, names.to_vec(), methods)
}

/// Runs the experiment that `cli` names, on a device that is there: one that is missing is told before data is read.
///
/// # Errors
/// What the experiment fails with, when there is none of that name, an option is not for it, or the device is missing.
pub fn run(cli: &Cli) -> Result<()> {
    let experiment = find(cli)?;
    options::check_experiment(cli, experiment.not_taken)?;
    if !experiment.needs_device {
        return (experiment.run)(cli);
    }
    (experiment.run)(&on_its_device(cli)?)
}

/// `cli` with the device that `auto` means here, which is told.
///
/// # Errors
/// When the device is missing.
pub(crate) fn on_its_device(cli: &Cli) -> Result<Cli> {
    let device = cli.device.resolve()?;
    if cli.device == DeviceChoice::Auto {
        let because = device.passed_over.join("; ");
        let because = if because.is_empty() {
            String::new()
        } else {
            format!(" ({because})")
        };
        tell_line!("device: {}{because}", device.choice.name());
    }
    Ok(Cli {
        device: device.choice,
        ..cli.clone()
    })
}

fn find(cli: &Cli) -> Result<&'static Entry> {
    let found = EXPERIMENTS.iter().find(|entry| entry.name == cli.experiment);
    found.ok_or_else(|| {
        anyhow!(
            "there is no experiment `{}`: use one of {}",
            cli.experiment,
            EXPERIMENTS.map(|entry| entry.name).join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn cli(words: &str) -> Cli {
        let words = ["runner"].into_iter().chain(words.split(' '));
        read(words, &Methods::built_in()).unwrap()
    }

    #[test]
    fn every_option_in_the_table_is_one_of_the_command_line() {
        let command = Cli::command();
        for Entry { name, not_taken, .. } in EXPERIMENTS {
            for (id, _) in not_taken {
                assert!(
                    command.get_arguments().any(|argument| argument.get_id() == id),
                    "{name} {id}"
                );
            }
        }
    }

    #[test]
    fn what_an_experiment_would_ignore_is_refused_by_name_with_the_mend() {
        let check = |cli: &Cli| options::check_experiment(cli, find(cli).unwrap().not_taken);
        for (words, option, mend) in [
            ("c4 --model-dir MyLlama", "--model-dir", "`glue --model-dir`"),
            ("c4 --tasks MRPC", "--tasks", "`glue --tasks`"),
            ("c4 --on fine-tuning", "--on", "`ablations --on`"),
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
            let message = check(&cli(words)).unwrap_err().to_string();
            assert!(message.contains(option) && message.contains(mend), "{message}");
        }
        check(&cli("c4 --warmup 0.1 --stop-after 3 --bad-documents skip")).unwrap();
    }

    #[test]
    fn a_name_that_is_none_is_told_with_those_that_are() {
        let message = read(["runner", "c5"], &Methods::built_in())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("c5") && message.contains("c4, glue, instruct, memory, ablations, gpu-check"),
            "{message}"
        );
    }

    #[test]
    fn commands_stand_beside_the_experiments_in_refusals_and_in_the_help() {
        let commands = [("plan", "what a step would need"), ("chat", "talk to a model")];
        let told = |word| {
            let read = read_beside(&commands, ["runner", word], &Methods::built_in());
            read.unwrap_err().to_string()
        };
        assert!(told("help").contains("gpu-check, plan, chat"), "{}", told("help"));
        let help = told("--help");
        assert!(
            help.contains("plan") && help.contains("talk to a model"),
            "{help}"
        );
    }
}
