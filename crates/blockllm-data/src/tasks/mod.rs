//! Tasks that a language model is evaluated on, in lm-evaluation-harness' sense: from people's files to the very texts and
//! tokens that the harness asks a model about.
//!
//! [`TaskData::open`] reads ARC, `HellaSwag`, MMLU or GSM8K as the hub has them, parquet or JSON, and
//! [`TaskData::request`] gives the context and its continuations; [`ContinuationEncoder`] makes tokens of them, and of a text
//! [`RollingText`] makes windows. Written after the harness' version 0.4.13.

mod continuation;
mod data;
mod fault;
mod fields;
mod files;
mod forms;
mod generated_answer;
mod item;
mod python_text;
mod rolling;
mod task;

pub use continuation::{ContinuationEncoder, PairTokens};
pub use data::{TaskData, TaskRequest, TaskSource};
pub use fault::TaskFault;
pub use generated_answer::{AnswerFilter, STOPS, before_stops};
pub use item::{Answer, TaskItem};
pub use rolling::RollingText;
pub use task::EvalTask;
