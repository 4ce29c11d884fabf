//! `chat`: a conversation in the terminal, of which every token is computed once.
use super::chat_args::ChatArgs;
use super::options::Talker;
use super::spoken::Spoken;
use crate::stdout::say;
use anyhow::{Context, Result};
use blockllm_data::instruct::{ASSISTANT, Message};
use blockllm_model::llama::{GenerateConfig, Generator, LlamaForCausalLM};
use blockllm_train::tell_line;
use std::io::{BufRead, IsTerminal};

/// Tokens of an answer where neither the command line nor the model says how many.
const MAX_NEW_TOKENS: usize = 512;

/// Talks until the input ends. What is too long for the model, or no text, is told and left out.
///
/// # Errors
/// When the model cannot be read, the template refuses the conversation, or the input cannot be read.
pub fn chat(args: &ChatArgs) -> Result<()> {
    let talker = Talker::find(&args.model, &args.conversation)?;
    talker.check_conversation()?;
    let config = args.sampling.config(&talker, MAX_NEW_TOKENS)?;
    let model = talker.load(&args.model)?;
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        tell_line!("/clear begins anew, /exit or Ctrl-D ends it");
    }
    let mut conversation = Conversation::new(&talker, &model);
    let lines = std::io::stdin().lock().split(b'\n');
    let mut lines = (1_u64..).zip(lines);
    loop {
        if is_terminal {
            say("> ")?;
        }
        let Some((number, line)) = lines.next() else {
            break;
        };
        let Ok(line) = String::from_utf8(line.context("reading what you say")?) else {
            tell_line!("line {number} is not UTF-8 and is left out: say it again in UTF-8");
            continue;
        };
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => break,
            "/clear" => conversation = Conversation::new(&talker, &model),
            said if said.starts_with('/') => tell_line!("there are /clear and /exit"),
            said => conversation
                .answer(said, &config)
                .map_err(|error| args.model.named(error))?,
        }
    }
    Ok(())
}

/// What was said so far, and what the model has computed of it.
struct Conversation<'t> {
    talker: &'t Talker,
    messages: Vec<Message>,
    generator: Generator<'t>,
}

impl<'t> Conversation<'t> {
    fn new(talker: &'t Talker, model: &'t LlamaForCausalLM) -> Self {
        Self {
            talker,
            messages: talker.system.iter().cloned().collect(),
            generator: Generator::new(model),
        }
    }

    /// Says the answer to `said` as it comes; where the model has no room for one, it tells so, and nothing was said.
    fn answer(&mut self, said: &str, config: &GenerateConfig) -> Result<()> {
        let mut messages = self.messages.clone();
        messages.push(Message::new("user", said));
        let prompt = self.talker.encoder.prompt(&messages)?;
        let positions = self.talker.positions();
        let room = positions.saturating_sub(prompt.len());
        if room == 0 {
            tell_line!(
                "with this the conversation is {} tokens long, and the model has {positions} positions: it is left out; say \
                 something shorter, or /clear to begin anew",
                prompt.len()
            );
            return Ok(());
        }
        self.generator.set_tokens(&prompt)?;
        let config = GenerateConfig {
            max_new_tokens: config.max_new_tokens.min(room),
            ..config.clone()
        };
        let mut spoken = Spoken::new(self.talker.encoder.tokenizer(), &config.stop_at);
        let mut chosen = self.generator.stream(&config)?;
        let heard = chosen.try_for_each(|token| say(&spoken.hear(token?)?));
        if let Err(error) = heard {
            // What went wrong has a line of its own.
            say("\n")?;
            return Err(error);
        }
        let (text, rest, pace) = spoken.finish()?;
        say(&format!("{rest}\n"))?;
        tell_line!("({pace})");
        messages.push(Message::new(ASSISTANT, text));
        self.messages = messages;
        Ok(())
    }
}
