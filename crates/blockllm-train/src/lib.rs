//! The trainer: methods, schedules, evaluation, measured memory and run records.
//!
//! A run is a function of (config, seed, data): [`train`] takes an [`Objective`] (what a loss is), a source of
//! batches and a [`Method`] (what is trained), and tells a [`RunObserver`] everything that a report needs.
#![warn(
    clippy::print_stderr,
    reason = "`eprintln!` panics when nobody reads: `tell_line!` drops the line"
)]

pub mod checkpoint;
pub mod config;
mod counted_progress;
pub mod device;
pub mod device_log;
pub mod divergence;
pub mod environment;
pub mod error;
pub mod evaluate;
mod evaluation;
mod instruction_batches;
pub mod interrupt;
pub mod language_modeling;
pub mod memory;
pub mod method;
mod metrics_file;
mod micro_batches;
pub mod model_place;
pub mod objective;
pub mod optimizer;
pub mod pretrained_lm;
pub mod progress;
pub mod records;
pub mod run_folder;
mod run_result;
pub mod schedule;
pub mod scoring;
pub mod self_check;
pub mod sequence_classification;
pub mod stderr;
pub mod trainer;

pub use blockllm_backward::Stack;
pub use checkpoint::Checkpoints;
pub use config::{Backward, BadSteps, TrainConfig, WeightType};
pub use counted_progress::CountedProgress;
pub use device::DeviceChoice;
pub use divergence::Divergence;
pub use environment::{Environment, Session};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use interrupt::Interrupt;
pub use language_modeling::{LanguageModeling, TextBatches};
pub use memory::{CountingAllocator, MemoryMeter, MemoryReport};
pub use method::{
    Algorithm, ApolloMethod, BlockMethod, FineTuning, GaLoreMethod, LoraMethod, Method, Methods, NamedMethod,
    PolicySettings, TrainingMethod,
};
pub use objective::{BatchSource, Objective};
pub use optimizer::{BackwardInParts, TrainingOptimizer};
pub use pretrained_lm::PretrainedLm;
pub use progress::Progress;
pub use records::{
    EvaluationRecord, LeftOutRecord, Record, RunObserver, RunResult, SkippedRecord, StepRecord,
};
pub use run_folder::RunFolder;
pub use schedule::{Schedule, ScheduleKind};
pub use self_check::{SelfCheck, WhenToCheck};
pub use sequence_classification::{ExampleBatches, SequenceClassification, SequenceClassifier};
pub use stderr::stderr_bar;
pub use trainer::{Setup, Trained, train, train_resumable};
