//! Hostile and odd folders of models and adapters: read or refused, without a panic, whatever stands in their files.

use std::fs;
use std::path::Path;

use blockllm_fuzz::{Damage, cases, odd_value, with_one_replaced};
use blockllm_model::encoder::load_for_sequence_classification;
use blockllm_model::hf::{
    SaveOptions, load_adapter, load_llama_classifier, load_pretrained, save_pretrained_with,
};
use burn::tensor::Device;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use crate::common::{fixture, small_config, small_model};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files of a fixture in a folder of their own.
fn copy(name: &str, files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(fixture(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

/// Tries every loader on a folder; whether any took it is not asked.
fn load(dir: &Path) {
    let device = Device::flex();
    let _ = load_pretrained(dir, &device);
    let _ = load_llama_classifier(dir, 3, 0, &device);
    let _ = load_for_sequence_classification(dir, 3, 0, &device);
}

fn text_of(name: &str, file: &str) -> String {
    fs::read_to_string(fixture(name).join(file)).unwrap()
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_configuration_with_anything_in_place_of_a_value_is_refused_or_read(
        name in prop::sample::select(vec!["grouped", "llama3", "longrope", "yarn", "mistral", "qwen2_windows", "bert", "roberta", "llama_classifier"]),
        at: Index,
        odd in odd_value(),
    ) {
        let dir = copy(name, &[WEIGHTS]);
        fs::write(dir.path().join(CONFIG), with_one_replaced(&text_of(name, CONFIG), at, &odd)).unwrap();
        load(dir.path());
    }

    #[test]
    fn a_damaged_configuration_is_refused_or_read(
        name in prop::sample::select(vec!["grouped", "bert"]),
        damage in Damage::any(),
    ) {
        let dir = copy(name, &[WEIGHTS]);
        fs::write(dir.path().join(CONFIG), damage.of(text_of(name, CONFIG).as_bytes())).unwrap();
        load(dir.path());
    }

    #[test]
    fn damaged_weights_are_refused_or_read(damage in Damage::any(), in_the_header: bool) {
        let dir = copy("grouped", &[CONFIG]);
        let whole = fs::read(fixture("grouped").join(WEIGHTS)).unwrap();
        let bytes = if in_the_header {
            // Where most of the damage would otherwise never fall.
            let (header, rest) = whole.split_at(600);
            [&damage.of(header), rest].concat()
        } else {
            damage.of(&whole)
        };
        fs::write(dir.path().join(WEIGHTS), bytes).unwrap();
        load(dir.path());
    }

    #[test]
    fn an_index_with_anything_in_it_is_refused_or_read(damage in Damage::any(), at: Index, odd in odd_value(), is_json: bool) {
        let dir = tempfile::tempdir().unwrap();
        let options = SaveOptions { max_shard_bytes: 30_000, ..SaveOptions::default() };
        save_pretrained_with(&small_model(&Device::flex()), &small_config(), dir.path(), &options).unwrap();
        let path = dir.path().join(INDEX);
        let text = fs::read_to_string(&path).unwrap();
        let bytes = if is_json {
            with_one_replaced(&text, at, &odd).into_bytes()
        } else {
            damage.of(text.as_bytes())
        };
        fs::write(&path, bytes).unwrap();
        load(dir.path());
    }

    #[test]
    fn an_adapter_with_anything_in_its_files_is_refused_or_read(
        damage in Damage::any(),
        at: Index,
        odd in odd_value(),
        of in 0..3_usize,
    ) {
        let (config, weights) = ("adapter_config.json", "adapter_model.safetensors");
        let dir = copy("peft", &[config, weights]);
        let (file, bytes) = match of {
            0 => (config, with_one_replaced(&text_of("peft", config), at, &odd).into_bytes()),
            1 => (config, damage.of(text_of("peft", config).as_bytes())),
            _ => (weights, damage.of(&fs::read(fixture("peft").join(weights)).unwrap())),
        };
        fs::write(dir.path().join(file), bytes).unwrap();
        let (base, _) = load_pretrained(&fixture("grouped"), &Device::flex()).unwrap();
        let _ = load_adapter(base, dir.path());
    }
}
