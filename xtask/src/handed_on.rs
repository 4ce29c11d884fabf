//! Verbs that the runner does itself, such as `cargo xtask finetune`: builds it for the device that is here and hands all words on.

use anyhow::Result;
use clap::ValueEnum;

use crate::device::DeviceChoice;
use crate::process;
use crate::reproduce_paper;
use crate::runner::{self, fetch_embedded_text};

const FINETUNE: &str = "\
Examples:
  cargo xtask finetune --model ~/models/SmolLM2-135M-Instruct --data alpaca.json --out out
      blockllm-sgd at sparsity 0.95 on your instructions, one epoch; transformers loads what is in out/instruct/RUN/model at the end
  cargo xtask finetune --model SmolLM2-135M-Instruct.Q8_0.gguf --data chats.jsonl=3 books.jsonl=1 --method lora:8
      from a GGUF file, on a mixture, by another method
  cargo xtask finetune --model ~/models/Llama-2-7b-hf --data alpaca.json --weights bf16 --backward layer-wise --dry-run
      what a 7B model would need; trains nothing
  cargo xtask finetune -- --help
      all options";

/// Tune a language model of your own on text or instructions: `cargo xtask finetune --model DIR --data FILE.. --out DIR`
#[derive(clap::Args, Debug)]
#[command(after_help = FINETUNE)]
pub struct Finetune {
    /// Where it runs and what it does, see below
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub options: Vec<String>,
}

const GENERATE: &str = "\
Examples:
  cargo xtask generate --model out/instruct/RUN/model --prompt 'Once upon a time'
      goes on with a text, as the model's generation_config.json says
  cargo xtask generate --model DIR --prompts questions.txt --chat --greedy --batch 8
      answers every line of a file in the model's chat template, eight at a time, the likeliest token every time
  cargo xtask generate -- --help
      all options";

/// Let a model go on with texts or answer questions: `cargo xtask generate --model DIR --prompt TEXT`
#[derive(clap::Args, Debug)]
#[command(after_help = GENERATE)]
pub struct Generate {
    /// The model, the prompts and how tokens are chosen, see below
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub options: Vec<String>,
}

const CHAT: &str = "\
Examples:
  cargo xtask chat --model out/instruct/RUN/model
      a conversation in the terminal, in the model's chat template; /clear begins anew, /exit ends it
  cargo xtask chat --model SmolLM2-135M-Instruct.Q8_0.gguf --system 'Answer briefly.' --temperature 0.7 --min-p 0.1
      a GGUF file, with a system prompt
  cargo xtask chat -- --help
      all options";

/// Talk to a model in the terminal: `cargo xtask chat --model DIR`
#[derive(clap::Args, Debug)]
#[command(after_help = CHAT)]
pub struct Chat {
    /// The model and how tokens are chosen, see below
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub options: Vec<String>,
}

const EVALUATE: &str = "\
Examples:
  cargo xtask evaluate --model ~/models/SmolLM2-135M --task arc-easy --data ~/data/ai2_arc
      accuracy on ARC's easy questions, as lm-evaluation-harness reckons it, from files as the hub has them
  cargo xtask evaluate --model out/instruct/RUN/model --task gsm8k --data test.jsonl --few-shot train.jsonl --out items.jsonl
      sums in words: the model writes its answers, and what it said of every item is kept
  cargo xtask evaluate --model model.gguf --perplexity book.txt
      how well it predicts a text, per token, word and byte
  cargo xtask evaluate -- --help
      all options and tasks";

/// Score a language model on a task or a text: `cargo xtask evaluate --model DIR --task NAME --data FILE`
#[derive(clap::Args, Debug)]
#[command(after_help = EVALUATE)]
pub struct Evaluate {
    /// The model, the task and its data, see below
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub options: Vec<String>,
}

/// Builds the runner and gives it `verb` and `options`, with the device that it was built for.
pub fn run(verb: &str, options: &[String]) -> Result<()> {
    let (choice, rest) = without_device(options)?;
    let (device, runner) = if is_asking(&rest) {
        reproduce_paper::build(DeviceChoice::Flex, false)?
    } else {
        reproduce_paper::build(choice, false)?
    };
    if verb == "finetune" && !is_asking(&rest) && !rest.iter().any(|word| word.starts_with("--data")) {
        fetch_embedded_text();
    }
    let mut command = runner::command(&runner);
    command.arg(verb).args(&rest);
    if !is_asking(&rest) {
        command.args(["--device", device.name()]);
    }
    process::run_passing_signals(&mut command)
}

/// Whether only help or the version is asked for, for which the smallest build will do.
fn is_asking(words: &[String]) -> bool {
    words
        .iter()
        .any(|word| ["--help", "-h", "--version", "-V"].contains(&word.as_str()))
}

/// The device that `words` ask for, `auto` without one, and all other words.
fn without_device(words: &[String]) -> Result<(DeviceChoice, Vec<String>)> {
    let mut choice = DeviceChoice::Auto;
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--device") {
            Some("") => words.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => {
                rest.push(word.clone());
                continue;
            }
        };
        let value = value.unwrap_or_default();
        choice = DeviceChoice::from_str(value, false)
            .map_err(|_| anyhow::anyhow!("--device is `{value}`: use one of auto, cuda, wgpu, flex"))?;
    }
    Ok((choice, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_device_is_taken_out_and_all_else_stays_in_order() {
        let (choice, rest) = without_device(&words("--model a --device flex --data b c")).unwrap();
        assert_eq!(choice, DeviceChoice::Flex);
        assert_eq!(rest, words("--model a --data b c"));
        let (choice, rest) = without_device(&words("--device=wgpu --model a")).unwrap();
        assert_eq!((choice, rest), (DeviceChoice::Wgpu, words("--model a")));
        assert_eq!(without_device(&words("--model a")).unwrap().0, DeviceChoice::Auto);
    }

    #[test]
    fn a_device_that_is_none_is_told_with_those_that_are() {
        for wrong in ["--device tpu", "--device"] {
            let error = without_device(&words(wrong)).unwrap_err().to_string();
            assert!(error.contains("auto, cuda, wgpu, flex"), "{error}");
        }
    }
}
