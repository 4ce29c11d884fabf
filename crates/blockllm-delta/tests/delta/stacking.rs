//! Sums of deltas: weights, overlaps, and bits where there is nothing to add.

use blockllm_delta::{DeltaError, Layer, Overlap, Stacked};
use blockllm_fuzz::cases;
use half::bf16;
use proptest::prelude::*;
use safetensors::Dtype;

use crate::folders::{Place, Raw, f32s, floats, named, read_files, read_model};

fn stack(place: &Place, layers: &[(&str, f64)], overlap: Overlap, out: &str) -> Result<Stacked, DeltaError> {
    let layers = layers.iter().map(|(delta, weight)| Layer {
        delta: place.at(delta),
        weight: *weight,
    });
    let layers: Vec<Layer> = layers.collect();
    blockllm_delta::stack(
        &place.at("base"),
        &layers,
        overlap,
        &place.at(out),
        &mut |_, _| (),
    )
}

/// A base, and deltas `one` and `two` against it, which both change the third entry.
fn place() -> Place {
    let place = Place::new();
    place.model(
        "base",
        &named([("w", f32s(&[1.0, -0.0, 3.0, 4.0])), ("x", f32s(&[0.5]))]),
    );
    place.model(
        "tuned",
        &named([("w", f32s(&[1.5, -0.0, 4.0, 4.0])), ("x", f32s(&[0.5]))]),
    );
    place.model(
        "other",
        &named([("w", f32s(&[1.0, 2.0, 3.5, 4.0])), ("x", f32s(&[0.25]))]),
    );
    place.diff("base", "tuned", "one").unwrap();
    place.diff("base", "other", "two").unwrap();
    place
}

#[test]
fn changes_are_added_up_with_their_weights() {
    let place = place();
    let stacked = stack(&place, &[("one", 0.5), ("two", -2.0)], Overlap::Add, "out").unwrap();
    let found = read_model(&place.at("out"));
    assert_eq!(floats(&found["w"]), [1.25, -4.0, 3.0 + 0.5 - 1.0, 4.0]);
    assert_eq!(floats(&found["x"]), [1.0]);
    assert_eq!(stacked.overlaps, [("w".to_owned(), 1)]);
    assert_eq!((stacked.changed, stacked.not_finite), (4, 0));
    assert!(place.at("out/config.json").is_file());
}

#[test]
fn an_overlap_is_refused_unless_it_is_allowed() {
    let place = place();
    let before = place.names();
    let error = stack(&place, &[("one", 1.0), ("two", 1.0)], Overlap::Refuse, "out").unwrap_err();
    assert!(error.to_string().contains("1 of `w`") && error.to_string().contains("--allow-overlap"));
    assert_eq!(place.names(), before);
    // What is left out overlaps with nothing.
    stack(&place, &[("one", 1.0), ("two", 0.0)], Overlap::Refuse, "out").unwrap();
    assert_eq!(read_files(&place.at("out")), read_files(&place.at("tuned")));
}

#[test]
fn one_delta_with_weight_one_is_its_result() {
    let place = place();
    let stacked = stack(&place, &[("two", 1.0)], Overlap::Refuse, "out").unwrap();
    assert_eq!(read_files(&place.at("out")), read_files(&place.at("other")));
    assert_eq!(stacked.changed, 3);
}

#[test]
fn a_chain_and_a_stranger_are_told() {
    let place = place();
    place.model(
        "later",
        &named([("w", f32s(&[1.5, -0.0, 4.0, 9.0])), ("x", f32s(&[0.5]))]),
    );
    place.diff("tuned", "later", "three").unwrap();
    place.diff("later", "other", "four").unwrap();
    let message = |layers: &[(&str, f64)]| {
        stack(&place, layers, Overlap::Refuse, "out")
            .unwrap_err()
            .to_string()
    };
    let text = message(&[("three", 1.0), ("one", 1.0)]);
    let order = format!("{} {}", place.at("one").display(), place.at("three").display());
    assert!(text.contains("`delta apply`") && text.contains(&order), "{text}");
    let text = message(&[("one", 1.0), ("four", 1.0)]);
    assert!(text.contains("only deltas of one base"), "{text}");
    let text = message(&[("four", 1.0)]);
    assert!(text.contains("was made against"), "{text}");
    let text = message(&[("one", f64::NAN)]);
    assert!(text.contains("weight NaN"), "{text}");
}

#[test]
fn what_cannot_be_reckoned_with_takes_no_weight() {
    let place = Place::new();
    let whole = |number: u8| -> Raw { (Dtype::I32, vec![1], vec![number, 0, 0, 0]) };
    place.model("base", &named([("w", whole(1))]));
    place.model("tuned", &named([("w", whole(2))]));
    place.diff("base", "tuned", "one").unwrap();
    stack(&place, &[("one", 1.0)], Overlap::Refuse, "out").unwrap();
    let error = stack(&place, &[("one", 0.5)], Overlap::Refuse, "other").unwrap_err();
    assert!(error.to_string().contains("`w` is I32"), "{error}");
}

#[test]
fn what_leaves_the_range_of_a_format_is_counted() {
    let place = Place::new();
    place.model("base", &named([("w", f32s(&[1.0, 1.0]))]));
    place.model("tuned", &named([("w", f32s(&[f32::MAX, 2.0]))]));
    place.diff("base", "tuned", "one").unwrap();
    let stacked = stack(&place, &[("one", 2.0)], Overlap::Refuse, "out").unwrap();
    assert_eq!(stacked.not_finite, 1);
    assert_eq!(floats(&read_model(&place.at("out"))["w"]), [f32::INFINITY, 3.0]);
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn sums_are_those_of_the_equation_in_f64_rounded_once(
        entries in prop::collection::vec((-9.0_f32..9.0, -9.0_f32..9.0, -9.0_f32..9.0), 1..60),
        weights in (-2.0_f64..2.0, -2.0_f64..2.0),
        in_halves: bool,
    ) {
        let place = Place::new();
        let kept = |value: f32| if in_halves { bf16::from_f32(value).to_f32() } else { value };
        let columns = [0, 1, 2].map(|column| {
            let values = entries.iter().map(|entry| kept([entry.0, entry.1, entry.2][column]));
            values.collect::<Vec<f32>>()
        });
        let tensor = |values: &[f32]| if in_halves {
            let bytes = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes());
            (Dtype::BF16, vec![values.len()], bytes.collect())
        } else {
            f32s(values)
        };
        for (name, values) in ["base", "tuned", "other"].iter().zip(&columns) {
            place.model(name, &named([("w", tensor(values))]));
        }
        place.diff("base", "tuned", "one").unwrap();
        place.diff("base", "other", "two").unwrap();
        stack(&place, &[("one", weights.0), ("two", weights.1)], Overlap::Add, "out").unwrap();
        let expected: Vec<u8> = (0..entries.len()).flat_map(|at| {
            let [base, one, two] = columns.each_ref().map(|column| f64::from(column[at]));
            let sum = base + (weights.0 * (one - base) + weights.1 * (two - base));
            // Where nothing has changed the base keeps its bits.
            let sum = if one.to_bits() == base.to_bits() && two.to_bits() == base.to_bits() { base } else { sum };
            if in_halves { bf16::from_f64(sum).to_le_bytes().to_vec() } else { (sum as f32).to_le_bytes().to_vec() }
        }).collect();
        prop_assert_eq!(&read_model(&place.at("out"))["w"].2, &expected);
    }
}
