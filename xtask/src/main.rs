//! The project's verbs, as `cargo xtask VERB`: parses the command line and hands it to the verb's own file.

mod bench;
mod check_report;
mod ci;
mod circles;
mod cuda;
mod cuda_llvm;
mod delta;
mod device;
mod feature_sets;
mod file_rules;
mod gpu_check;
mod handed_on;
mod module_names;
mod pack;
mod peer;
mod plan;
mod process;
mod reproduce_paper;
mod runner;
mod runner_json;
mod stderr;
mod test;
mod test_output;
mod tidy;
mod vulkan;
mod workspace;

use crate::stderr::tell_line;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's verbs: reproduce the paper, test, and keep the house tidy.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask reproduce-paper                the C4 experiment in minutes, nothing to download
  cargo xtask reproduce-paper --data ~/c4    the same on your own C4 shards
  cargo xtask finetune --model DIR --data FILE
                                             a language model of your own, on your own text or instructions
  cargo xtask plan --model 7b --memory 24GB  what a training step would need, before anything is made
  cargo xtask delta apply BASE DELTA --out DIR  a tuned model again, from its base and what training has changed
  cargo xtask test                           everything that CI runs as tests
  cargo xtask tidy --fix                     format, then lint

`cargo xtask VERB --help` tells what a verb does, with examples of its own.";

#[derive(Subcommand, Debug)]
enum Verb {
    ReproducePaper(reproduce_paper::Args),
    Test(test::Args),
    Ci(ci::Args),
    Tidy(tidy::Args),
    Bench(bench::Args),
    GpuCheck(gpu_check::Args),
    Plan(plan::Args),
    Finetune(handed_on::Finetune),
    Generate(handed_on::Generate),
    Chat(handed_on::Chat),
    Delta(delta::Args),
    Evaluate(handed_on::Evaluate),
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell_line!("error: {error:#}");
            process::exit_code_of(&error)
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::ReproducePaper(args) => reproduce_paper::run(&args),
        Verb::Test(args) => test::run(&args).map(|_| ()),
        Verb::Ci(args) => ci::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::GpuCheck(args) => gpu_check::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Finetune(args) => handed_on::run("finetune", &args.options),
        Verb::Generate(args) => handed_on::run("generate", &args.options),
        Verb::Chat(args) => handed_on::run("chat", &args.options),
        Verb::Delta(args) => delta::run(&args),
        Verb::Evaluate(args) => handed_on::run("evaluate", &args.options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples_in_its_help() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", verb.get_name());
        }
    }

    #[test]
    fn a_bad_value_names_the_flag_and_the_possible_values() {
        let args = ["cargo xtask", "reproduce-paper", "--device", "tpu"];
        let error = Cli::try_parse_from(args).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 2);
        assert!(
            text.contains("--device") && text.contains("auto, cuda, wgpu, flex"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_data_folder_is_refused_before_anything_is_built() {
        let args = ["cargo xtask", "reproduce-paper", "--data", "/no/such/folder"];
        let error = Cli::try_parse_from(args).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 2);
        assert!(
            text.contains("--data") && text.contains("/no/such/folder"),
            "{text}"
        );
    }
}
