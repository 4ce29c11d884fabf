//! The command line of `generate`.
use super::options::{ConversationOptions, SamplingOptions};
use crate::model_options::ModelOptions;
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
    /// A file with a prompt a line, or .jsonl with `{"prompt": ".."}` a line
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
    /// Write a record a line, `{"prompt": "..", "answer": "..", "tokens": N}`, in place of plain text
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
