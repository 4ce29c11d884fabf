//! Tokenized documents kept compactly in memory, so that an epoch after the first need not tokenize again.

use std::collections::HashMap;
use std::ops::Range;

use crate::DocumentId;

/// Tokens of documents in one flat vector, two bytes a token where the vocabulary allows, up to a bound.
///
/// A store that is full keeps what it has and takes no more.
#[derive(Debug)]
pub struct TokenStore {
    tokens: Tokens,
    places: HashMap<DocumentId, Range<usize>>,
    max_tokens: usize,
}

#[derive(Debug)]
enum Tokens {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl TokenStore {
    /// An empty store for ids below `vocab_size`, of at most `max_tokens` tokens.
    pub fn new(vocab_size: usize, max_tokens: usize) -> Self {
        let fits = vocab_size <= usize::from(u16::MAX) + 1;
        let tokens = if fits {
            Tokens::Narrow(Vec::new())
        } else {
            Tokens::Wide(Vec::new())
        };
        Self {
            tokens,
            places: HashMap::new(),
            max_tokens,
        }
    }

    /// The tokens in the store.
    pub fn len(&self) -> usize {
        match &self.tokens {
            Tokens::Narrow(tokens) => tokens.len(),
            Tokens::Wide(tokens) => tokens.len(),
        }
    }

    /// Whether no token is in the store.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that the tokens take, in bytes.
    pub fn token_bytes(&self) -> u64 {
        let width = if matches!(self.tokens, Tokens::Narrow(_)) {
            2
        } else {
            4
        };
        width * self.len() as u64
    }

    /// The tokens of a document, if the store has them.
    pub fn get(&self, id: DocumentId) -> Option<Vec<u32>> {
        let place = self.places.get(&id)?.clone();
        Some(match &self.tokens {
            Tokens::Narrow(tokens) => tokens[place].iter().map(|&token| u32::from(token)).collect(),
            Tokens::Wide(tokens) => tokens[place].to_vec(),
        })
    }

    /// Keeps the tokens of a document, or gives `false` where there is no room; every token must be below the vocabulary's
    /// size.
    pub fn insert(&mut self, id: DocumentId, document: &[u32]) -> bool {
        let start = self.len();
        if self.places.contains_key(&id) {
            return true;
        }
        if start + document.len() > self.max_tokens {
            return false;
        }
        match &mut self.tokens {
            Tokens::Narrow(tokens) => tokens.extend(document.iter().map(|&token| token as u16)),
            Tokens::Wide(tokens) => tokens.extend_from_slice(document),
        }
        self.places.insert(id, start..start + document.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_as_they_went_in_at_both_widths_and_the_bound_holds() {
        let id = |index| DocumentId { shard: 3, index };
        for (vocab_size, width) in [(65_536, 2), (65_537, 4)] {
            let mut store = TokenStore::new(vocab_size, 5);
            assert!(store.insert(id(0), &[65_535, 0]));
            assert!(!store.insert(id(1), &[1, 2, 3, 4]));
            assert!(store.insert(id(2), &[7, 8, 9]));
            assert!(store.insert(id(2), &[7, 8, 9]));
            assert_eq!(store.get(id(0)), Some(vec![65_535, 0]));
            assert_eq!(store.get(id(1)), None);
            assert_eq!(store.get(id(2)), Some(vec![7, 8, 9]));
            assert_eq!(store.token_bytes(), 5 * width);
        }
    }
}
