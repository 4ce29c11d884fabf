//! What does not belong together is told, with what to do, and leaves nothing behind.

use std::fs;

use blockllm_delta::DeltaError;
use safetensors::Dtype;

use crate::folders::{Place, f32s, file_of, named, read_files, write_shards};

/// Models `a`, `b`, `c` and `d`, and deltas from `a` to `b`, `b` to `c` and `a` to `d`.
fn chain() -> Place {
    let place = Place::new();
    for (name, values) in [
        ("a", [1.0, 2.0, 3.0, 4.0]),
        ("b", [1.0, 2.5, 3.0, 4.0]),
        ("c", [1.0, 2.5, 3.5, 4.0]),
        ("d", [1.5, 2.0, 3.0, 4.0]),
    ] {
        place.model(name, &named([("w", f32s(&values))]));
    }
    for (base, tuned) in [("a", "b"), ("b", "c"), ("a", "d")] {
        place.diff(base, tuned, &format!("{base}{tuned}")).unwrap();
    }
    place
}

fn told<T: std::fmt::Debug>(result: Result<T, DeltaError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_chain_is_applied_in_order() {
    let place = chain();
    let applied = place.apply("a", &["ab", "bc"], "out").unwrap();
    assert_eq!(applied.changes, 2);
    assert_eq!(read_files(&place.at("out")), read_files(&place.at("c")));
}

#[test]
fn a_wrong_order_is_told_with_the_right_one() {
    let place = chain();
    let before = place.names();
    let order = format!(
        "in the order {} {}",
        place.at("ab").display(),
        place.at("bc").display()
    );
    told(
        place.apply("a", &["bc", "ab"], "out"),
        &["ab does not go on from", &order],
    );
    told(
        place.apply("a", &["ab", "ad"], "out"),
        &["ad does not go on from", "`delta stack`"],
    );
    told(
        place.apply("a", &["ad", "bc"], "out"),
        &["bc does not go on from", "leave one of them out"],
    );
    assert_eq!(place.names(), before);
}

#[test]
fn a_wrong_base_is_told() {
    let place = chain();
    let before = place.names();
    told(
        place.apply("c", &["ab"], "out"),
        &["ab was made against", "/c has", "the model that the delta"],
    );
    told(
        place.apply("b", &["ab"], "out"),
        &["has been applied there already"],
    );
    told(place.apply("a", &["bc"], "out"), &["bc was made against"]);
    told(place.apply("a", &[], "out"), &["no delta was named"]);
    assert_eq!(place.names(), before);
}

#[test]
fn the_same_base_in_shards_is_the_same_base() {
    let place = Place::new();
    let mut tensors = named([("v", f32s(&[1.0])), ("w", f32s(&[2.0, 3.0])), ("x", f32s(&[4.0]))]);
    place.model("base", &tensors);
    write_shards(&place.at("shards"), &tensors);
    tensors.insert("w".to_owned(), f32s(&[2.0, 3.5]));
    place.model("tuned", &tensors);
    let one = place.diff("base", "tuned", "one").unwrap();
    let other = place.diff("shards", "tuned", "other").unwrap();
    assert_eq!(one.base_sha256, other.base_sha256);
    place.apply("shards", &["one"], "again").unwrap();
    assert_eq!(
        read_files(&place.at("again"))["model.safetensors"],
        read_files(&place.at("tuned"))["model.safetensors"]
    );
}

#[test]
fn nothing_is_written_over() {
    let place = chain();
    told(place.diff("a", "c", "ab"), &["ab is there already"]);
    told(place.apply("a", &["ab"], "d"), &["d is there already"]);
}

#[test]
fn models_that_do_not_match_are_told_by_their_tensors() {
    let place = Place::new();
    place.model("base", &named([("v", f32s(&[1.0])), ("w", f32s(&[2.0]))]));
    place.model("other", &named([("w", f32s(&[2.0])), ("x", f32s(&[1.0]))]));
    place.model("longer", &named([("v", f32s(&[1.0, 2.0])), ("w", f32s(&[2.0]))]));
    place.model(
        "whole",
        &named([("v", (Dtype::I32, vec![1], vec![0; 4])), ("w", f32s(&[2.0]))]),
    );
    told(place.diff("base", "other", "out"), &["lacks `v` and has `x` too"]);
    told(place.diff("base", "longer", "out"), &["`v` has shape [1]", "[2]"]);
    told(
        place.diff("base", "whole", "out"),
        &["`v` is F32", "I32", "save both in one format"],
    );
    told(
        place.diff("base", "nowhere", "out"),
        &["nowhere is not a whole model"],
    );
    fs::create_dir(place.at("broken")).unwrap();
    let index = place.at("broken/model.safetensors.index.json");
    for (text, part) in [
        (
            r#"{"weight_map": {"v": "../base/model.safetensors"}}"#,
            "no file beside it",
        ),
        (
            r#"{"weight_map": {"v": "gone.safetensors"}}"#,
            "gone.safetensors, which is not there",
        ),
        (r#"{"weight_map": 1}"#, "invalid type"),
    ] {
        fs::write(&index, text).unwrap();
        told(place.diff("base", "broken", "out"), &[part]);
    }
    let twice = file_of(named([("v", f32s(&[1.0]))]).iter());
    for shard in ["one.safetensors", "two.safetensors"] {
        fs::write(place.at("broken").join(shard), &twice).unwrap();
    }
    fs::write(
        &index,
        r#"{"weight_map": {"v": "one.safetensors", "w": "two.safetensors"}}"#,
    )
    .unwrap();
    told(
        place.diff("base", "broken", "out"),
        &["`v` is both in one.safetensors and in two"],
    );
}
