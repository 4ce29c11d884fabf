//! Text pipelines for language-model training: corpora, tokenizers, packing, shuffling and prefetched
//! batches.
//!
//! The way of the data: [`Corpus`] (C4 shards, or the embedded default) -> [`DocumentStream`] (epochs, shuffled in
//! blocks) -> [`Tokenizer`] (on all cores, in order; memoized by a [`TokenStore`]) -> [`Packer`] (rows, a lane each) ->
//! [`LmBatch`] -> [`Loader`] (a thread beside training). Everything here lives on the host: this crate knows no tensor
//! library.
//!
//! The order of batches is a function of (corpus, tokenizer, [`LoaderConfig`]) alone, and a [`Cursor`]
//! continues it exactly where it was.
//!
//! ```
//! use std::sync::Arc;
//! use blockllm_data::{Corpus, Loader, LoaderConfig, Tokenizer};
//!
//! let texts: Vec<String> = (0..40).map(|i| format!("Document {i} says that the weather is fine.")).collect();
//! let corpus = Corpus::from_documents("weather", texts.clone(), vec![]);
//! let tokenizer = Arc::new(Tokenizer::train_byte_level_bpe(texts, 300)?);
//! let config = LoaderConfig { batch_size: 4, seq_len: 16, ..LoaderConfig::default() };
//! let mut loader = Loader::new(corpus, tokenizer, config)?;
//! let batch = loader.next_batch()?;
//! assert_eq!(batch.input_ids.len(), 4 * 16);
//! # Ok::<(), blockllm_data::DataError>(())
//! ```

pub mod atomic_file;
pub mod batch;
pub mod batch_stream;
pub mod bounded_file;
pub mod bpe;
pub mod corpus;
pub mod cursor;
mod data_threads;
pub mod dependency_docs;
pub mod document_form;
pub mod document_stream;
pub mod documents;
pub mod error;
pub mod file_role;
pub mod glue;
pub mod hashing;
pub mod instruct;
mod io_mend;
mod lane;
pub mod loader;
pub mod loader_config;
pub mod manifest;
pub mod packing;
pub mod reading;
pub mod row;
mod settings_file;
pub mod shards;
pub mod shuffle;
pub mod tasks;
pub mod token_store;
mod tokenize_ahead;
mod tokenized_documents;
pub mod tokenizer;
pub mod validation;

pub use batch::LmBatch;
pub use batch_stream::BatchStream;
pub use corpus::{Corpus, CorpusKind};
pub use cursor::{Cursor, UnfinishedDocument};
pub use data_threads::at_start_of_data_threads;
pub use dependency_docs::DependencyDocsConfig;
pub use document_form::DocumentForm;
pub use document_stream::{DocumentPlace, DocumentStream};
pub use documents::{Document, DocumentId, Documents, HOLD_OUT_ONE_IN, ReadPlace, Split};
pub use error::DataError;
pub use file_role::FileRole;
pub use io_mend::is_without_room;
pub use loader::Loader;
pub use loader_config::LoaderConfig;
pub use manifest::DataManifest;
pub use packing::{Layout, Packer};
pub use reading::shard_hashes::{HashProgress, ShardHashes};
pub use reading::{BadDocuments, ReadingConfig, Skipped};
pub use row::{IGNORE_INDEX, PADDING_SEGMENT, Row};
pub use shards::ShardSet;
pub use token_store::TokenStore;
pub use tokenizer::{TextStream, Tokenizer};
pub use validation::{ValidationSet, validation_batches, validation_set};
