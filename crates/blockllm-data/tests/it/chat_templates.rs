//! Chat templates and answer masks beside transformers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockllm_data::instruct::{
    ChatTemplate, Example, FixedDate, FoundBy, InstructEncoder, Message, SpecialNames, answered,
};
use blockllm_data::{DataError, Tokenizer};
use blockllm_fuzz::cases;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Made by `chat_templates.py`.
fn reference() -> Value {
    serde_json::from_slice(&fs::read(fixture("chat_templates.json")).unwrap()).unwrap()
}

fn conversation(reference: &Value, case: &Value) -> Vec<Message> {
    let name = case["conversation"].as_str().unwrap();
    serde_json::from_value(reference["conversations"][name].clone()).unwrap()
}

fn template(reference: &Value, case: &Value) -> ChatTemplate {
    let name = case["template"].as_str().unwrap();
    let source = reference["templates"][name].as_str().unwrap();
    ChatTemplate::new(name, source, FixedDate::default()).unwrap()
}

const LLAMA_3: &str = "llama_3_tokenizer.json";

/// A tokenizer of `chat_templates.py`: that of `file` with the special tokens of the templates.
fn chat_tokenizer(reference: &Value, file: &str) -> (TempDir, Tokenizer) {
    let mut json: Value = serde_json::from_slice(&fs::read(fixture(file)).unwrap()).unwrap();
    let first = json["model"]["vocab"].as_object().unwrap().len();
    for (number, name) in reference["added"].as_array().unwrap().iter().enumerate() {
        let mut token = json["added_tokens"][0].clone();
        (token["id"], token["content"]) = ((first + number).into(), name.clone());
        json["added_tokens"].as_array_mut().unwrap().push(token);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, json.to_string()).unwrap();
    let settings = json!({ "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>" });
    fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    (folder, tokenizer)
}

#[test]
fn templates_render_as_transformers_does() {
    let reference = reference();
    let (_folder, tokenizer) = chat_tokenizer(&reference, LLAMA_3);
    let names = SpecialNames::of(&tokenizer);
    for case in reference["rendered"].as_array().unwrap() {
        let (template, messages) = (template(&reference, case), conversation(&reference, case));
        for (key, prompt) in [("plain", false), ("with_prompt", true)] {
            let found = template.render(&messages, &names, prompt);
            let found = found.map(|rendering| rendering.text);
            match case[key].as_str() {
                Some(expected) => assert_eq!(
                    found.as_deref(),
                    Ok(expected),
                    "{} {}",
                    case["template"],
                    case["conversation"]
                ),
                None => assert!(
                    found.is_err(),
                    "{} {}: {found:?}",
                    case["template"],
                    case["conversation"]
                ),
            }
        }
    }
}

#[test]
fn ids_and_answers_are_those_of_a_plain_rendering_and_of_the_generation_tag() {
    let reference = reference();
    for case in reference["tokenized"].as_array().unwrap() {
        let (_folder, tokenizer) = chat_tokenizer(&reference, case["tokenizer"].as_str().unwrap());
        let encoder = InstructEncoder::new(Arc::new(tokenizer), template(&reference, case)).unwrap();
        let found = encoder
            .encode(&Example::Conversation(conversation(&reference, case)))
            .unwrap();
        let learned: Vec<u8> = found.learned.iter().map(|&learned| learned.into()).collect();
        let place = format!("{} {}", case["template"], case["conversation"]);
        assert_eq!(json!(found.input_ids), case["input_ids"], "{place}");
        assert_eq!(json!(learned), case["answers"], "{place}");
    }
}

/// Where a shorter conversation is the beginning of a longer one, the turns' own differences are another way to find answers.
#[test]
fn marks_and_prefixes_find_the_same_answers() {
    let reference = reference();
    let (_folder, tokenizer) = chat_tokenizer(&reference, LLAMA_3);
    let names = SpecialNames::of(&tokenizer);
    let mut agreed = 0;
    for case in reference["rendered"].as_array().unwrap() {
        let (template, messages) = (template(&reference, case), conversation(&reference, case));
        if case["plain"].is_null() || case["template"] == "python_forms" {
            continue;
        }
        let found = answered(&template, &messages, &names).unwrap();
        assert_eq!(found.text, case["plain"]);
        let tagged = case["template"] == "chatml_generation";
        assert_eq!(found.found_by == FoundBy::Tag, tagged);
        let said = messages.iter().filter(|message| message.role == "assistant");
        for (range, message) in found.answers.iter().zip(said) {
            let text = found.text[range.clone()].trim_end_matches("<|im_end|>");
            assert_eq!(text.trim(), message.content.trim());
        }
        let render =
            |messages: &[Message], prompt| template.render(messages, &names, prompt).map(|found| found.text);
        let answers = (0..messages.len()).filter(|&at| messages[at].role == "assistant");
        for (at, range) in answers.zip(&found.answers) {
            let (Ok(before), Ok(with)) = (render(&messages[..at], true), render(&messages[..=at], false))
            else {
                continue;
            };
            if found.text.starts_with(&with) && with.starts_with(&before) {
                // What stands before the answer in the turn is at most a space; behind it, its end.
                let gap = &found.text[before.len()..range.start];
                let end = found.text[range.end..with.len()].trim();
                assert!(gap.trim().is_empty(), "{gap:?} {}", case["template"]);
                assert!(["<|im_end|>", "<|eot_id|>", "</s>", ""].contains(&end), "{end:?}");
                agreed += 1;
            }
        }
    }
    assert!(agreed > 50, "{agreed}");
}

/// Calls of tools are said by the assistant too, though no mark stands around them; a tag that is not rendered says nothing.
#[test]
fn all_that_an_answer_has_is_learned() {
    const CALLS: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}[{{ m.tool_calls[0] }}]{% endif %}\
                         <end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let (_folder, tokenizer) = chat_tokenizer(&reference(), LLAMA_3);
    let names = SpecialNames::of(&tokenizer);
    let mut answer = Message::new("assistant", "I look.");
    answer.others.insert("tool_calls".to_owned(), json!(["weather"]));
    let messages = [Message::new("user", "Rain?"), answer];
    for source in [CALLS.to_owned(), format!("{CALLS}{{# {{% generation %}} #}}")] {
        let template = ChatTemplate::new("calls", &source, FixedDate::default()).unwrap();
        let found = answered(&template, &messages, &names).unwrap();
        let said: Vec<_> = found
            .answers
            .iter()
            .map(|range| &found.text[range.clone()])
            .collect();
        assert_eq!(said, ["I look.[weather]<end>"], "{source}");
    }
}

#[test]
fn a_template_is_found_beside_the_tokenizer() {
    let (folder, _) = chat_tokenizer(&reference(), LLAMA_3);
    let path = folder.path().join("tokenizer.json");
    let find = || ChatTemplate::beside(&path, FixedDate::default());
    assert!(find().unwrap().is_none());
    let settings = |template: Value| {
        fs::write(
            folder.path().join("tokenizer_config.json"),
            json!({ "chat_template": template }).to_string(),
        )
        .unwrap();
    };
    settings("{{ 1 }}".into());
    assert_eq!(find().unwrap().unwrap().source(), "{{ 1 }}");
    settings(
        json!([{ "name": "tool_use", "template": "{{ 2 }}" }, { "name": "default", "template": "{{ 3 }}" }]),
    );
    assert_eq!(find().unwrap().unwrap().source(), "{{ 3 }}");
    for no_object in ["[]", "1", "\"x\""] {
        fs::write(folder.path().join("tokenizer_config.json"), no_object).unwrap();
        assert!(find().unwrap().is_none(), "{no_object}");
    }
    settings(json!(["x"]));
    assert!(matches!(find(), Err(DataError::ChatTemplate { .. })));
    fs::write(folder.path().join("chat_template.jinja"), "{{ 4 }}").unwrap();
    assert_eq!(find().unwrap().unwrap().source(), "{{ 4 }}");
    fs::write(folder.path().join("chat_template.jinja"), "{% if %}").unwrap();
    let message = find().unwrap_err().to_string();
    assert!(
        message.contains("chat_template.jinja") && message.contains("line 1"),
        "{message}"
    );
}

#[test]
fn texts_and_completions_have_the_tokens_of_a_document_around_them() {
    let reference = reference();
    let (_folder, tokenizer) = chat_tokenizer(&reference, LLAMA_3);
    let encoder = InstructEncoder::new(Arc::new(tokenizer), ChatTemplate::alpaca()).unwrap();
    let text = encoder.encode(&Example::Text("The rocks.".to_owned())).unwrap();
    let completion = Example::Completion {
        prompt: "The".to_owned(),
        completion: " rocks.".to_owned(),
    };
    let completion = encoder.encode(&completion).unwrap();
    let names = encoder.tokenizer();
    let (bos, eos) = (names.bos_id().unwrap() as i32, names.eos_id().unwrap() as i32);
    assert_eq!(text.input_ids, completion.input_ids);
    assert_eq!((text.input_ids[0], *text.input_ids.last().unwrap()), (bos, eos));
    assert!(!text.learned[0] && text.learned[1..].iter().all(|&learned| learned));
    assert!(!completion.learned[1] && *completion.learned.last().unwrap());
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_template_renders_or_is_refused(
        source in r"(\{% ?(for m in messages|if m|else|endif|endfor|set a = [a-z]{0,3}|generation|endgeneration) ?-?%\}|\{\{ ?[a-z.|() ]{0,12} ?\}\}|[ -~\n]{0,6}){0,12}",
        content: String,
    ) {
        if let Ok(template) = ChatTemplate::new("any", &source, FixedDate::default()) {
            let messages = [Message::new("user", "q"), Message::new("assistant", content)];
            let names = SpecialNames::default();
            if let Ok(found) = answered(&template, &messages, &names) {
                prop_assert_eq!(&found.text, &template.render(&messages, &names, false).unwrap().text);
                prop_assert!(found.answers.iter().all(|range| found.text.get(range.clone()).is_some()));
            }
        }
    }
}
