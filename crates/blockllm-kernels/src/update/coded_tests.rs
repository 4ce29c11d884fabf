//! The update of coded state against the same equations on the values that the codes stand for.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::tests::{RULES, exact};
use super::{
    CODE_BLOCK, CODE_WORDS, Coding, FusedRule, StateArray, Trained, TrainedEntries, UpdateStep, code_blocks,
    update,
};
use crate::Rounding;
use crate::testing::{devices, float_types, numbers, random};

/// Entries of the parameter: not whole blocks.
const LEN: usize = 20_011;

/// How far a code may be from the value, in codes: less than one, and what a device rounds.
const ALLOWED: f64 = 1.02;

/// An array in codes on the host.
struct Coded {
    codes: Vec<u8>,
    scales: Vec<f32>,
    non_negative: bool,
}

impl Coded {
    /// Some codes of `len` entries; what lies behind them is zero.
    fn some(len: usize, seed: usize, non_negative: bool) -> Self {
        let zero = if non_negative { 0 } else { 128 };
        let code = |entry: usize| match entry {
            _ if entry >= len => zero,
            _ if non_negative => ((entry * 7919 + seed) % 256) as u8,
            _ => ((entry * 7919 + seed) % 255 + 1) as u8,
        };
        let blocks = code_blocks(len);
        Self {
            codes: (0..blocks * CODE_BLOCK).map(code).collect(),
            scales: (0..blocks).map(|block| 0.2 + (block % 7) as f32 * 0.1).collect(),
            non_negative,
        }
    }

    fn read(words: Tensor<1, Int>, scales: Tensor<1>, non_negative: bool) -> Self {
        let words: Vec<i32> = words.into_data().iter::<i32>().collect();
        let mut codes = vec![0; words.len() * 4];
        for (index, word) in words.into_iter().enumerate() {
            let (block, place) = (index / CODE_WORDS, index % CODE_WORDS);
            for (quarter, code) in word.to_le_bytes().into_iter().enumerate() {
                codes[block * CODE_BLOCK + quarter * CODE_WORDS + place] = code;
            }
        }
        let scales = scales.into_data().iter::<f32>().collect();
        Self {
            codes,
            scales,
            non_negative,
        }
    }

    fn on(&self, device: &Device) -> StateArray {
        let words: Vec<i32> = (0..self.scales.len() * CODE_WORDS)
            .map(|index| {
                let (block, place) = (index / CODE_WORDS, index % CODE_WORDS);
                let of = |quarter: usize| self.codes[block * CODE_BLOCK + quarter * CODE_WORDS + place];
                i32::from_le_bytes([of(0), of(1), of(2), of(3)])
            })
            .collect();
        let len = words.len();
        StateArray::Int8 {
            words: Tensor::from_data(TensorData::new(words, [len]), (device, DType::I32)),
            scales: Tensor::from_floats(&*self.scales, device),
        }
    }

    fn value(&self, entry: usize) -> f64 {
        let scale = f64::from(self.scales[entry / CODE_BLOCK]);
        let code = f64::from(self.codes[entry]);
        if self.non_negative {
            (code / 255.0).powi(4) * scale
        } else {
            let root = (code - 128.0) / 127.0;
            root * root.abs() * scale
        }
    }

    /// How many codes `value` is from the one that its entry has.
    fn miss(&self, entry: usize, value: f64) -> f64 {
        let unit = value / f64::from(self.scales[entry / CODE_BLOCK]);
        let code = if self.non_negative {
            unit.max(0.0).powf(0.25) * 255.0
        } else {
            128.0 + unit.signum() * unit.abs().sqrt() * 127.0
        };
        (code - f64::from(self.codes[entry])).abs()
    }
}

/// Which entries are trained, and how that is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Whole,
    Marked,
    Compact,
}

/// State over what `kind` keeps it for, of which nothing is trained that is marked.
fn some_state(kind: Kind, rule: FusedRule, trained: usize) -> Vec<Coded> {
    let entries = if kind == Kind::Compact { trained } else { LEN };
    let array = |array: usize| Coded::some(entries, array * 31, array == 1);
    let mut state: Vec<_> = (0..rule.state_arrays()).map(array).collect();
    if kind == Kind::Marked {
        for array in &mut state {
            for entry in (0..LEN).filter(|entry| entry % 3 != 1) {
                array.codes[entry] = 0;
            }
        }
    }
    state
}

fn check(kind: Kind, rule: FusedRule, dtype: DType, master: bool, device: &Device, allowed: f64) {
    let what = format!("{kind:?} {rule:?} {dtype:?} master {master} {device:?}");
    let trained: Vec<usize> = (0..LEN)
        .filter(|entry| kind == Kind::Whole || entry % 3 == 1)
        .collect();
    let non_negative = |array: usize| array == 1;
    let state = some_state(kind, rule, trained.len());
    let flat = |seed| random([1, LEN], seed, device).reshape([LEN]);
    let (weight, gradient) = (flat(1).cast(dtype), flat(2).cast(dtype));
    let places: Vec<i32> = trained.iter().map(|entry| *entry as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [trained.len()]), (device, DType::I32));
    let copy = master.then(|| match kind {
        Kind::Compact => flat(1).select(0, places.clone()),
        Kind::Whole | Kind::Marked => flat(1),
    });
    let step = UpdateStep {
        rule,
        learning_rate: 0.01,
        state_step: 3,
        rounding: Rounding::Nearest,
        codings: [0, 1].map(|array| {
            Coding::of_step(non_negative(array), 3, array).with_excluded(kind == Kind::Marked && array == 0)
        }),
    };
    let updated = update(
        Trained {
            weight: weight.clone(),
            state: state.iter().map(|array| array.on(device)).collect(),
            master: copy.clone(),
        },
        gradient.clone(),
        Some(&Tensor::from_floats([0.5], device)),
        match kind {
            Kind::Whole => TrainedEntries::All,
            Kind::Marked => TrainedEntries::Marked,
            Kind::Compact => TrainedEntries::At(&places),
        },
        step,
    );
    let found: Vec<_> = updated
        .state
        .into_iter()
        .enumerate()
        .map(|(array, found)| match found {
            StateArray::Int8 { words, scales } => Coded::read(words, scales, non_negative(array)),
            StateArray::F32(_) => panic!("{what}: it is not coded any more"),
        })
        .collect();
    let (before, gradient, after) = (numbers(weight), numbers(gradient), numbers(updated.weight));
    let copy = copy.map(numbers);
    let mut expected = before.clone();
    for (position, entry) in trained.iter().enumerate() {
        let place = if kind == Kind::Compact { position } else { *entry };
        let old: Vec<f64> = state.iter().map(|array| array.value(place)).collect();
        let start = copy.as_ref().map_or(before[*entry], |copy| copy[place]);
        let (weight, new) = exact(&step, start, gradient[*entry] * 0.5, &old);
        expected[*entry] = weight;
        for (array, (found, new)) in found.iter().zip(new).enumerate() {
            let miss = found.miss(place, new);
            assert!(miss <= ALLOWED, "{what}: array {array} of {entry} by {miss}");
        }
    }
    for (entry, (found, expected)) in after.iter().zip(&expected).enumerate() {
        // A second moment of a code or none makes a step long.
        assert!(
            (found - expected).abs() <= allowed.max(1e-5) * expected.abs().max(1.0),
            "{what}: weight {entry} is {found}, not {expected}"
        );
    }
    if kind == Kind::Marked {
        for entry in (0..LEN).filter(|entry| entry % 3 != 1) {
            assert_eq!(found[0].codes[entry], 0, "{what}: {entry} is trained now");
            assert_eq!(after[entry].to_bits(), before[entry].to_bits(), "{what}: {entry}");
        }
    }
}

#[test]
fn coded_state_is_decoded_changed_and_coded_again_by_the_equations() {
    for device in devices() {
        for (dtype, allowed) in float_types(&device) {
            for rule in RULES.into_iter().filter(|rule| rule.state_arrays() > 0) {
                for kind in [Kind::Whole, Kind::Marked, Kind::Compact] {
                    for master in [false, true] {
                        if !(master && dtype == DType::F32) {
                            check(kind, rule, dtype, master, &device, allowed);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn state_in_two_forms_is_refused() {
    for device in devices() {
        let mixed = vec![
            StateArray::F32(Tensor::zeros([300], (&device, DType::F32))),
            Coded::some(300, 0, true).on(&device),
        ];
        let step = UpdateStep {
            rule: RULES[0],
            learning_rate: 0.01,
            state_step: 1,
            rounding: Rounding::Nearest,
            codings: [Coding::default(); 2],
        };
        let refused = std::panic::catch_unwind(|| {
            let trained = Trained {
                weight: Tensor::zeros([300], (&device, DType::F32)),
                state: mixed,
                master: None,
            };
            let gradient = Tensor::zeros([300], (&device, DType::F32));
            update(trained, gradient, None, TrainedEntries::All, step)
        });
        assert!(refused.is_err());
    }
}
