//! The commands that are no experiments, each with a command line of its own: the list that a new one is added to.
use crate::{delta, evaluate, finetune, plan, signals, talk};
use anyhow::Result;
use blockllm_train::device_log;
use clap::Parser;
use std::ffi::OsString;

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The word that asks for it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Does it with its words, of which the first is its name.
    pub run: fn(&[OsString]) -> Result<()>,
}

const ALL: [Command; 6] = [
    Command {
        name: finetune::NAME,
        about: "tune a language model of your own on text or instructions",
        run: |words| {
            let args = finetune::Args::parse_from(words);
            device_log::install();
            finetune::run(&args, signals::install(args.alone.is_some())?)
        },
    },
    Command {
        name: talk::GENERATE,
        about: "let a model go on with texts, or answer questions",
        run: |words| talk::generate(&talk::GenerateArgs::parse_from(words)),
    },
    Command {
        name: talk::CHAT,
        about: "talk to a model in the terminal",
        run: |words| talk::chat(&talk::ChatArgs::parse_from(words)),
    },
    Command {
        name: evaluate::NAME,
        about: "score a model on a task or a text",
        run: |words| {
            let args = evaluate::Args::parse_from(words);
            device_log::install();
            evaluate::run(&args)
        },
    },
    Command {
        name: delta::NAME,
        about: "what training has changed of a model, as a file, and models of such files",
        run: |words| delta::run(&delta::Args::parse_from(words)),
    },
    Command {
        name: plan::NAME,
        about: "what a training step would need, before anything is made",
        run: |words| plan::run(&plan::Args::parse_from(words)),
    },
];

/// The command called `name`.
pub fn find(name: &str) -> Option<Command> {
    ALL.into_iter().find(|command| command.name == name)
}

/// Every command's name, and what it does.
pub fn list() -> [(&'static str, &'static str); 6] {
    ALL.map(|command| (command.name, command.about))
}
