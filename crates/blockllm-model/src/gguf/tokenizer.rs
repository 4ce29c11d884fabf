//! The tokenizer of a GGUF file as Hugging Face's files.

use blockllm_tensors::TensorFileError;
use blockllm_tensors::gguf::Metadata;
use serde_json::{Map, Value, json};

use super::tokenizer_kind::{TokenizerKind, byte_level};

/// Kinds of tokens by llama.cpp's numbers: a mark of the model's, a word of the user's, and one that nothing stands for.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// The `tokenizer.json`.
pub(super) fn tokenizer_json(metadata: &Metadata) -> Result<Value, TensorFileError> {
    let (tokens, kind) = (tokens(metadata)?, kind(metadata)?);
    let types = match metadata.wholes("tokenizer.ggml.token_type")? {
        Some(types) if types.len() == tokens.len() => types,
        _ => {
            let expected = format!("a list of {} kinds, one for each token", tokens.len());
            return Err(metadata.refuse("tokenizer.ggml.token_type", expected));
        }
    };
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
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": kind.is_normalized.then(|| json!({ "type": "NFC" })),
        "pre_tokenizer": kind.pre_tokenizer(),
        "post_processor": post_processor(metadata, kind)?,
        "decoder": byte_level(true, true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": kind.ignore_merges, "vocab": vocabulary, "merges": merges(metadata)?,
        },
    }))
}

/// The `tokenizer_config.json`: which tokens begin, end and fill texts, and the template of chats.
pub(super) fn tokenizer_config(metadata: &Metadata, max_length: usize) -> Result<Value, TensorFileError> {
    let name = |token: &str| Ok(named(metadata, token)?.map(|(_, name)| name));
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": name("bos")?,
        "eos_token": name("eos")?,
        "unk_token": name("unknown")?,
        "pad_token": name("padding")?,
        "add_bos_token": adds(metadata, "bos", kind(metadata)?.adds_bos)?,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": false,
    });
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        config["chat_template"] = template.into();
    }
    Ok(config)
}

/// The kind of the tokenizer, a byte-level BPE.
fn kind(metadata: &Metadata) -> Result<TokenizerKind, TensorFileError> {
    if metadata.text("tokenizer.ggml.model")? != Some("gpt2") {
        return Err(metadata.refuse("tokenizer.ggml.model", "gpt2, which is a byte-level BPE"));
    }
    let name = metadata.text("tokenizer.ggml.pre")?;
    name.and_then(TokenizerKind::of)
        .ok_or_else(|| metadata.refuse("tokenizer.ggml.pre", TokenizerKind::known()))
}

fn tokens(metadata: &Metadata) -> Result<&[String], TensorFileError> {
    let key = "tokenizer.ggml.tokens";
    metadata
        .texts(key)?
        .ok_or_else(|| metadata.refuse(key, "a list of texts"))
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

/// What stands around every text.
fn post_processor(metadata: &Metadata, kind: TokenizerKind) -> Result<Value, TensorFileError> {
    let mut single = vec![json!({ "Sequence": { "id": "A", "type_id": 0 } })];
    let mut pair = vec![
        single[0].clone(),
        json!({ "Sequence": { "id": "B", "type_id": 1 } }),
    ];
    let mut special = Map::new();
    for (end, default) in [("bos", kind.adds_bos), ("eos", false)] {
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
        return Ok(byte_level(true, true));
    }
    Ok(json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special }))
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
