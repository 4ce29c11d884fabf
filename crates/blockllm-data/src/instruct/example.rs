//! An example of instruction data: a conversation, a prompt with its completion, or a plain text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or any other role that the chat template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The record's other fields (`name`, `tool_calls`, ..), which the chat template sees too.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The role whose turns are answers.
pub const ASSISTANT: &str = "assistant";

impl Message {
    /// A turn without other fields.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            others: Map::new(),
        }
    }

    /// Whether it is an answer.
    pub fn is_answer(&self) -> bool {
        self.role == ASSISTANT
    }
}

/// What one record gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Example {
    /// Turns, to be rendered by the chat template; the answers are those of the assistant.
    Conversation(Vec<Message>),
    /// The completion follows the prompt as it stands, without a template; the answer is the completion.
    Completion {
        /// What is given.
        prompt: String,
        /// What is to be learned.
        completion: String,
    },
    /// A text as in language modelling: all of it is learned.
    Text(String),
}
