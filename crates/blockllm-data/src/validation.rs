//! The batches of a validation pass: always the same rows in the same order.

use std::sync::Arc;

use crate::documents::Split;
use crate::tokenize_ahead::{TokenizeAhead, Work};
use crate::tokenized_documents::needed_tokens;
use crate::{Corpus, DataError, LmBatch, LoaderConfig, Packer, Row, Skipped, Tokenizer};

/// Batches of validation documents in their order on disk, never shuffled, until `max_tokens` labels are
/// reached.
///
/// Whole rows are taken, so the rows do not depend on `batch_size`; the last batch may be smaller. `config`'s
/// seed and buffers are not used.
///
/// # Errors
/// [`DataError::Config`] when a setting is out of range, [`DataError::EmptySplit`] when no validation
/// document gives a token, and what reading or tokenizing fails with.
pub fn validation_batches(
    corpus: &Corpus,
    tokenizer: &Arc<Tokenizer>,
    config: &LoaderConfig,
    max_tokens: usize,
) -> Result<Vec<LmBatch>, DataError> {
    Ok(validation_set(corpus, tokenizer, config, max_tokens)?.batches)
}

/// What validation is made of.
#[derive(Debug, Clone, Default)]
pub struct ValidationSet {
    /// Always the same rows in the same order.
    pub batches: Vec<LmBatch>,
    /// What was left out before the last row, where bad documents are skipped.
    pub left_out: Skipped,
}

/// As [`validation_batches`], with the count of what was left out.
///
/// # Errors
/// As [`validation_batches`].
pub fn validation_set(
    corpus: &Corpus,
    tokenizer: &Arc<Tokenizer>,
    config: &LoaderConfig,
    max_tokens: usize,
) -> Result<ValidationSet, DataError> {
    config.validate()?;
    let (rows, left_out) = validation_rows(corpus, tokenizer, config, max_tokens)?;
    if rows.is_empty() {
        return Err(DataError::EmptySplit {
            split: Split::Validation.name(),
            corpus: corpus.describe().to_owned(),
            mend: "Put a c4-validation.* shard beside the train shards, or give a larger corpus to hold documents out of",
        });
    }
    let batches = rows.chunks(config.batch_size);
    let batches = batches
        .map(|rows| LmBatch::from_rows(rows.to_vec(), config.seq_len))
        .collect();
    Ok(ValidationSet { batches, left_out })
}

fn validation_rows(
    corpus: &Corpus,
    tokenizer: &Arc<Tokenizer>,
    config: &LoaderConfig,
    max_tokens: usize,
) -> Result<(Vec<Row>, Skipped), DataError> {
    let mut packer = Packer::new(config.layout, config.seq_len, tokenizer.document_form()?);
    let needed = needed_tokens(tokenizer, config)?;
    let mut ahead = TokenizeAhead::new(Arc::clone(tokenizer), needed, config.threads);
    let mut documents = corpus.documents(Split::Validation);
    let policy = corpus.reading().bad_documents;
    // Documents are read ahead: each carries what was left out before it, so that the count is that of the rows.
    let mut work = || {
        let document = documents.next().transpose()?;
        Ok(document.map(|document| (documents.skipped(), Work::Text(document.text))))
    };
    let (mut unread, mut refused) = (Skipped::default(), Skipped::default());
    let mut next = || {
        while let Some((before, tokens)) = ahead.next(&mut work)? {
            unread = before;
            match tokens {
                Ok(tokens) => return Ok(Some(tokens)),
                Err(error) => policy.pass(error, &mut refused)?,
            }
        }
        Ok(None)
    };
    let mut rows = Vec::new();
    let mut label_tokens = 0;
    while label_tokens < max_tokens {
        let Some(row) = packer.next_row(&mut next)? else {
            break;
        };
        label_tokens += row.label_tokens();
        rows.push(row);
    }
    let mut left_out = unread;
    left_out += refused;
    Ok((rows, left_out))
}
