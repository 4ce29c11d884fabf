//! The command line of `chat`.
use super::options::{ConversationOptions, SamplingOptions};
use crate::model_options::ModelOptions;
use clap::Parser;

/// The word that asks for it.
pub const NAME: &str = "chat";

const EXAMPLES: &str = "\
In the conversation: /clear begins anew, /exit or Ctrl-D ends it, Ctrl-C ends it at once.

Examples:
  chat --model out/instruct/RUN/model
      in the model's own chat template; a line is what you say
  chat --model SmolLM2-135M-Instruct.Q8_0.gguf --system 'Answer briefly.' --temperature 0.7 --min-p 0.1
      a GGUF file, with a system prompt and settings of your own
  echo 'What is an owl?' | chat --model DIR --greedy
      one answer, for a script";

/// Talks to a model in the terminal
#[derive(Parser, Clone, Debug)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct ChatArgs {
    /// The model
    #[command(flatten)]
    pub model: ModelOptions,
    /// How a conversation is written
    #[command(flatten)]
    pub conversation: ConversationOptions,
    /// How tokens are chosen
    #[command(flatten)]
    pub sampling: SamplingOptions,
}
