//! Tokens that come one by one, as text: a character appears once all its bytes are there.

use tokenizers::step_decode_stream;

use super::{Tokenizer, library_error};
use crate::DataError;

/// The text of a growing row of tokens. Special tokens have none.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    ids: Vec<u32>,
    prefix: String,
    prefix_index: usize,
}

impl TextStream {
    /// What the next token adds to the text; nothing where its last character is not whole yet.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the decoder refuses.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, DataError> {
        let added = step_decode_stream(
            tokenizer.inner(),
            vec![id],
            true,
            &mut self.ids,
            &mut self.prefix,
            &mut self.prefix_index,
        );
        let added = added.map_err(|error| library_error(tokenizer.label(), &*error))?;
        Ok(added.unwrap_or_default())
    }

    /// What is left at the end: bytes that are no whole character, as the tokenizer writes such.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self, tokenizer: &Tokenizer) -> Result<String, DataError> {
        let all = tokenizer.inner().decode(&self.ids, true);
        let all = all.map_err(|error| library_error(tokenizer.label(), &*error))?;
        Ok(all
            .strip_prefix(self.prefix.as_str())
            .unwrap_or_default()
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_text_and_no_piece_is_half_a_character() {
        let text = "Grüße, 世界! 🦀 ok";
        let tokenizer = Tokenizer::train_byte_level_bpe(["a".to_owned()], 258).unwrap();
        let ids = tokenizer.encode(text).unwrap();
        assert!(ids.len() > text.chars().count(), "every byte is a token");
        let mut stream = TextStream::default();
        let pieces: Vec<String> = ids
            .iter()
            .map(|&id| stream.push(&tokenizer, id).unwrap())
            .collect();
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{FFFD}')),
            "{pieces:?}"
        );
        assert_eq!(pieces.concat(), text);
        assert_eq!(stream.finish(&tokenizer).unwrap(), "");
    }

    #[test]
    fn special_tokens_have_no_text_and_half_a_character_comes_at_the_end() {
        let tokenizer = Tokenizer::train_byte_level_bpe(["a".to_owned()], 258).unwrap();
        let mut stream = TextStream::default();
        let half = tokenizer.encode("a世").unwrap();
        let end = tokenizer.eos_id().unwrap();
        let mut text = String::new();
        for id in [&half[..2], &[end]].concat() {
            text += &stream.push(&tokenizer, id).unwrap();
        }
        assert_eq!(text, "a");
        assert_eq!(stream.finish(&tokenizer).unwrap(), "\u{FFFD}");
    }
}
