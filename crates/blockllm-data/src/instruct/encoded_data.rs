//! Instruction data as tokens: rendered and tokenized once, on all cores, what does not fit cut or left out.

use rayon::prelude::*;

use super::dataset::{InstructData, InstructSource, PlacedExample};
use super::encoder::{EncodedInstruction, EncodingConfig, InstructEncoder};
use super::fitting::{FittingCounts, fitted};
use super::row_packing::best_fit;
use crate::hashing::sha256_hex;
use crate::packing::Layout;
use crate::reading::{ReadingConfig, Skipped};
use crate::{DataError, FileRole};

/// The tokens of a part of the data.
#[derive(Debug, Clone)]
pub struct EncodedData {
    /// The sources, each with at least one example, and their weights.
    pub sources: Vec<EncodedSource>,
    /// What became of the examples.
    pub counts: FittingCounts,
    /// Examples that the template or the tokenizer refused, where such are skipped.
    pub skipped: Skipped,
    /// Tells these tokens from others.
    pub identity: String,
    /// The settings they were made with.
    pub config: EncodingConfig,
    /// The token that fills rows.
    pub pad_id: i32,
}

/// The examples of one source.
#[derive(Debug, Clone)]
pub struct EncodedSource {
    /// Its weight: the one that was given, else its examples.
    pub weight: f64,
    /// Its examples, in the order of the file.
    pub examples: Vec<EncodedInstruction>,
}

impl EncodedData {
    /// The tokens of the part `role` of `data`.
    ///
    /// # Errors
    /// [`DataError::InstructRecord`] with file and record where the template refuses a conversation and bad documents stop;
    /// what tokenizing fails with; [`DataError::EmptySplit`] when no example is left; [`DataError::Config`] when only some of
    /// several sources have a weight.
    pub fn new(
        data: &InstructData,
        role: FileRole,
        encoder: &InstructEncoder,
        config: EncodingConfig,
    ) -> Result<Self, DataError> {
        let parts = data.part(role);
        let weighted = parts.iter().filter(|source| source.weight.is_some()).count();
        if role == FileRole::Train && weighted != 0 && weighted != parts.len() {
            return Err(DataError::Config {
                field: "weight",
                found: format!("given for {weighted} of {} files", parts.len()),
                expected: "a weight for every train file, or for none",
            });
        }
        let mut counts = FittingCounts::default();
        let mut skipped = Skipped::default();
        let mut sources = Vec::new();
        for source in parts {
            let examples = encode(source, encoder, data.reading, &mut skipped)?;
            let fit = |example| fitted(example, &config, &mut counts);
            let examples: Vec<EncodedInstruction> = examples.into_iter().filter_map(fit).collect();
            if examples.is_empty() && source.weight.is_some() && role == FileRole::Train {
                return Err(DataError::Config {
                    field: "weight",
                    found: format!("one of {}, of which no example is left", source.path.display()),
                    expected: "weights of files with examples that fit: raise `max_tokens` (--max-length), or leave the file out",
                });
            }
            if !examples.is_empty() {
                let weight = source.weight.unwrap_or(examples.len() as f64);
                sources.push(EncodedSource { weight, examples });
            }
        }
        if sources.is_empty() {
            let mend = if parts.is_empty() {
                "Give a file for it, with `valid` or `dev` in its name: all examples are the same, so none can be held out"
            } else {
                "Raise `max_tokens` (--max-length), or give files whose examples have answers that the chat template shows"
            };
            return Err(data.empty(role, mend));
        }
        let parts = format!("{}|{config:?}|{:?}", tokens_hash(&sources), encoder.pad_id());
        Ok(Self {
            sources,
            counts,
            skipped,
            identity: sha256_hex(parts.as_bytes()),
            config,
            pad_id: encoder.pad_id(),
        })
    }
}

impl EncodedData {
    /// The rows that all examples fill when each comes once.
    pub fn rows(&self, layout: Layout) -> usize {
        let examples = self.sources.iter().flat_map(|source| &source.examples);
        let lengths: Vec<usize> = examples.map(|example| example.input_ids.len()).collect();
        best_fit(&lengths, self.config.max_tokens, layout).len()
    }
}

/// A hash of what a batch is made of: whatever it came from, other tokens give another one.
fn tokens_hash(sources: &[EncodedSource]) -> String {
    let mut all = Vec::new();
    for source in sources {
        all.extend(source.weight.to_le_bytes());
        for example in &source.examples {
            all.extend((example.input_ids.len() as u64).to_le_bytes());
            all.extend(example.input_ids.iter().flat_map(|id| id.to_le_bytes()));
            all.extend(example.learned.iter().map(|learned| u8::from(*learned)));
        }
    }
    sha256_hex(&all)
}

fn encode(
    source: &InstructSource,
    encoder: &InstructEncoder,
    reading: ReadingConfig,
    skipped: &mut Skipped,
) -> Result<Vec<EncodedInstruction>, DataError> {
    let encode = |placed: &PlacedExample| {
        encoder.encode(&placed.example).map_err(|error| match error {
            DataError::ChatTemplate { template, found } => DataError::InstructRecord {
                path: source.path.clone(),
                place: placed.place.clone(),
                expected: format!("a conversation that the chat template {template} takes"),
                found,
            },
            error => error,
        })
    };
    let encoded: Vec<Result<EncodedInstruction, DataError>> =
        source.examples.par_iter().map(encode).collect();
    let mut kept = Vec::with_capacity(encoded.len());
    for example in encoded {
        match example {
            Ok(example) => kept.push(example),
            Err(error) => reading.bad_documents.pass(error, skipped)?,
        }
    }
    Ok(kept)
}
