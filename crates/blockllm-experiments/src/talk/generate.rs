//! `generate`: goes on with texts, or answers questions, one after the other or several at a time.
use super::generate_args::GenerateArgs;
use super::options::Talker;
use super::prompts;
use super::spoken::{Pace, Spoken, say};
use anyhow::{Context, Result};
use blockllm_data::atomic_file::write_atomically;
use blockllm_model::llama::GenerateConfig;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Instant;

/// Tokens of a text where neither the command line nor the model says how many.
const MAX_NEW_TOKENS: usize = 128;

/// Generates what `args` ask for, and prints it or writes it to a file.
///
/// # Errors
/// When model or prompts cannot be read, a prompt is too long, or the file cannot be written.
pub fn generate(args: &GenerateArgs) -> Result<()> {
    let prompts = prompts::all(&args.prompt, args.prompts.as_deref())?;
    let talker = Talker::open(&args.model, &args.conversation)?;
    let config = args.sampling.config(&talker, MAX_NEW_TOKENS)?;
    let mut records = String::new();
    let began = Instant::now();
    let mut tokens = 0;
    for prompts in prompts.chunks(args.batch as usize) {
        let is_alone = prompts.len() == 1 && args.out.is_none();
        let answers = answer(args, &talker, prompts, &config, is_alone)?;
        for (prompt, (text, pace)) in prompts.iter().zip(answers) {
            tokens += pace.tokens;
            match &args.out {
                Some(_) => {
                    let record = json!({ "prompt": prompt, "answer": text, "tokens": pace.tokens });
                    writeln!(records, "{record}").expect("a string takes all");
                }
                None if is_alone => {}
                None => say(&format!("{}{text}\n", shown_prompt(args, prompt)))?,
            }
        }
    }
    if let Some(path) = &args.out {
        write_atomically(path, records.as_bytes())?;
        eprintln!("{} answers in {}", prompts.len(), path.display());
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("({})", Pace { tokens, seconds });
    Ok(())
}

/// The answers to `prompts`, computed together; said as they come where `is_alone`.
fn answer(
    args: &GenerateArgs,
    talker: &Talker,
    prompts: &[String],
    config: &GenerateConfig,
    is_alone: bool,
) -> Result<Vec<(String, Pace)>> {
    let ids = prompts.iter().map(|prompt| {
        if args.chat {
            talker.encoder.prompt(&talker.conversation(prompt))
        } else {
            talker.encoder.continued(prompt)
        }
    });
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let tokenizer = talker.encoder.tokenizer();
    let mut spoken: Vec<Spoken<'_>> = prompts
        .iter()
        .map(|_| Spoken::new(tokenizer, &config.stop_at))
        .collect();
    if is_alone {
        say(&shown_prompt(args, &prompts[0]))?;
    }
    let stream = talker.model.stream_batch(&ids, config).context(
        "what a prompt becomes must fit into the model's positions: shorten it, or lower --max-new-tokens",
    )?;
    for chosen in stream {
        let (row, token) = chosen?;
        let added = spoken[row].hear(token)?;
        if is_alone {
            say(&added)?;
        }
    }
    let mut answers = Vec::with_capacity(prompts.len());
    for spoken in spoken {
        let (text, rest, pace) = spoken.finish()?;
        if is_alone {
            say(&format!("{rest}\n"))?;
        }
        answers.push((text, pace));
    }
    Ok(answers)
}

/// What stands before an answer: the text that goes on, or the question.
fn shown_prompt(args: &GenerateArgs, prompt: &str) -> String {
    if args.chat {
        format!("> {prompt}\n")
    } else {
        prompt.to_owned()
    }
}
