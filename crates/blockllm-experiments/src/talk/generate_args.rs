//! The command line of `generate`.
use super::options::{ConversationOptions, SamplingOptions};
use crate::chat_template;
use crate::model_options::ModelOptions;
use crate::out_file::OutPlace;
use anyhow::{Result, bail};
use clap::Parser;
use std::path::PathBuf;

/// The word that asks for it.
pub const NAME: &str = "generate";

const EXAMPLES: &str = "\
Examples:
  generate --model out/instruct/RUN/model --prompt 'Once upon a time'
      goes on with a text, as the model's generation_config.json says; the text is printed as it comes
  generate --model DIR --prompt 'What is an owl?' --chat --system 'Answer briefly.'
      asks it in the model's chat template
  generate --model DIR --prompts questions.txt --chat --greedy --batch 8 --out answers.jsonl
      every line of a file, eight at a time, the likeliest token every time; a record a line in answers.jsonl";

/// Lets a model go on with texts, or answer questions in its chat template
#[derive(Parser, Clone, Debug)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// The model
    #[command(flatten)]
    pub model: ModelOptions,
    /// How a conversation is written
    #[command(flatten)]
    pub conversation: ConversationOptions,
    /// A prompt; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// A file with a prompt a line; of a .jsonl file with `{"prompt": ".."}` a line, or a .json file with an array of them
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Put each prompt into the chat template, as what the user says
    #[arg(long)]
    pub chat: bool,
    /// How tokens are chosen
    #[command(flatten)]
    pub sampling: SamplingOptions,
    /// Prompts that are answered at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Write a record a line, `{"prompt": "..", "answer": "..", "tokens": N}`, in place of plain text; until all prompts are
    /// answered the file is called FILE.partial, which is kept where something stops it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl GenerateArgs {
    /// Refuses what would be ignored, and a file to write that is also read; gives the place of that file, if there is one.
    ///
    /// # Errors
    /// Names the option and what to do.
    pub(super) fn check(&self) -> Result<Option<OutPlace>> {
        for (option, is_given) in [
            ("--system", self.conversation.system.is_some()),
            ("--chat-template", self.conversation.chat_template.is_some()),
        ] {
            if is_given && !self.chat {
                bail!(
                    "{option} says how a conversation is written, and without --chat there is none: add --chat, or leave it out"
                );
            }
        }
        let Some(out) = &self.out else {
            return Ok(None);
        };
        let place = OutPlace::new(out)?;
        place.check_apart(self.model.files())?;
        let template = self.conversation.chat_template.as_deref();
        let template = template.and_then(chat_template::file);
        let others = [
            ("--prompts", self.prompts.as_deref()),
            ("--chat-template", template),
        ];
        let others = others
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)));
        place.check_apart(others)?;
        Ok(Some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(words: &[&str]) -> Result<Option<OutPlace>> {
        let base = ["generate", "--model", "m", "--prompt", "a"];
        GenerateArgs::try_parse_from(base.iter().chain(words))
            .unwrap()
            .check()
    }

    #[test]
    fn what_is_for_conversations_is_refused_without_one() {
        for option in ["--system", "--chat-template"] {
            let error = checked(&[option, "alpaca"]).unwrap_err().to_string();
            assert!(error.contains(option) && error.contains("add --chat"), "{error}");
            assert!(checked(&[option, "alpaca", "--chat"]).unwrap().is_none());
        }
    }

    #[test]
    fn no_file_that_is_read_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "").unwrap();
        let path = path.to_str().unwrap();
        for option in ["--prompts", "--tokenizer", "--chat-template"] {
            let error = checked(&["--chat", option, path, "--out", path]).unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}
