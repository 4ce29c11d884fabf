//! The BPE of `SentencePiece`, which Llama 2 and its kin have: pieces with scores, as the model of a `tokenizer.json`.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// What stands for a space within a piece.
const SPACE: &str = "\u{2581}";
/// Pieces that stand for a byte each, where a text has letters that no piece has.
const BYTES: usize = 256;

/// Bytes of a piece, at most; `SentencePiece` makes pieces of at most 16 characters unless told otherwise.
const LONGEST: usize = 1024;
/// Pairs that make a piece, at most; Gemma's 256,000 pieces have some 580,000.
const MOST_MERGES: usize = 1 << 21;

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// Part of a text.
    Normal,
    /// What no other piece stands for.
    Unknown,
    /// A mark of the model's, which no text has.
    Control,
    /// A word of the user's, which is never cut.
    UserDefined,
    /// Nothing.
    Unused,
    /// A byte, written `<0x0A>`.
    Byte,
}

/// A piece; its id is its place among all.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Its text, a space being `▁`.
    pub(crate) text: String,
    /// The higher, the sooner it is merged.
    pub(crate) score: f64,
    /// What it is for.
    pub(crate) kind: PieceKind,
}

/// The `tokenizer.json` of `pieces`. Texts get a space before them where `adds_space` says so; `post_processor` puts special
/// tokens around them.
///
/// # Errors
///
/// What is wrong with the pieces: no tokenizer has such long ones, or so many pairs that make one.
pub(crate) fn tokenizer_json(
    pieces: &[Piece],
    adds_space: bool,
    post_processor: &Value,
) -> Result<Value, String> {
    let merges = merges(pieces)?;
    let used = || {
        let numbered = pieces.iter().enumerate();
        numbered.filter(|(_, piece)| piece.kind != PieceKind::Unused)
    };
    let vocabulary: Map<String, Value> = used()
        .map(|(id, piece)| (piece.text.clone(), id.into()))
        .collect();
    let is_mark = |kind| [PieceKind::Unknown, PieceKind::Control].contains(&kind);
    let added: Vec<Value> = used()
        .filter(|(_, piece)| is_mark(piece.kind) || piece.kind == PieceKind::UserDefined)
        .map(|(id, piece)| {
            json!({
                "id": id, "content": piece.text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": is_mark(piece.kind),
            })
        })
        .collect();
    let unknown = used().find(|(_, piece)| piece.kind == PieceKind::Unknown);
    let bytes = used().filter(|(_, piece)| piece.kind == PieceKind::Byte).count();
    let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let normalizers = if adds_space {
        vec![json!({ "type": "Prepend", "prepend": SPACE }), spaces]
    } else {
        vec![spaces]
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if adds_space {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null,
        "post_processor": post_processor,
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown.map(|(_, piece)| &piece.text),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": bytes == BYTES, "ignore_merges": false, "vocab": vocabulary, "merges": merges,
        },
    }))
}

/// Every pair of pieces that makes a piece, the highest score first: `SentencePiece` merges the two neighbours whose piece has the
/// highest.
fn merges(pieces: &[Piece]) -> Result<Vec<Value>, String> {
    let normal = || pieces.iter().filter(|piece| piece.kind == PieceKind::Normal);
    if let Some(piece) = normal().find(|piece| piece.text.len() > LONGEST) {
        return Err(format!(
            "a piece of {} bytes, more than {LONGEST}",
            piece.text.len()
        ));
    }
    let scores: HashMap<&str, f64> = normal().map(|piece| (piece.text.as_str(), piece.score)).collect();
    let mut found = Vec::new();
    for piece in normal() {
        for (place, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(place);
            if scores.contains_key(left) && scores.contains_key(right) {
                found.push((piece.score, left, right));
            }
        }
        if found.len() > MOST_MERGES {
            return Err(format!(
                "more than {MOST_MERGES} pairs of pieces that make a piece"
            ));
        }
    }
    // As transformers has it where a piece is made of two pairs: the longer left part first.
    found.sort_by(|(one, left, _), (other, longer, _)| {
        let by_score = other.partial_cmp(one).unwrap_or(Ordering::Equal);
        by_score.then_with(|| Reverse(left.len()).cmp(&Reverse(longer.len())))
    });
    Ok(found
        .into_iter()
        .map(|(_, left, right)| json!([left, right]))
        .collect())
}
