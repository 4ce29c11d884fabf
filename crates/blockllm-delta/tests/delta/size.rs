//! A delta is as large as what has changed: bytes for each changed entry, measured.

use safetensors::Dtype;

use crate::folders::{Place, Raw, named, read_files};

/// Entries of a tensor.
const ENTRIES: usize = 200_000;

/// Numbers without a pattern, the same ones every time.
fn random(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

fn tensor(dtype: Dtype, changed: impl FnMut(usize) -> bool) -> Raw {
    let width = dtype.bitsize() / 8;
    let bytes = (0..ENTRIES).map(changed).flat_map(|changed| {
        let mut entry = vec![0x11; width];
        entry[0] ^= u8::from(changed);
        entry
    });
    (dtype, vec![ENTRIES], bytes.collect())
}

/// Bytes of the whole file and of positions for each changed entry, of which there is a share of `p` scattered.
fn scattered(dtype: Dtype, share: f64) -> (f64, f64) {
    let place = Place::new();
    let mut state = 7;
    place.model("base", &named([("w", tensor(dtype, |_| false))]));
    place.model(
        "tuned",
        &named([("w", tensor(dtype, |_| random(&mut state) < share))]),
    );
    let summary = place.diff("base", "tuned", "delta").unwrap();
    place.apply("base", &["delta"], "again").unwrap();
    assert_eq!(read_files(&place.at("again")), read_files(&place.at("tuned")));
    let changed = summary.changed() as f64;
    assert!((changed / ENTRIES as f64 - share).abs() < 0.01);
    let each = (
        summary.bytes as f64 / changed,
        summary.position_bytes() as f64 / changed,
    );
    println!(
        "{dtype} at {share}: {:.3} bytes an entry, {:.3} of them its position",
        each.0, each.1
    );
    each
}

#[test]
fn five_percent_scattered_are_five_percent_of_entries_with_a_byte_each_for_the_position() {
    for (dtype, value) in [(Dtype::F32, 4.0), (Dtype::BF16, 2.0)] {
        let (all, position) = scattered(dtype, 0.05);
        assert!((1.0..1.01).contains(&position), "{position}");
        // The header takes the rest: a tenth of a byte for each of the ten thousand entries.
        assert!((all - value - position) < 0.1, "{all}");
    }
}

#[test]
fn positions_need_less_the_denser_changes_are_and_little_more_the_rarer() {
    for (share, range) in [
        (0.001, 1.8..2.0),
        (0.01, 1.2..1.35),
        (0.1, 1.0..1.001),
        (0.25, 0.48..0.52),
        (0.9, 0.13..0.15),
        (1.0, 0.0..0.001),
    ] {
        let (_, position) = scattered(Dtype::BF16, share);
        assert!(range.contains(&position), "{share}: {position}");
    }
}

#[test]
fn a_selection_of_dense_blocks_costs_an_eighth_of_a_byte_for_a_position() {
    // As BlockLLM at a sparsity of 0.95 leaves it: one of twenty tensors, of which nearly all entries are trained.
    let place = Place::new();
    let names: Vec<String> = (0..20)
        .map(|number| format!("layers.{number:02}.weight"))
        .collect();
    let mut state = 3;
    let mut base = named([]);
    let mut tuned = named([]);
    for (number, name) in names.iter().enumerate() {
        base.insert(name.clone(), tensor(Dtype::BF16, |_| false));
        tuned.insert(
            name.clone(),
            tensor(Dtype::BF16, |_| number == 4 && random(&mut state) < 0.99),
        );
    }
    place.model("base", &base);
    place.model("tuned", &tuned);
    let summary = place.diff("base", "tuned", "delta").unwrap();
    let share = summary.bytes as f64 / summary.model_bytes as f64;
    println!(
        "{share:.4} of the model, {} of {} bytes",
        summary.bytes, summary.model_bytes
    );
    assert!((0.0525..0.0535).contains(&share), "{share}");
}
