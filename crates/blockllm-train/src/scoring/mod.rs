//! What a language model scores on a task or a text, by the rules of lm-evaluation-harness (0.4.13).
//!
//! [`Scorer`] gives log-likelihoods of continuations; [`TaskRun`] asks it about the items of a
//! [`TaskData`](blockllm_data::tasks::TaskData), or lets the model generate; [`TaskScores`] are the means with their standard
//! errors; [`Perplexity`] is of a text as a whole. Numbers are the harness' up to rounding: it takes the softmax in the type of
//! the weights, this in f32.

mod answering;
mod choosing;
mod likelihood;
mod perplexity;
mod scores;
mod statistics;
mod task_run;

pub use choosing::Chosen;
pub use likelihood::{Likelihood, Scorer};
pub use perplexity::Perplexity;
pub use scores::{Metric, TaskScores};
pub use statistics::{mean, pooled_standard_error, standard_error};
pub use task_run::{ItemResult, Outcome, TaskRun};
