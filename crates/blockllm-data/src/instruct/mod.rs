//! Instruction data: files as people have them, the tokenizer's chat template, loss on the answers, packing, mixtures.
//!
//! The way of the data: [`DataFile`]s -> [`InstructData`] (train, validation, test) -> [`InstructEncoder`] (chat template, token
//! ids, which of them are answers) -> [`EncodedData`] (cut or dropped to the row, counted) -> [`InstructBatches`].
//!
//! Everything is read into memory and tokenized once: instruction sets have some thousand to a million examples. The order of
//! batches is a function of (data, tokenizer, template, settings) alone, and an [`InstructCursor`] continues it.
//!
//! ```
//! use std::sync::Arc;
//! use blockllm_data::{FileRole, ReadingConfig, Tokenizer};
//! use blockllm_data::instruct::{
//!     ChatTemplate, DataFiles, EncodedData, EncodingConfig, InstructBatchConfig, InstructBatches, InstructData,
//!     InstructEncoder,
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("sums.jsonl");
//! let lines = (0..40).map(|i| format!(r#"{{"instruction": "What is {i} + 1?", "output": "It is {}."}}"#, i + 1));
//! std::fs::write(&path, lines.collect::<Vec<_>>().join("\n"))?;
//!
//! let files = DataFiles::sorted(&[path.display().to_string().parse()?])?;
//! let data = InstructData::from_files(&files, ReadingConfig::default())?;
//! let tokenizer = Tokenizer::train_byte_level_bpe(["What is 1 + 1? It is 2.".to_owned()], 270)?;
//! let encoder = InstructEncoder::new(Arc::new(tokenizer), ChatTemplate::alpaca())?;
//! let config = EncodingConfig { max_tokens: 128, ..EncodingConfig::default() };
//! let encoded = EncodedData::new(&data, FileRole::Train, &encoder, config)?;
//! let mut batches = InstructBatches::new(Arc::new(encoded), InstructBatchConfig::default())?;
//! assert_eq!(batches.next_batch().input_ids.len(), 8 * 128);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod batches;
mod chat_template;
mod dataset;
mod default_set;
mod encoded_data;
mod encoder;
mod example;
mod files;
mod fitting;
mod fixed_date;
mod generation_tag;
mod mixture;
mod python_forms;
mod record;
mod row_packing;
mod special_names;

pub use answers::{Answered, FoundBy, answered};
pub use batches::{InstructBatchConfig, InstructBatches, InstructCursor, instruct_validation_batches};
pub use chat_template::{ChatTemplate, Rendering};
pub use dataset::{InstructData, InstructSource, PlacedExample};
pub use encoded_data::{EncodedData, EncodedSource};
pub use encoder::{EncodedInstruction, EncodingConfig, InstructEncoder, LossOn, TooLong};
pub use example::{ASSISTANT, Example, Message};
pub use files::{DataFile, DataFiles};
pub use fitting::{FittingCounts, fitted};
pub use fixed_date::FixedDate;
pub use special_names::SpecialNames;
