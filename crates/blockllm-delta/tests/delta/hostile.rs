//! Hostile deltas: read or refused, without a panic and without memory by a lying length, and nothing is left of a result.

use std::fs;
use std::path::Path;

use blockllm_delta::{DeltaError, DeltaFile, Layer, Overlap};
use blockllm_fuzz::{Damage, cases, odd_value, replace_one};
use proptest::prelude::*;
use proptest::sample::Index;
use safetensors::Dtype;
use serde_json::Value;

use crate::folders::{Place, Tensors, f32s, file_of, named, write_shards};
use crate::seal::sealed;

/// A base and a delta with gaps, a bitmap, a whole tensor and a file beside.
fn place() -> Place {
    let place = Place::new();
    let tensors = |change: fn(usize) -> bool| {
        let values = |count: usize, every: usize| {
            let value = move |at: usize| {
                if change(at) && at.is_multiple_of(every) {
                    2.0
                } else {
                    1.0
                }
            };
            f32s(&(0..count).map(value).collect::<Vec<f32>>())
        };
        named([("a", values(300, 150)), ("b", values(60, 2)), ("c", values(9, 1))])
    };
    place.model("base", &tensors(|_| false));
    place.model("tuned", &tensors(|_| true));
    fs::write(place.at("tuned/config.json"), "{}").unwrap();
    place.diff("base", "tuned", "delta").unwrap();
    place
}

/// Adds the delta up with itself, with these weights.
fn stacked(place: &Place, weights: &[f64]) -> Result<(), DeltaError> {
    let layers = weights.iter().map(|weight| Layer {
        delta: place.at("delta"),
        weight: *weight,
    });
    let layers: Vec<Layer> = layers.collect();
    let [base, out] = ["base", "sum"].map(|name| place.at(name));
    blockllm_delta::stack(&base, &layers, Overlap::Add, &out, &mut |_, _| ()).map(|_| ())
}

/// Reads a delta in every way; whether any took it is not asked.
fn use_it(place: &Place) {
    if let Ok(delta) = DeltaFile::open(&place.at("delta")) {
        let _ = delta.summary().changed();
    }
    let _ = place.apply("base", &["delta"], "out");
    let _ = stacked(place, &[0.5, 1.0]);
    assert!(
        place.names().iter().all(|name| !name.contains(".tmp")),
        "{:?}",
        place.names()
    );
}

/// A file with this header in place of its own.
fn with_header(whole: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&whole[8..][..length]).unwrap();
    change(&mut header);
    let header = header.to_string().into_bytes();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_slice(),
        &whole[8 + length..],
    ]
    .concat()
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_damaged_delta_is_refused_or_read(damage in Damage::any(), in_the_header: bool, is_sealed: bool) {
        let place = place();
        let whole = fs::read(place.at("delta")).unwrap();
        let bytes = if in_the_header {
            let (header, rest) = whole.split_at(400);
            [&damage.of(header), rest].concat()
        } else {
            damage.of(&whole)
        };
        let bytes = if is_sealed { sealed(&bytes) } else { bytes };
        fs::write(place.at("delta"), bytes).unwrap();
        use_it(&place);
    }

    #[test]
    fn a_delta_whose_header_says_anything_is_refused_or_read(at: Index, odd in odd_value()) {
        let place = place();
        let whole = fs::read(place.at("delta")).unwrap();
        let odd = with_header(&whole, |header| replace_one(header, at, &odd));
        fs::write(place.at("delta"), sealed(&odd)).unwrap();
        use_it(&place);
    }

    #[test]
    fn a_delta_with_any_numbers_is_refused_and_leaves_nothing(at: Index, byte in 1_u8.., is_sealed: bool) {
        let place = place();
        let mut bytes = fs::read(place.at("delta")).unwrap();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        // Values and positions; the carried files behind them are text that means nothing here.
        let numbers = bytes.len() - start;
        let place_of = start + at.index(numbers.min(150));
        bytes[place_of] ^= byte;
        let bytes = if is_sealed { sealed(&bytes) } else { bytes };
        fs::write(place.at("delta"), bytes).unwrap();
        prop_assert!(place.apply("base", &["delta"], "out").is_err());
        prop_assert!(!place.at("out").exists());
    }

    #[test]
    fn a_flipped_bit_is_seen_wherever_it_is(at: Index, bit in 0..8) {
        let place = place();
        let mut bytes = fs::read(place.at("delta")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        fs::write(place.at("delta"), bytes).unwrap();
        prop_assert!(place.apply("base", &["delta"], "out").is_err());
        // With a weight there is no result to compare with.
        prop_assert!(stacked(&place, &[0.5]).is_err());
        prop_assert_eq!(place.names(), ["base", "delta", "tuned"]);
    }
}

#[test]
fn a_flipped_bit_of_a_carried_file_is_told_by_the_file() {
    let place = place();
    let whole = fs::read(place.at("delta")).unwrap();
    let mut bytes = whole.clone();
    // Files are carried behind all else, and there is one.
    assert!(bytes.ends_with(b"{}"));
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(place.at("delta"), bytes).unwrap();
    let opened = DeltaFile::open(&place.at("delta")).map(|_| ());
    let applied = place.apply("base", &["delta"], "out").map(|_| ());
    for error in [opened, applied, stacked(&place, &[1.0])] {
        let message = error.unwrap_err().to_string();
        for part in ["delta is damaged", "`file/config.json`", "fetch the delta again"] {
            assert!(message.contains(part), "{message}");
        }
    }
    fs::write(place.at("delta"), whole).unwrap();
    DeltaFile::open(&place.at("delta")).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_told_once() {
    let place = place();
    let message = DeltaFile::open(&place.at("missing")).unwrap_err().to_string();
    assert!(message.contains("missing"), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "{message}");
}

#[test]
fn a_folder_is_told_with_the_delta_in_it() {
    let place = place();
    let says = |dir: &str, part: &str| {
        let message = DeltaFile::open(&place.at(dir)).unwrap_err().to_string();
        assert!(
            message.contains("is a folder") && message.contains(part),
            "{message}"
        );
    };
    says("tuned", "name the file that `delta diff`");
    fs::rename(place.at("delta"), place.at("tuned/x.delta.safetensors")).unwrap();
    says("tuned", "x.delta.safetensors");
}

/// The entries of the delta at `path`.
fn entries(path: &Path) -> (Tensors, serde_json::Map<String, Value>) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..][..length]).unwrap();
    let notes = header["__metadata__"].as_object().unwrap().clone();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let raw = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name.to_owned(), raw)
    });
    (tensors.collect(), notes)
}

/// What is said to a delta after `change`.
fn refused(change: impl FnOnce(&mut Tensors, &mut serde_json::Map<String, Value>)) -> String {
    let place = place();
    let (mut tensors, mut notes) = entries(&place.at("delta"));
    change(&mut tensors, &mut notes);
    let file = with_header(&file_of(tensors.iter()), |header| {
        header["__metadata__"] = Value::from(notes);
    });
    fs::write(place.at("delta"), sealed(&file)).unwrap();
    let error = place.apply("base", &["delta"], "out").unwrap_err();
    assert!(!place.at("out").exists());
    error.to_string()
}

fn bytes(bytes: &[u8]) -> (Dtype, Vec<usize>, Vec<u8>) {
    (Dtype::U8, vec![bytes.len()], bytes.to_vec())
}

#[test]
fn every_lie_is_told_by_its_place() {
    let says = |part: &str, change: &dyn Fn(&mut Tensors)| {
        let message = refused(|tensors, _| change(tensors));
        assert!(message.contains(part), "`{part}` is not in: {message}");
    };
    let put = |name: &'static str, raw: &'static [u8]| {
        move |tensors: &mut Tensors| {
            tensors.insert(name.to_owned(), bytes(raw));
        }
    };
    says(
        "`gaps/a` names entry 300 of a tensor of 300",
        &put("gaps/a", &[0, 0xab, 2]),
    );
    says("`gaps/a` ends within a position", &put("gaps/a", &[0, 0x80]));
    says("fewer values than positions", &put("gaps/a", &[0, 1, 1]));
    says("`values/a` has 2 values", &put("gaps/a", &[0]));
    says("`values/b` has 30 values", &put("bitmap/b", &[0xff]));
    says("more values than positions", &put("bitmap/b", &[0; 8]));
    says(
        "`bitmap/b` names entry 60",
        &put("bitmap/b", &[0, 0, 0, 0, 0, 0, 0, 0x10]),
    );
    says("positions twice", &put("gaps/b", &[0; 30]));
    says("`gaps/z` has no values", &put("gaps/z", &[0]));
    says("`file/../x` names no file", &put("file/../x", b"x"));
    says(
        "`file/x.safetensors` is a file of weights",
        &put("file/x.safetensors", b"x"),
    );
    says(
        "`header/../model.safetensors` names no file",
        &put("header/../model.safetensors", b"{}"),
    );
    says(
        "`header/model.safetensors` is none",
        &put("header/model.safetensors", b"{"),
    );
    says("`other` is no entry of a delta", &put("other", b"x"));
    says("`values/a` is U8, and the tensor F32", &put("values/a", &[0; 2]));
    says(
        "a tensor that the result does not have",
        &put("values/z", &[0; 2]),
    );
    says("do not have the same tensors", &|tensors| {
        tensors.retain(|name, _| name.starts_with("header") || name.starts_with("file"));
        tensors.insert("header/model.safetensors".to_owned(), bytes(b"{}"));
    });
    says("where it promises", &|tensors| {
        tensors.get_mut("values/a").unwrap().2[0] ^= 1;
    });
}

#[test]
fn an_index_that_does_not_fit_the_shards_is_told() {
    let tensors = named([("v", f32s(&[1.0])), ("w", f32s(&[2.0]))]);
    for (index, part) in [
        (None, "there is no model.safetensors and no"),
        (
            Some(r#"{"weight_map": {"v": "model-00001-of-00002.safetensors"}}"#),
            "leaves out files",
        ),
        (
            Some(r#"{"weight_map": {"v": "model-00002-of-00002.safetensors"}}"#),
            "and it is not",
        ),
        (
            Some(r#"{"weight_map": {"v": "../base/model.safetensors"}}"#),
            "no file beside it",
        ),
        (Some("{"), "does not fit the files of weights"),
    ] {
        let place = Place::new();
        place.model("base", &tensors);
        write_shards(&place.at("tuned"), &tensors);
        place.diff("base", "tuned", "delta").unwrap();
        let (mut entries, notes) = entries(&place.at("delta"));
        let carried = "file/model.safetensors.index.json";
        assert!(entries.remove(carried).is_some());
        entries.extend(index.map(|index| (carried.to_owned(), bytes(index.as_bytes()))));
        let file = with_header(&file_of(entries.iter()), |header| {
            header["__metadata__"] = Value::from(notes);
        });
        fs::write(place.at("delta"), sealed(&file)).unwrap();
        let error = place.apply("base", &["delta"], "out").unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(carried), "{error}");
        assert_eq!(place.names(), ["base", "delta", "tuned"]);
    }
}

#[test]
fn what_is_no_delta_is_told() {
    let says = |part: &str, key: &str, value: &str| {
        let message = refused(|_, notes| {
            notes.insert(key.to_owned(), value.into());
        });
        assert!(message.contains(part), "`{part}` is not in: {message}");
    };
    says("is not a delta", "format", "pt");
    says(
        "of version 3, this program reads version 2; update",
        "version",
        "3",
    );
    says(
        "did not hash all that it wrote: make the delta again",
        "version",
        "1",
    );
    says("`base_sha256` is no SHA-256", "base_sha256", "0");
    says("was made against", "base_sha256", &"0".repeat(64));
    says("where it promises", "result_sha256", &"0".repeat(64));
    let place = place();
    let error = place
        .apply("base", &["tuned/model.safetensors"], "out")
        .unwrap_err();
    assert!(error.to_string().contains("is not a delta"), "{error}");
}

#[test]
fn a_carried_header_of_an_impossible_size_is_refused() {
    let header =
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,9223372036854775807]}}"#;
    let message = refused(|tensors, _| {
        tensors.insert("header/model.safetensors".to_owned(), bytes(header.as_bytes()));
    });
    assert!(message.contains("header/model.safetensors"), "{message}");
}
