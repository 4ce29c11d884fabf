//! A text longer than a model's positions as windows, each token predicted once: the harness' `loglikelihood_rolling`.

use std::path::Path;

use super::continuation::{ContinuationEncoder, PairTokens};
use super::fault::TaskFault;
use super::python_text::split_words;
use crate::DataError;
use crate::bounded_file::bounded;
use crate::settings_file::without_mark;

/// A larger file is no sample to measure on.
const MAX_BYTES: u64 = 1 << 28;

/// A text to be predicted as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollingText {
    /// Its windows, in order.
    pub windows: Vec<PairTokens>,
    /// Tokens that are predicted.
    pub tokens: usize,
    /// Words, as the harness counts them: what stands between spaces.
    pub words: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
}

impl RollingText {
    /// The text in windows of at most `positions` tokens. The first token is predicted from the encoder's prefix, every other
    /// one from what is before it in its window, which is as long as there are positions.
    ///
    /// # Errors
    /// As [`ContinuationEncoder::encode`] and [`ContinuationEncoder::prefix`].
    pub fn new(text: &str, encoder: &ContinuationEncoder, positions: usize) -> Result<Self, DataError> {
        let tokens = encoder.encode(text)?;
        Ok(Self {
            windows: windows(&tokens, encoder.prefix()?, positions.max(1)),
            tokens: tokens.len(),
            words: split_words(text),
            bytes: text.len(),
        })
    }

    /// The text of a file in UTF-8.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::FileTooLarge`], and [`DataError::Task`] when it is no text or has no token.
    pub fn of_file(path: &Path, encoder: &ContinuationEncoder, positions: usize) -> Result<Self, DataError> {
        let bytes = bounded(path, MAX_BYTES)?;
        let fault = |found: String| {
            let mend = "Give a file of plain text";
            let fault = TaskFault::of_path(path, "text in UTF-8".to_owned(), found, mend);
            DataError::Task(Box::new(fault))
        };
        let text = std::str::from_utf8(without_mark(&bytes));
        let text = text.map_err(|error| fault(format!("other bytes at {}", error.valid_up_to())))?;
        let rolling = Self::new(text, encoder, positions)?;
        if rolling.tokens == 0 {
            return Err(fault("nothing to predict".to_owned()));
        }
        Ok(rolling)
    }
}

fn windows(tokens: &[u32], prefix: u32, positions: usize) -> Vec<PairTokens> {
    let mut windows = Vec::new();
    let first = positions.min(tokens.len());
    if first > 0 {
        windows.push(PairTokens {
            context: vec![prefix],
            continuation: tokens[..first].to_vec(),
        });
    }
    let mut done = first;
    while done < tokens.len() {
        let end = (done + positions).min(tokens.len());
        // As many before it as the window has room for: all of them were predicted already.
        let begin = end - positions - 1;
        windows.push(PairTokens {
            context: tokens[begin..done].to_vec(),
            continuation: tokens[done..end].to_vec(),
        });
        done = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_predicted_once_with_as_much_before_it_as_there_is_room_for() {
        // The harness: [make_disjoint_window(w) for w in get_rolling_token_windows(list(range(1, 12)), 0, 4, 1)]
        let tokens: Vec<u32> = (1..12).collect();
        let found: Vec<(Vec<u32>, Vec<u32>)> = windows(&tokens, 0, 4)
            .into_iter()
            .map(|window| (window.context, window.continuation))
            .collect();
        let expected = [
            (vec![0], vec![1, 2, 3, 4]),
            (vec![4], vec![5, 6, 7, 8]),
            (vec![7, 8], vec![9, 10, 11]),
        ];
        assert_eq!(found, expected);
        assert!(windows(&[], 0, 4).is_empty());
        assert_eq!(windows(&[5], 0, 4).len(), 1);
    }
}
