//! Tokens that come one by one, as text: a character appears once all its bytes are there.

use super::{Tokenizer, library_error};
use crate::DataError;

/// What stands for bytes that are no whole character.
const NO_CHARACTER: char = '\u{FFFD}';
/// Tokens before a text that decide how its first one is written: a decoder may drop a space at the beginning.
const BEFORE: usize = 8;

/// Tokens that wait for a character to become whole, at most: no character has so many.
const MOST_PENDING: usize = 12;

/// Tokens that were told and are kept, at most, where those behind them add no text.
const MOST_TOLD: usize = 32;

/// The text of a growing row of tokens. Special tokens have none.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    /// The tokens that were told last, and those that were not yet.
    ids: Vec<u32>,
    /// How many of them were told.
    told: usize,
}

impl TextStream {
    /// The text that goes on after that of `ids`: its first word keeps the space before it.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the decoder refuses.
    pub fn after(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Self, DataError> {
        let near = ids.len().saturating_sub(BEFORE);
        let mut from = near;
        // Not from within a character: it has at most four tokens of a byte each.
        for first in (near.saturating_sub(3)..=near).rev() {
            if !text(tokenizer, &ids[first..])?.starts_with(NO_CHARACTER) {
                from = first;
                break;
            }
        }
        let ids = ids[from..].to_vec();
        Ok(Self { told: ids.len(), ids })
    }

    /// What the next token adds to the text; nothing where its last character is not whole yet.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the decoder refuses.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, DataError> {
        self.ids.push(id);
        let before = text(tokenizer, &self.ids[..self.told])?;
        let all = text(tokenizer, &self.ids)?;
        let pending = self.ids.len() - self.told;
        if all == before {
            // What adds no text, as special tokens do, waits for nothing: it is told, and of many the last are left out.
            if self.ids.len() > MOST_TOLD {
                self.ids.pop();
            }
            self.told = self.ids.len();
            return Ok(String::new());
        }
        if all.ends_with(NO_CHARACTER) && pending < MOST_PENDING {
            return Ok(String::new());
        }
        let added = behind(&before, &all).to_owned();
        self.ids.drain(..self.told);
        self.told = self.ids.len();
        Ok(added)
    }

    /// What is left at the end: bytes that are no whole character, as the tokenizer writes such.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self, tokenizer: &Tokenizer) -> Result<String, DataError> {
        let before = text(tokenizer, &self.ids[..self.told])?;
        let all = text(tokenizer, &self.ids)?;
        Ok(behind(&before, &all).to_owned())
    }
}

/// The text of ids, of which special ones have none.
fn text(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String, DataError> {
    if ids.is_empty() {
        return Ok(String::new());
    }
    let text = tokenizer.inner().decode(ids, true);
    text.map_err(|error| library_error(tokenizer.label(), &*error))
}

/// What `all` has after `before`, or after as much of it as is the same: a tokenizer that falls back to bytes writes whole ones
/// otherwise when a broken one follows.
fn behind<'a>(before: &str, all: &'a str) -> &'a str {
    let mut same = all.char_indices().zip(before.chars());
    let end = same.find(|((_, found), expected)| found != expected);
    let end = end.map_or(all.len().min(before.len()), |((place, _), _)| place);
    &all[end..]
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

    #[test]
    fn special_tokens_before_a_character_take_none_of_its_time() {
        let tokenizer = Tokenizer::train_byte_level_bpe(["a".to_owned()], 258).unwrap();
        let end = tokenizer.eos_id().unwrap();
        for count in [1, 12, 100] {
            let mut stream = TextStream::default();
            let ids = [vec![end; count], tokenizer.encode("世").unwrap()].concat();
            let pieces = ids.iter().map(|&id| stream.push(&tokenizer, id).unwrap());
            let pieces: Vec<String> = pieces.filter(|piece| !piece.is_empty()).collect();
            assert_eq!(pieces, ["世"], "{count}");
        }
    }

    /// A tokenizer of SentencePiece's kind: a space is part of the word behind it, and what no piece has is bytes.
    fn with_bytes() -> Tokenizer {
        let bytes = (0..256).map(|byte| format!("\"<0x{byte:02X}>\": {}", byte + 3));
        let bytes: Vec<String> = bytes.collect();
        let json = format!(
            r#"{{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
                "decoder": {{"type": "Sequence", "decoders": [
                    {{"type": "Replace", "pattern": {{"String": "▁"}}, "content": " "}}, {{"type": "ByteFallback"}},
                    {{"type": "Fuse"}}, {{"type": "Strip", "content": " ", "start": 1, "stop": 0}}]}},
                "model": {{"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "merges": [],
                    "vocab": {{"<unk>": 0, "▁a": 1, "b": 2, {}}}}}}}"#,
            bytes.join(", ")
        );
        Tokenizer::from_text(&json, &serde_json::Value::Null, "bytes").unwrap()
    }

    #[test]
    fn a_text_that_goes_on_keeps_its_first_space_and_broken_bytes_end_nothing() {
        let tokenizer = with_bytes();
        let streamed = |mut stream: TextStream, ids: &[u32]| {
            let pieces = ids.iter().map(|&id| stream.push(&tokenizer, id).unwrap());
            let text = pieces.collect::<String>();
            text + &stream.finish(&tokenizer).unwrap()
        };
        let byte = |byte: u8| u32::from(byte) + 3;
        assert_eq!(streamed(TextStream::default(), &[1, 2, 1]), "ab a");
        let after = |ids: &[u32]| TextStream::after(&tokenizer, ids).unwrap();
        assert_eq!(streamed(after(&[1, 2]), &[1, 2, 1]), " ab a");
        let bytes_of = |text: &str| text.bytes().map(byte).collect::<Vec<_>>();
        assert_eq!(streamed(after(&bytes_of("日本語")), &bytes_of("です")), "です");
        assert_eq!(
            streamed(TextStream::default(), &[byte(0xFF); 40]).chars().count(),
            40
        );
        // An umlaut, then a byte that is no character, then a word.
        let broken = [byte(0xC3), byte(0xBC), byte(0xFF), 1, 2];
        let text = streamed(TextStream::default(), &broken);
        assert!(text.starts_with('ü') && text.ends_with(" ab"), "{text}");
        assert_eq!(streamed(TextStream::default(), &broken[..2]), "ü");
        assert_eq!(streamed(TextStream::default(), &broken[..1]), "\u{FFFD}");
    }
}
