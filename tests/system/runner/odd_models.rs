//! Models that are odd: settings that are broken or not followed, a chat template that does not fit, weights that are no numbers.
use super::process::{Ended, refuse, succeed, text};
use super::talk::{model, model_without};
use std::fs;

#[test]
fn settings_that_are_no_json_are_named_and_not_called_a_tokenizer() {
    let broken = model_without("generation_config.json");
    fs::write(
        broken.path().join("generation_config.json"),
        "{\"eos_token_id\": 2,",
    )
    .unwrap();
    let words = [
        "generate",
        "--device",
        "flex",
        "--prompt",
        "a",
        "--model",
        text(broken.path()),
    ];
    let ended = refuse(&words, &["generation_config.json", "not valid JSON"]);
    assert!(!ended.stderr.contains("tokenizer.json"), "{}", ended.stderr);
}

#[test]
fn a_template_that_does_not_fit_is_told_before_the_weights_are_read() {
    let own = model();
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.jinja");
    let no_system = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}\
                     {% for message in messages %}{{ message.content }}{% endfor %}";
    for (source, part) in [
        ("", "makes nothing of a conversation"),
        (no_system, "leave out --system"),
    ] {
        fs::write(&template, source).unwrap();
        let words = ["--model", text(&own), "--device", "flex", "--system", "Be brief."];
        let more = ["--chat-template", text(&template)];
        for command in [&["chat"][..], &["generate", "--chat", "--prompt", "a"]] {
            let ended = refuse(&[command, &words, &more].concat(), &["template.jinja", part]);
            assert!(!ended.stderr.contains("loading"), "{}", ended.stderr);
        }
    }
}

#[test]
fn settings_that_are_not_followed_are_told_once() {
    let searching = model_without("generation_config.json");
    let settings = r#"{"num_beams": 4, "suppress_tokens": [1], "no_repeat_ngram_size": 0}"#;
    fs::write(searching.path().join("generation_config.json"), settings).unwrap();
    let words = "generate --device flex --max-new-tokens 2 --prompt a --prompt b --model";
    let told = succeed(words.split(' ').chain([text(searching.path())])).stderr;
    let note = "settings that are not followed: num_beams, suppress_tokens\n";
    assert_eq!(told.matches(note).count(), 1, "{told}");
}

#[test]
fn weights_that_are_no_numbers_are_told_with_their_place_on_a_line_of_its_own() {
    let broken = model_without("");
    let path = text(broken.path());
    let weights = broken.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    // The last tensor is the norm before the head.
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    let on_flex = ["--device", "flex", "--model", path];
    let names = |ended: &Ended| {
        for part in [path, "NaN or infinity"] {
            assert!(
                ended.stderr.contains(part),
                "`{part}` is not in: {}",
                ended.stderr
            );
        }
    };
    let words = [&["generate", "--prompt", "It is"], &on_flex[..]].concat();
    let ended = refuse(&words, &["`logits` is NaN"]);
    assert_eq!(ended.stdout, "It is\n");
    names(&ended);
    let hub = model().with_file_name("tasks-hub").join("arc");
    let words = [
        "evaluate",
        "--task",
        "arc-easy",
        "--limit",
        "2",
        "--data",
        text(&hub),
    ];
    names(&refuse(&[&words, &on_flex[..]].concat(), &["not finite"]));
    let (data, out) = (model().join("examples.jsonl"), tempfile::tempdir().unwrap());
    let words = [
        "finetune",
        "--steps",
        "1",
        "--data",
        text(&data),
        "--out",
        text(out.path()),
    ];
    names(&refuse(
        &[&words, &on_flex[..]].concat(),
        &["the validation loss after step 0"],
    ));
}
