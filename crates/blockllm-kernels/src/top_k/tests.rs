//! The largest magnitudes against a full sort, on every device.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{BLOCK, Kept, at_least, largest};
use crate::testing::{devices, float_types, numbers};

/// Numbers of which many are equal, and some are zero.
fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919 + seed * 31) % 4999) as f32 * 1e-3 - 2.0)
        .collect()
}

fn on(device: &Device, dtype: DType, values: &[f32]) -> Tensor<1> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::<1>::from_data(data, (device, DType::F32)).cast(dtype)
}

/// The indices that a sort keeps: largest first, then by tensor and entry.
fn sorted(tensors: &[Vec<f32>], keep: usize) -> Vec<Vec<i64>> {
    let mut entries: Vec<_> = tensors
        .iter()
        .enumerate()
        .flat_map(|(tensor, values)| {
            let one = move |(index, value): (usize, &f32)| (value.abs().to_bits(), tensor, index);
            values.iter().enumerate().map(one)
        })
        .collect();
    entries.sort_by_key(|(bits, tensor, index)| (std::cmp::Reverse(*bits), *tensor, *index));
    let mut kept = vec![Vec::new(); tensors.len()];
    for (_, tensor, index) in entries.into_iter().take(keep) {
        kept[tensor].push(index as i64);
    }
    for indices in &mut kept {
        indices.sort_unstable();
    }
    kept
}

fn indices(kept: &Kept) -> Vec<i64> {
    kept.indices().into_data().iter::<i64>().collect()
}

/// Holds the kept entries of a group against a sort, as indices and as marks.
fn assert_sorted(device: &Device, dtype: DType, tensors: &[Vec<f32>], keep: usize) {
    let tensors: Vec<_> = tensors.iter().map(|values| on(device, dtype, values)).collect();
    // A type with fewer bits makes other numbers equal.
    let rounded: Vec<Vec<f32>> = tensors
        .iter()
        .map(|tensor| tensor.clone().into_data().iter::<f32>().collect())
        .collect();
    let found = largest(vec![(tensors, keep as u64)]).expect("the device answers");
    for ((kept, expected), values) in found.iter().zip(sorted(&rounded, keep)).zip(&rounded) {
        assert_eq!(kept.count(), expected.len() as u64);
        assert_eq!(indices(kept), expected, "{device:?} {dtype:?} {keep}");
        let marked = numbers(kept.marked(7.0));
        let zeros: Vec<_> = (0..values.len() as i64)
            .filter(|index| marked[*index as usize] == 0.0)
            .collect();
        assert_eq!(zeros, expected);
        assert!(marked.iter().all(|mark| [0.0, 7.0].contains(mark)));
    }
}

#[test]
fn the_kept_are_those_of_a_full_sort() {
    let tensors = [
        values(5000, 0),
        values(3, 1),
        values(40, 2),
        values(3 * BLOCK + 5, 3),
    ];
    let total: usize = tensors.iter().map(Vec::len).sum();
    for device in devices() {
        for (dtype, _) in float_types(&device) {
            for keep in [0, 1, 2, 17, 2500, total - 1, total] {
                assert_sorted(&device, dtype, &tensors, keep);
            }
        }
    }
}

#[test]
fn more_blocks_than_a_cube_has_units_have_their_places_too() {
    for device in devices() {
        assert_sorted(&device, DType::F32, &[values(300 * BLOCK + 77, 5)], 100_000);
    }
}

#[test]
fn among_equals_the_earlier_win() {
    for device in devices() {
        let tensors = [vec![1.0; 4], vec![-1.0; BLOCK + 4]];
        for keep in 1..8 {
            assert_sorted(&device, DType::F32, &tensors, keep);
        }
        assert_sorted(&device, DType::F32, &tensors, BLOCK + 6);
    }
}

#[test]
fn every_group_has_a_threshold_of_its_own() {
    for device in devices() {
        let groups = [(values(700, 1), 30), (values(90, 2), 0), (values(5000, 3), 4999)];
        let found = largest(
            groups
                .iter()
                .map(|(values, keep)| (vec![on(&device, DType::F32, values)], *keep))
                .collect(),
        );
        for (kept, (values, keep)) in found.expect("the device answers").iter().zip(groups) {
            assert_eq!(indices(kept), sorted(&[values], keep as usize)[0]);
        }
    }
}

#[test]
fn infinity_and_what_is_no_number_are_the_largest() {
    for device in devices() {
        let values = vec![1.0, f32::NEG_INFINITY, 3.0, f32::NAN, 1e30];
        assert_sorted(&device, DType::F32, &[values], 3);
    }
}

#[test]
fn at_a_given_threshold_all_equals_are_kept() {
    for device in devices() {
        let values = [0.5, -1.0, 0.25, 1.0, -3.0, 0.999];
        let kept = at_least(vec![on(&device, DType::F32, &values)], 1.0).expect("the device answers");
        assert_eq!(indices(&kept[0]), [1, 3, 4]);
    }
}
