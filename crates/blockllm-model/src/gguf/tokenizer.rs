//! The tokenizer of a GGUF file as Hugging Face's files.

use blockllm_tensors::TensorFileError;
use blockllm_tensors::gguf::Metadata;
use serde_json::{Map, Value, json};

use super::tokenizer_kind::{TokenizerKind, byte_level};
use crate::TokenizerFiles;
use crate::tokenizer_files::sentence_piece::{Piece, PieceKind, tokenizer_json};

// Kinds of tokens by llama.cpp's numbers.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

/// The tokenizer of a model of `max_length` positions: a byte-level BPE, or one of `SentencePiece`.
pub(super) fn tokenizer_files(
    metadata: &Metadata,
    max_length: usize,
) -> Result<TokenizerFiles, TensorFileError> {
    let kind = kind(metadata)?;
    let adds_bos = kind.is_none_or(|kind| kind.adds_bos);
    let tokenizer = match kind {
        Some(kind) => byte_level_bpe(metadata, kind)?,
        None => sentence_piece_bpe(metadata)?,
    };
    Ok(TokenizerFiles {
        tokenizer: tokenizer.to_string(),
        config: tokenizer_config(metadata, adds_bos, max_length)?,
    })
}

/// The `tokenizer.json` of a byte-level BPE.
fn byte_level_bpe(metadata: &Metadata, kind: TokenizerKind) -> Result<Value, TensorFileError> {
    let (tokens, types) = (tokens(metadata)?, types(metadata)?);
    let mut vocabulary = Map::new();
    let mut added = Vec::new();
    for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
        if *kind == UNUSED {
            continue;
        }
        vocabulary.insert(token.clone(), id.into());
        if [CONTROL, USER_DEFINED].contains(kind) {
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == CONTROL,
            }));
        }
    }
    let post_processor = post_processor(metadata, kind.adds_bos)?;
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": kind.is_normalized.then(|| json!({ "type": "NFC" })),
        "pre_tokenizer": kind.pre_tokenizer(),
        "post_processor": post_processor.unwrap_or_else(|| byte_level(true, true)),
        "decoder": byte_level(true, true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": kind.ignore_merges, "vocab": vocabulary, "merges": merges(metadata)?,
        },
    }))
}

/// The `tokenizer.json` of a BPE of `SentencePiece`, which merges by the scores of its pieces.
fn sentence_piece_bpe(metadata: &Metadata) -> Result<Value, TensorFileError> {
    let (tokens, types) = (tokens(metadata)?, types(metadata)?);
    let key = "tokenizer.ggml.scores";
    let scores = match metadata.numbers(key)? {
        Some(scores) if scores.len() == tokens.len() && scores.iter().all(|score| score.is_finite()) => {
            scores
        }
        _ => {
            return Err(metadata.refuse(
                key,
                format!("a list of {} numbers, one for each token", tokens.len()),
            ));
        }
    };
    let pieces = tokens.iter().zip(types).zip(scores);
    let pieces: Vec<Piece> = pieces
        .map(|((text, kind), &score)| Piece {
            text: text.clone(),
            score,
            kind: match *kind {
                UNKNOWN => PieceKind::Unknown,
                CONTROL => PieceKind::Control,
                USER_DEFINED => PieceKind::UserDefined,
                UNUSED => PieceKind::Unused,
                BYTE => PieceKind::Byte,
                _ => PieceKind::Normal,
            },
        })
        .collect();
    let adds_space = metadata.flag("tokenizer.ggml.add_space_prefix")?;
    let post_processor = post_processor(metadata, true)?.unwrap_or(Value::Null);
    let adds_space = adds_space.unwrap_or(true);
    tokenizer_json(&pieces, adds_space, &post_processor).map_err(|found| {
        let expected = format!("pieces of a tokenizer, and it has {found}");
        metadata.refuse("tokenizer.ggml.tokens", expected)
    })
}

/// The `tokenizer_config.json`: which tokens begin, end and fill texts, and the template of chats.
fn tokenizer_config(
    metadata: &Metadata,
    adds_bos: bool,
    max_length: usize,
) -> Result<Value, TensorFileError> {
    let name = |token: &str| Ok(named(metadata, token)?.map(|(_, name)| name));
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": name("bos")?,
        "eos_token": name("eos")?,
        "unk_token": name("unknown")?,
        "pad_token": name("padding")?,
        "add_bos_token": adds(metadata, "bos", adds_bos)?,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": false,
    });
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        config["chat_template"] = template.into();
    }
    Ok(config)
}

/// The kind of a byte-level BPE; none for one of `SentencePiece`.
fn kind(metadata: &Metadata) -> Result<Option<TokenizerKind>, TensorFileError> {
    match metadata.text("tokenizer.ggml.model")? {
        Some("llama") => return Ok(None),
        Some("gpt2") => {}
        _ => {
            let expected = "gpt2, which is a byte-level BPE, or llama, which is a BPE of SentencePiece";
            return Err(metadata.refuse("tokenizer.ggml.model", expected));
        }
    }
    let name = metadata.text("tokenizer.ggml.pre")?;
    let kind = name.and_then(TokenizerKind::of);
    kind.map(Some)
        .ok_or_else(|| metadata.refuse("tokenizer.ggml.pre", TokenizerKind::known()))
}

fn tokens(metadata: &Metadata) -> Result<&[String], TensorFileError> {
    let key = "tokenizer.ggml.tokens";
    metadata
        .texts(key)?
        .ok_or_else(|| metadata.refuse(key, "a list of texts"))
}

/// The kind of each token.
fn types(metadata: &Metadata) -> Result<&[i64], TensorFileError> {
    let (key, count) = ("tokenizer.ggml.token_type", tokens(metadata)?.len());
    match metadata.wholes(key)? {
        Some(types) if types.len() == count => Ok(types),
        _ => Err(metadata.refuse(key, format!("a list of {count} kinds, one for each token"))),
    }
}

/// Pairs of tokens, in the order in which they are merged.
fn merges(metadata: &Metadata) -> Result<Vec<Value>, TensorFileError> {
    let key = "tokenizer.ggml.merges";
    let expected = "a list of pairs with a space between";
    let merges = metadata
        .texts(key)?
        .ok_or_else(|| metadata.refuse(key, expected))?;
    let pair = |merge: &String| {
        let pair = merge.split_once(' ');
        pair.map(|(left, right)| json!([left, right]))
    };
    let pairs = merges.iter().map(pair);
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| metadata.refuse(key, expected))
}

/// What stands around every text, if anything; a beginning where `adds_bos` and the file does not say otherwise.
fn post_processor(metadata: &Metadata, adds_bos: bool) -> Result<Option<Value>, TensorFileError> {
    let mut single = vec![json!({ "Sequence": { "id": "A", "type_id": 0 } })];
    let mut pair = vec![
        single[0].clone(),
        json!({ "Sequence": { "id": "B", "type_id": 1 } }),
    ];
    let mut special = Map::new();
    for (end, default) in [("bos", adds_bos), ("eos", false)] {
        if !adds(metadata, end, default)? {
            continue;
        }
        let Some((id, token)) = named(metadata, end)? else {
            continue;
        };
        special.insert(
            token.to_owned(),
            json!({ "id": token, "ids": [id], "tokens": [token] }),
        );
        for (sequence, type_id) in [(&mut single, 0), (&mut pair, 1)] {
            let mark = |type_id: i32| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
            match end {
                "bos" => sequence.insert(0, mark(0)),
                _ => sequence.push(mark(type_id)),
            }
        }
    }
    if special.is_empty() {
        return Ok(None);
    }
    Ok(Some(json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
    })))
}

/// Whether that token is put around every text.
fn adds(metadata: &Metadata, token: &str, default: bool) -> Result<bool, TensorFileError> {
    let said = metadata.flag(&format!("tokenizer.ggml.add_{token}_token"))?;
    Ok(said.unwrap_or(default))
}

/// The id and the text of the token that does this.
fn named<'a>(metadata: &'a Metadata, token: &str) -> Result<Option<(u64, &'a str)>, TensorFileError> {
    let key = format!("tokenizer.ggml.{token}_token_id");
    let Some(id) = metadata.whole(&key)? else {
        return Ok(None);
    };
    let tokens = tokens(metadata)?;
    match usize::try_from(id).ok().and_then(|id| tokens.get(id)) {
        Some(name) => Ok(Some((id, name))),
        None => Err(metadata.refuse(&key, format!("less than {}", tokens.len()))),
    }
}
