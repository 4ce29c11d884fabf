//! `apply(base, diff(base, tuned))` is `tuned`, to the byte of every file.

use std::fs;

use blockllm_delta::Encoding;
use blockllm_fuzz::cases;
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::Dtype;

use crate::folders::{Place, Raw, Tensors, f32s, named, read_files, read_model, write_model, write_shards};

/// Which entries of a tensor change.
#[derive(Clone, Debug)]
enum Pattern {
    None,
    All,
    First,
    Last,
    Some(Vec<prop::sample::Index>),
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        Just(Pattern::None),
        Just(Pattern::All),
        Just(Pattern::First),
        Just(Pattern::Last),
        prop::collection::vec(any::<prop::sample::Index>(), 1..40).prop_map(Pattern::Some),
    ]
}

/// A tensor of random bits, NaNs and infinities among them, and the same with some entries otherwise.
fn pair() -> impl Strategy<Value = (Raw, Raw)> {
    let dtypes = vec![
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::F64,
        Dtype::I32,
        Dtype::U8,
    ];
    (prop::sample::select(dtypes), 0_usize..300, pattern()).prop_flat_map(|(dtype, entries, pattern)| {
        let width = dtype.bitsize() / 8;
        prop::collection::vec(any::<u8>(), entries * width).prop_map(move |bytes| {
            let mut tuned = bytes.clone();
            let mut change = |entry: usize| tuned[entry * width] ^= 1;
            match &pattern {
                _ if entries == 0 => {}
                Pattern::None => {}
                Pattern::All => (0..entries).for_each(&mut change),
                Pattern::First => change(0),
                Pattern::Last => change(entries - 1),
                Pattern::Some(at) => at.iter().for_each(|at| change(at.index(entries))),
            }
            ((dtype, vec![entries, 1], bytes), (dtype, vec![entries, 1], tuned))
        })
    })
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_tuned_model_comes_back_to_the_byte_of_every_file(
        pairs in prop::collection::vec(pair(), 1..6),
        base_in_shards: bool,
        tuned_in_shards: bool,
    ) {
        let place = Place::new();
        let names = (0..).map(|number| format!("layers.{number}/weight"));
        let base: Tensors = names.clone().zip(pairs.iter().map(|(base, _)| base.clone())).collect();
        let tuned: Tensors = names.zip(pairs.iter().map(|(_, tuned)| tuned.clone())).collect();
        for (name, tensors, in_shards) in [("base", &base, base_in_shards), ("tuned", &tuned, tuned_in_shards)] {
            if in_shards { write_shards(&place.at(name), tensors) } else { write_model(&place.at(name), tensors) }
        }
        let summary = place.diff("base", "tuned", "delta").unwrap();
        let applied = place.apply("base", &["delta"], "again").unwrap();
        prop_assert_eq!(applied.changes, summary.changed());
        prop_assert_eq!(applied.sha256, summary.result_sha256);
        let mut expected = read_files(&place.at("tuned"));
        // What lies beside the base stays.
        expected.extend(read_files(&place.at("base")).into_iter().filter(|(name, _)| name == "config.json"));
        prop_assert_eq!(read_files(&place.at("again")), expected);
    }
}

#[test]
fn bits_are_compared_and_not_numbers() {
    let place = Place::new();
    let quiet = f32::from_bits(0x7fc0_0001);
    let other = f32::from_bits(0xffa1_2345);
    place.model("base", &named([("w", f32s(&[0.0, quiet, quiet, 1.0]))]));
    place.model("tuned", &named([("w", f32s(&[-0.0, quiet, other, 1.0]))]));
    let summary = place.diff("base", "tuned", "delta").unwrap();
    assert_eq!(summary.changed(), 2);
    place.apply("base", &["delta"], "again").unwrap();
    assert_eq!(read_model(&place.at("again")), read_model(&place.at("tuned")));
}

#[test]
fn a_base_in_halves_and_a_tuned_model_in_f32_differ_where_training_was() {
    let values: Vec<f32> = (0_u8..200)
        .map(|number| (f32::from(number) - 99.5) / 7.0)
        .collect();
    let bf16s = values
        .iter()
        .flat_map(|value| bf16::from_f32(*value).to_le_bytes());
    let f16s = values
        .iter()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes());
    let half = named([
        ("b", (Dtype::BF16, vec![200], bf16s.collect())),
        ("f", (Dtype::F16, vec![200], f16s.collect())),
    ]);
    let mut wide = [
        values
            .iter()
            .map(|value| bf16::from_f32(*value).to_f32())
            .collect::<Vec<_>>(),
        values
            .iter()
            .map(|value| f16::from_f32(*value).to_f32())
            .collect(),
    ];
    wide[0][17] += 1e-3;
    let wide = named([("b", f32s(&wide[0])), ("f", f32s(&wide[1]))]);
    for (base, tuned, changed) in [(&half, &wide, 1), (&wide, &half, 0)] {
        let place = Place::new();
        place.model("base", base);
        place.model("tuned", tuned);
        assert_eq!(place.diff("base", "tuned", "delta").unwrap().changed(), changed);
        place.apply("base", &["delta"], "again").unwrap();
        assert_eq!(read_files(&place.at("again")), read_files(&place.at("tuned")));
    }
}

#[test]
fn files_beside_the_weights_are_the_tuned_models_or_else_the_bases() {
    let place = Place::new();
    let tensors = named([("w", f32s(&[1.0, 2.0]))]);
    place.model("base", &tensors);
    place.model("tuned", &tensors);
    for (file, text) in [
        ("base/tokenizer.json", "{}"),
        ("base/pytorch_model.bin", "weights of the base"),
        ("base/.hidden", ""),
        ("tuned/config.json", r#"{"torch_dtype": "float32"}"#),
        ("tuned/chat_template.jinja", "{{ messages }}"),
    ] {
        fs::write(place.at(file), text).unwrap();
    }
    let summary = place.diff("base", "tuned", "delta").unwrap();
    assert_eq!(summary.changed(), 0);
    assert_eq!(
        summary.files,
        [
            ("chat_template.jinja".to_owned(), 14),
            ("config.json".to_owned(), 26)
        ]
    );
    place.apply("base", &["delta"], "again").unwrap();
    let mut expected = read_files(&place.at("tuned"));
    expected.insert("tokenizer.json".to_owned(), b"{}".to_vec());
    assert_eq!(read_files(&place.at("again")), expected);
}

#[test]
fn tensors_longer_than_a_piece_are_read_in_several() {
    let place = Place::new();
    let entries = (1 << 20) * 2 + 5;
    let mut bytes = vec![0_u8; entries * 2];
    let tensor = |bytes: &[u8]| named([("w", (Dtype::BF16, vec![entries], bytes.to_vec()))]);
    place.model("base", &tensor(&bytes));
    for entry in [0, (1 << 20) - 1, 1 << 20, (2 << 20) + 1, entries - 1] {
        bytes[entry * 2] = 7;
    }
    place.model("tuned", &tensor(&bytes));
    let mut last = (0, 1);
    let paths = ["base", "tuned", "delta"].map(|name| place.at(name));
    let summary = blockllm_delta::diff(&paths[0], &paths[1], &paths[2], &mut |done, all| {
        last = (done, all);
    })
    .unwrap();
    assert_eq!(last.0, last.1, "all of the work is told of");
    assert_eq!(summary.changes[0].encoding, Encoding::Gaps);
    assert_eq!(
        (summary.changed(), summary.position_bytes()),
        (5, 1 + 3 + 1 + 3 + 1)
    );
    // The same again from end to end, and as a bitmap.
    place.apply("base", &["delta"], "again").unwrap();
    assert_eq!(read_files(&place.at("again")), read_files(&place.at("tuned")));
    bytes.chunks_exact_mut(6).for_each(|three| three[5] = 9);
    place.model("dense", &tensor(&bytes));
    assert_eq!(
        place.diff("base", "dense", "bitmap").unwrap().changes[0].encoding,
        Encoding::Bitmap
    );
    place.apply("base", &["bitmap"], "third").unwrap();
    assert_eq!(read_files(&place.at("third")), read_files(&place.at("dense")));
}
