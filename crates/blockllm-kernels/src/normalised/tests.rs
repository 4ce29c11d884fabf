//! Normalised SGD against its equations in f64, entry by entry, on every device.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{NormalisedStep, Stay, column_sums_of_squares, decayed_sum, normalised_update};
use crate::testing::{assert_close, devices, float_types, numbers, random};
use crate::{EXCLUDED, Rounding};

const SHAPES: [[usize; 2]; 8] = [
    [1, 1],
    [5, 1],
    [1, 7],
    [3000, 1],
    [40, 30],
    [513, 257],
    [2, 20_000],
    [70_000, 2],
];

fn flat(shape: [usize; 2], seed: u64, dtype: DType, device: &Device) -> Tensor<1> {
    random(shape, seed, device)
        .cast(dtype)
        .reshape([shape[0] * shape[1]])
}

fn step(columns: usize) -> NormalisedStep {
    NormalisedStep {
        columns,
        learning_rate: 0.01,
        rounding: Rounding::Nearest,
    }
}

/// The weights after a step along `direction`, all of them.
fn exact(weight: &[f64], direction: &[f64], columns: usize) -> Vec<f64> {
    let rows = weight.len() / columns;
    let root = |column: usize| {
        let squares = (0..rows).map(|row| direction[row * columns + column].powi(2));
        (squares.sum::<f64>() / rows as f64).sqrt().max(1e-8)
    };
    let roots: Vec<f64> = (0..columns).map(root).collect();
    let entries = weight.iter().zip(direction).enumerate();
    entries
        .map(|(entry, (weight, direction))| weight - 0.01 * direction / roots[entry % columns])
        .collect()
}

#[test]
fn every_column_moves_by_the_rate_and_what_stays_keeps_its_bits() {
    for device in devices() {
        for (dtype, allowed) in float_types(&device) {
            for shape in SHAPES {
                let entries = shape[0] * shape[1];
                let weight = flat(shape, 1, dtype, &device);
                let gradient = flat(shape, 2, dtype, &device);
                let stays = |entry: usize| entry % 3 == 1;
                let marks: Vec<f32> = (0..entries)
                    .map(|entry| if stays(entry) { 0.5 } else { EXCLUDED })
                    .collect();
                let marks = Tensor::from_data(TensorData::new(marks, [entries]), (&device, DType::F32));
                let places: Vec<i32> = (0..entries)
                    .filter(|entry| stays(*entry))
                    .map(|entry| entry as i32)
                    .collect();
                let count = places.len();
                let places =
                    Tensor::<1, Int>::from_data(TensorData::new(places, [count]), (&device, DType::I32));
                let before = numbers(weight.clone());
                let all = exact(&before, &numbers(gradient.clone()), shape[1]);
                for stay in [Stay::None, Stay::Unmarked(&marks), Stay::At(&places)] {
                    if count == 0 && matches!(stay, Stay::At(_)) {
                        continue;
                    }
                    let mut expected = all.clone();
                    if !matches!(stay, Stay::None) {
                        for entry in (0..entries).filter(|entry| stays(*entry)) {
                            expected[entry] = before[entry];
                        }
                    }
                    let step = step(shape[1]);
                    let found = numbers(normalised_update(weight.clone(), gradient.clone(), stay, step));
                    assert_close(
                        &format!("{shape:?} {dtype:?} {stay:?}"),
                        &found,
                        &expected,
                        allowed,
                    );
                    for entry in (0..entries).filter(|entry| expected[*entry] == before[*entry]) {
                        assert_eq!(
                            found[entry].to_bits(),
                            before[entry].to_bits(),
                            "{shape:?} {entry}"
                        );
                    }
                }
                assert_eq!(numbers(weight), before, "a copy was changed");
            }
        }
    }
}

#[test]
fn a_momentum_is_the_decayed_sum_of_gradients_and_the_weight_follows_it() {
    for device in devices() {
        for (dtype, allowed) in float_types(&device) {
            let shape = [60, 70];
            let mut weight = flat(shape, 1, dtype, &device);
            let mut kept = Tensor::zeros([4200], (&device, DType::F32));
            let mut sum = vec![0.0; 4200];
            for seed in 2..5 {
                let gradient = flat(shape, seed, dtype, &device);
                for (sum, gradient) in sum.iter_mut().zip(numbers(gradient.clone())) {
                    *sum = 0.9 * *sum + gradient;
                }
                let expected = exact(&numbers(weight.clone()), &sum, 70);
                kept = decayed_sum(kept, gradient, 0.9);
                weight = normalised_update(weight, kept.clone(), Stay::None, step(70));
                assert_close("weight", &numbers(weight.clone()), &expected, allowed);
                assert_close("sum", &numbers(kept.clone()), &sum, 2e-6);
            }
        }
    }
}

#[test]
fn a_column_without_a_gradient_stays_and_one_of_any_size_moves_as_far() {
    for device in devices() {
        let weight = Tensor::<1>::zeros([8], (&device, DType::F32));
        let gradient = Tensor::<1>::from_floats([0.0, 3e-4, 2e8, 1.0, 0.0, -3e-4, 2e8, 1.0], &device);
        let moved = normalised_update(weight, gradient, Stay::None, step(4));
        let expected = [0.0, -0.01, -0.01, -0.01, 0.0, 0.01, -0.01, -0.01];
        assert_close("weights", &numbers(moved), &expected, 1e-6);
    }
}

#[test]
fn the_same_columns_give_the_same_sums_whatever_their_order_in_memory() {
    for device in devices() {
        let matrix = random([300, 70], 3, &device);
        let of = |matrix: Tensor<2>| column_sums_of_squares(matrix.reshape([21_000]), 70);
        let expected = numbers(of(matrix.clone()));
        let again = of(matrix.transpose().clone().transpose());
        assert_eq!(numbers(again), expected);
    }
}

#[test]
fn rounded_by_chance_the_steps_are_taken_on_average() {
    for device in devices() {
        for (dtype, _) in float_types(&device) {
            // A step is a sixteenth of a unit of bf16 below one.
            let (unit, many) = (2.0f64.powi(-8), 20_000_usize);
            let ones = Tensor::<1>::ones([many], (&device, dtype));
            let of = |rounding| {
                let step = NormalisedStep {
                    learning_rate: unit / 16.0,
                    rounding,
                    ..step(2)
                };
                let moved = normalised_update(ones.clone(), ones.clone(), Stay::None, step);
                numbers(moved).iter().sum::<f64>() / many as f64
            };
            let mean = of(Rounding::Stochastic { seed: 5 });
            let allowed = if dtype == DType::BF16 {
                // Four standard deviations of the mean.
                4.0 * unit * (15.0 / 256.0 / many as f64).sqrt()
            } else {
                1e-7
            };
            assert!((1.0 - mean - unit / 16.0).abs() < allowed, "{dtype:?}: {mean}");
            if dtype == DType::BF16 {
                assert_eq!(of(Rounding::Nearest), 1.0, "it is lost");
            }
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let device = Device::flex();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started");
        pool.install(|| {
            let (weight, gradient) = (
                flat([700, 513], 1, DType::F32, &device),
                flat([700, 513], 2, DType::F32, &device),
            );
            let moved = normalised_update(weight, gradient, Stay::None, step(513));
            moved.into_data()
        })
    };
    assert_eq!(run(1), run(3));
}
