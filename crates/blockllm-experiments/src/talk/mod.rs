//! Talking to a model: `generate` goes on with texts, `chat` holds a conversation in the terminal.
mod chat;
mod chat_args;
mod generate;
mod generate_args;
mod options;
mod prompts;
mod questions;
mod spoken;

pub use chat::chat;
pub use chat_args::{ChatArgs, NAME as CHAT};
pub use generate::generate;
pub use generate_args::{GenerateArgs, NAME as GENERATE};
