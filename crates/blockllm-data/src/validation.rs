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
    config.validate()?;
    let rows = validation_rows(corpus, tokenizer, config, max_tokens)?;
    if rows.is_empty() {
        return Err(DataError::EmptySplit {
            split: Split::Validation.name(),
            corpus: corpus.describe().to_owned(),
            mend: "Put a c4-validation.* shard beside the train shards, or give a larger corpus to hold documents out of",
        });
    }
    let batches = rows.chunks(config.batch_size);
    Ok(batches
        .map(|rows| LmBatch::from_rows(rows.to_vec(), config.seq_len))
        .collect())
}

fn validation_rows(
    corpus: &Corpus,
    tokenizer: &Arc<Tokenizer>,
    config: &LoaderConfig,
    max_tokens: usize,
) -> Result<Vec<Row>, DataError> {
    let mut packer = Packer::new(config.layout, config.seq_len, tokenizer.document_form()?);
    let needed = needed_tokens(tokenizer, config)?;
    let mut ahead = TokenizeAhead::new(Arc::clone(tokenizer), needed, config.threads);
    let mut documents = corpus.documents(Split::Validation);
    let policy = corpus.reading().bad_documents;
    let mut work = || {
        let document = documents.next().transpose()?;
        Ok(document.map(|document| ((), Work::Text(document.text))))
    };
    let mut next = || {
        while let Some(((), tokens)) = ahead.next(&mut work)? {
            match tokens {
                Ok(tokens) => return Ok(Some(tokens)),
                Err(error) => policy.pass(error, &mut Skipped::default())?,
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
    Ok(rows)
}
