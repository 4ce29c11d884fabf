//! `chat`: a conversation in the terminal, of which every token is computed once.
use super::chat_args::ChatArgs;
use super::options::Talker;
use super::spoken::{Spoken, say};
use anyhow::{Context, Result, bail};
use blockllm_data::instruct::{ASSISTANT, Message};
use blockllm_model::llama::{GenerateConfig, Generator};
use std::io::{BufRead, IsTerminal};

/// Tokens of an answer where neither the command line nor the model says how many.
const MAX_NEW_TOKENS: usize = 512;

/// Talks until the input ends.
///
/// # Errors
/// When the model cannot be read, the template refuses the conversation, or the input cannot be read.
pub fn chat(args: &ChatArgs) -> Result<()> {
    let talker = Talker::open(&args.model, &args.conversation)?;
    let config = args.sampling.config(&talker, MAX_NEW_TOKENS)?;
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        eprintln!("/clear begins anew, /exit or Ctrl-D ends it");
    }
    let mut conversation = Conversation::new(&talker);
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if is_terminal {
            say("> ")?;
        }
        let Some(line) = lines.next() else { break };
        match line.context("reading what you say")?.trim() {
            "" => {}
            "/exit" | "/quit" => break,
            "/clear" => conversation = Conversation::new(&talker),
            said if said.starts_with('/') => eprintln!("there are /clear and /exit"),
            said => conversation.answer(said, &config)?,
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
    fn new(talker: &'t Talker) -> Self {
        Self {
            talker,
            messages: talker.system.iter().cloned().collect(),
            generator: Generator::new(&talker.model),
        }
    }

    /// Says the answer to `said` as it comes.
    fn answer(&mut self, said: &str, config: &GenerateConfig) -> Result<()> {
        self.messages.push(Message::new("user", said));
        let prompt = self.talker.encoder.prompt(&self.messages)?;
        self.generator
            .set_tokens(&prompt)
            .context("the conversation is too long for the model: /clear begins anew")?;
        let room = self.generator.positions_left();
        if room == 0 {
            bail!("the conversation fills all positions of the model: begin anew");
        }
        let config = GenerateConfig {
            max_new_tokens: config.max_new_tokens.min(room),
            ..config.clone()
        };
        let mut spoken = Spoken::new(self.talker.encoder.tokenizer(), &config.stop_at);
        for token in self.generator.stream(&config)? {
            say(&spoken.hear(token?)?)?;
        }
        let (text, rest, pace) = spoken.finish()?;
        say(&format!("{rest}\n"))?;
        eprintln!("({pace})");
        self.messages.push(Message::new(ASSISTANT, text));
        Ok(())
    }
}
