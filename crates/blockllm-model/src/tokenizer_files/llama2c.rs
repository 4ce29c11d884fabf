//! The tokenizer file of llama2.c: the longest piece, then every piece with its score, from the first id on.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::TokenizerFiles;
use super::sentence_piece::{Piece, PieceKind, tokenizer_json};
use crate::ModelError;

/// Where the pieces of the 256 bytes end; before them are `<unk>`, `<s>` and `</s>`.
const BYTES_END: usize = 3 + 256;
/// No file of that form is larger: Llama 2's has 434 KB.
const MAX_FILE_BYTES: u64 = 16 << 20;
const BOS: &str = "<s>";
const EOS: &str = "</s>";

/// The tokenizer in a file as llama2.c exports it from `SentencePiece` (`tokenizer.bin`, `tok512.bin`), for a model of
/// `max_length` positions.
///
/// # Errors
///
/// When the file cannot be read or is none; the error says at which piece.
pub fn llama2c_tokenizer(path: &Path, max_length: usize) -> Result<TokenizerFiles, ModelError> {
    let mut bytes = Vec::new();
    // What is no plain file tells no size.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(ModelError::io(path, "read"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(path, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    let pieces = pieces(&bytes).map_err(|found| refuse(path, found))?;
    let post_processor = json!({
        "type": "TemplateProcessing",
        "single": [
            { "SpecialToken": { "id": BOS, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
        ],
        "pair": [
            { "SpecialToken": { "id": BOS, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
            { "SpecialToken": { "id": BOS, "type_id": 1 } }, { "Sequence": { "id": "B", "type_id": 1 } },
        ],
        "special_tokens": { BOS: { "id": BOS, "ids": [1], "tokens": [BOS] } },
    });
    let tokenizer = tokenizer_json(&pieces, true, &post_processor).map_err(|found| refuse(path, found))?;
    Ok(TokenizerFiles {
        tokenizer: tokenizer.to_string(),
        config: json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "unk_token": "<unk>",
            "add_bos_token": true,
            "model_max_length": max_length,
            "clean_up_tokenization_spaces": false,
        }),
    })
}

/// All pieces of a file's `bytes`, or what is wrong with it.
fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, String> {
    let (longest, mut rest) = number(bytes).ok_or("it ends before its first number")?;
    let longest = u32::from_le_bytes(longest) as usize;
    let mut pieces = Vec::new();
    let mut texts = HashSet::new();
    while !rest.is_empty() {
        let id = pieces.len();
        let (piece, after) = piece(rest, id, longest).map_err(|found| format!("piece {id} {found}"))?;
        if !texts.insert(piece.text.clone()) {
            return Err(format!("piece {id}, {:?}, is there twice", piece.text));
        }
        pieces.push(piece);
        rest = after;
    }
    if pieces.len() < BYTES_END {
        return Err(format!(
            "it has {} pieces, fewer than three marks and 256 bytes",
            pieces.len()
        ));
    }
    Ok(pieces)
}

/// The piece at the beginning of `bytes`, of at most `longest`, and what follows it.
fn piece(bytes: &[u8], id: usize, longest: usize) -> Result<(Piece, &[u8]), String> {
    let cut = || "is cut off".to_owned();
    let (score, rest) = number(bytes).ok_or_else(cut)?;
    let (length, rest) = number(rest).ok_or_else(cut)?;
    let score = f64::from(f32::from_le_bytes(score));
    if !score.is_finite() {
        return Err(format!("has a score of {score}"));
    }
    let length = i32::from_le_bytes(length);
    let length = match usize::try_from(length) {
        Ok(length) if length <= longest => length,
        _ => {
            return Err(format!(
                "has a length of {length} bytes, where the longest has {longest}"
            ));
        }
    };
    let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let text = std::str::from_utf8(text).map_err(|_| "is no UTF-8")?;
    let kind = match id {
        0 => PieceKind::Unknown,
        1 | 2 => PieceKind::Control,
        3..BYTES_END => PieceKind::Byte,
        _ => PieceKind::Normal,
    };
    let text = match kind {
        // llama2.c prints the two marks on lines of their own.
        PieceKind::Control => text.trim().to_owned(),
        PieceKind::Normal => text.replace(' ', "\u{2581}"),
        _ => text.to_owned(),
    };
    let expected = match id {
        0 => Some("<unk>".to_owned()),
        1 => Some(BOS.to_owned()),
        2 => Some(EOS.to_owned()),
        3..BYTES_END => Some(format!("<0x{:02X}>", id - 3)),
        _ => None,
    };
    match expected {
        Some(expected) if expected != text => Err(format!("is {text:?}, where {expected:?} is expected")),
        _ => Ok((Piece { text, score, kind }, rest)),
    }
}

/// The four bytes of a number, and what follows them.
fn number(bytes: &[u8]) -> Option<([u8; 4], &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((*number, rest))
}

fn refuse(path: &Path, found: String) -> ModelError {
    ModelError::Tokenizer {
        path: path.to_path_buf(),
        found,
    }
}
